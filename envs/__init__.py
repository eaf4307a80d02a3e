"""The worlds that compressors and rewriters learn in: Gymnasium environments, judged by whoever is handed in.

No Ray, no torch. `import envs` registers them; then `gymnasium.make("rlcompress/TokenMasking-v0")` works alone.
"""

from __future__ import annotations

import gymnasium as gym

# id -> (environment, its vector form)
ENVIRONMENTS = {
    "rlcompress/TokenMasking-v0": ("envs.masking:TokenMasking", "envs.masking_vector:TokenMaskingVector"),
    "rlcompress/PromptRewriting-v0": ("envs.rewriting:PromptRewriting", "envs.rewriting_vector:PromptRewritingVector"),
}


def register_envs() -> None:
    """Make the ids known to Gymnasium; calling it again changes nothing."""
    for name, (single, vector) in ENVIRONMENTS.items():
        if name not in gym.registry:
            gym.register(name, entry_point=single, vector_entry_point=vector)


register_envs()
