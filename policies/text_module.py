"""The policy that writes, as an RLModule: it only wraps a `LanguageModel`, which runs without Ray everywhere else.

B sequences, P prompts with G samples, T places of a sequence, O places of outputs at its end, V tokens.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from typing import Any, Self

import numpy as np
import torch
from numpy.typing import NDArray
from ray.rllib.core.rl_module.torch import TorchRLModule
from torch import Tensor
from torch.func import functional_call
from torch.nn.functional import pad

from policies.module import AUTOCAST
from rlcompress.config.generating import DecodingConfig, LanguageConfig, RewritingTemplateConfig
from rlcompress.errors import UserError
from rlcompress.generation.loading import load_language
from rlcompress.generation.lora import learned_state, set_learned_state
from rlcompress.generation.prompting import RewritingTemplate
from rlcompress.generation.teacher_forcing import chosen_logp, output_logits
from rlcompress.generation.writing import Written, write

LOGP, ENTROPY = "logp_PGO", "entropy_PGO"


class TextModule(TorchRLModule):
    """Writes texts and says how likely they are.

    `model_config` holds small values only, so that an actor restarts from them: `language` (fields of `LanguageConfig`;
    `model` is the folder that the policy starts from, of a whole model or of adapters), `template` (fields of
    `RewritingTemplateConfig`), `decoding` (fields of `DecodingConfig`; the temperature is each task's), and optionally
    `precision` and `gradient_checkpointing` (as in `LearnerConfig`) and `entropy` (whether `_forward` gives it).

    Adapters learn where there are some, else the whole model; that alone is its state. Parameters stay in the precision
    that they were loaded in, and the model in evaluation mode: what is learned from sees no dropout, as what was
    sampled, so the ratio of their probabilities stays near 1.
    """

    def setup(self) -> None:
        settings = LanguageConfig.model_validate(self.model_config["language"])
        quantised = settings.quantise != "none" and torch.cuda.is_available()  # such weights cannot move later
        self.language = load_language(settings, torch.device("cuda" if quantised else "cpu"), learn=True)
        self.network = self.language.model
        self.template = RewritingTemplate(RewritingTemplateConfig.model_validate(self.model_config.get("template", {})))
        self.decoding = DecodingConfig.model_validate(self.model_config.get("decoding", {}))
        self.autocast = AUTOCAST[self.model_config.get("precision", "float32")]
        if self.model_config.get("gradient_checkpointing") and not self.inference_only:
            self._recompute_activations()

    def prompt_ids(self, texts: Sequence[str], rates: Sequence[float]) -> list[list[int]]:
        """What the policy reads for each text at its target rate."""
        asked = [self.template.prompt(text, r, self.language.tokenizer) for text, r in zip(texts, rates, strict=True)]
        return [self.language.prompt_ids(prompt) for prompt in asked]

    def write(self, prompts: Sequence[Sequence[int]], tau: float, seeds: Sequence[Sequence[int]]) -> list[Written]:
        """One output for each prompt of ids, drawn at temperature `tau`."""
        decoding = self.decoding.model_copy(update={"temperature": tau})
        with self._running():
            return write(self.language, prompts, decoding, seeds=seeds)

    def outputs(self, batch: Mapping[str, Tensor], state: Mapping[str, Tensor] | None = None) -> dict[str, Tensor]:
        """Log-probabilities [P, G, O] of the outputs' tokens at the batch's temperatures; 0 at padding.

        Args:
            batch: `ids_PGT, real_PGT, output_PGO, tau_P` as `text_groups.learner_columns` gives them. Samples without
                an output are not computed, nor are places where all of the rest have padding.
            state: parameters by name to compute with in the place of this module's own, which stay as they are.

        Returns:
            `LOGP` and, where `model_config` asks for it, `ENTROPY`: exact, of the distribution at each place, in nats.
        """
        output_PGO = batch["output_PGO"]
        P, G, O = output_PGO.shape  # noqa: E741
        ids_BT, real_BT, output_BO = (batch[n].flatten(0, 1) for n in ("ids_PGT", "real_PGT", "output_PGO"))
        rows_B = output_BO.any(1)
        ids_BT, real_BT, output_BO = ids_BT[rows_B], real_BT[rows_B], output_BO[rows_B]
        first, outputs = int(real_BT.any(0).int().argmax()), int(output_BO.any(0).sum())
        places = slice(first, ids_BT.shape[1] - O + outputs)
        ids_BT, real_BT, output_BO = ids_BT[:, places], real_BT[:, places], output_BO[:, :outputs]
        tau_B = batch["tau_P"].repeat_interleave(G)[rows_B]
        model = self.network if state is None else _with(self.network, state)
        with self._running():
            logits_BOV = output_logits(model, ids_BT, real_BT, outputs, tau_B)
        found = {LOGP: chosen_logp(logits_BOV, ids_BT[:, -outputs:], output_BO)}
        if self.model_config.get("entropy") and state is None:
            logp_BOV = logits_BOV.log_softmax(-1)
            found[ENTROPY] = -(logp_BOV.exp() * logp_BOV).sum(-1).masked_fill(~output_BO, 0.0)
        where = rows_B.nonzero()
        return {
            name: value.new_zeros(P * G, O).index_put((where[:, 0],), pad(value, (0, O - outputs))).view(P, G, O)
            for name, value in found.items()
        }

    def _forward(self, batch: Mapping[str, Tensor], **kwargs: Any) -> dict[str, Tensor]:
        return self.outputs(batch)

    def learned(self) -> dict[str, Tensor]:
        """Copies of the parameters that learn, by name and where they lie: what `outputs` takes as another state."""
        return {name: p.detach().clone() for name, p in self.network.named_parameters() if p.requires_grad}

    def get_state(self, *args: Any, **kwargs: Any) -> dict[str, NDArray[np.float32]]:
        """What learns, as float32, which holds every lower precision and which RLlib can carry."""
        return {name: value.float().numpy() for name, value in learned_state(self.network).items()}

    def set_state(self, state: Mapping[str, Any]) -> None:
        # np.array: what Ray hands over is read-only memory
        set_learned_state(self.network, {name: torch.from_numpy(np.array(value)) for name, value in state.items()})

    def train(self, mode: bool = True) -> Self:
        """Changes nothing in the model: RLlib calls it before it learns."""
        self.training = mode
        return self

    @contextmanager
    def _running(self) -> Iterator[None]:
        """RLlib moves modules after they are made; and the precision of all that is computed."""
        self.language.device = next(self.network.parameters()).device
        with torch.autocast(self.language.device.type, self.autocast, enabled=self.autocast is not None):
            yield

    def _recompute_activations(self) -> None:
        from transformers.modeling_layers import GradientCheckpointingLayer

        layers = [layer for layer in self.network.modules() if isinstance(layer, GradientCheckpointingLayer)]
        if not layers:
            kind = self.network.config.model_type
            raise UserError(f"learner.gradient_checkpointing: {kind} cannot recompute its activations: set it to false")
        enable = getattr(self.network, "activation_checkpointing_enable", None)
        (enable or self.network.gradient_checkpointing_enable)({"use_reentrant": False})  # the older of its names
        for layer in layers:
            layer.training = True  # it recomputes only then; its parts, dropout among them, stay in evaluation mode


def _with(network: torch.nn.Module, state: Mapping[str, Tensor]) -> Any:
    """The same model with other parameters, as something to call; nothing is changed in place."""
    return lambda **arguments: functional_call(network, dict(state), (), arguments)
