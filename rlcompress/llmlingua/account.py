"""The original's result: a prompt, its tokens before and after, and what that saves."""

from __future__ import annotations

from typing import Any

_GPT4_PER_TOKEN = 0.06 / 1000  # dollars, as the original has it


def account(prompt: str | dict[str, Any], original: int, compressed: int) -> dict[str, Any]:
    """Keys and forms of the original: ratio "2.3x", rate "43.5%"; both stand at 1 where there are no tokens."""
    ratio = original / compressed if compressed and original else 1.0
    return {
        "compressed_prompt": prompt,
        "origin_tokens": original,
        "compressed_tokens": compressed,
        "ratio": f"{ratio:.1f}x",
        "rate": f"{1 / ratio * 100:.1f}%",
        "saving": f", Saving ${(original - compressed) * _GPT4_PER_TOKEN:.1f} in GPT-4.",
    }
