"""Prints configurations for people: every key with what it means, and the sizes that follow from them."""

from __future__ import annotations

import math
from collections.abc import Iterator

from pydantic import BaseModel

from rlcompress.config.dialect import write_inline
from rlcompress.config.running import Run
from rlcompress.config.secrets import redacted


def commented_yaml(config: Run) -> str:
    """All keys as YAML with their descriptions as comments; `load_run` reads it back unchanged."""
    return "\n".join(_lines(config, "")) + "\n"


def _lines(section: BaseModel, indent: str) -> Iterator[str]:
    for name, field in type(section).model_fields.items():
        value = getattr(section, name)
        if isinstance(value, BaseModel):
            yield ""
            if type(value).__doc__ and type(value).__doc__ != BaseModel.__doc__:
                yield f"{indent}# {str(type(value).__doc__).strip().splitlines()[0]}"
            yield f"{indent}{name}:"
            yield from _lines(value, indent + "  ")
        else:
            comment = f"  # {field.description}" if field.description else ""
            yield f"{indent}{name}: {write_inline(redacted(section.model_dump(mode='json')[name]))}{comment}"


def derived(config: Run) -> dict[str, int]:
    """Sizes that follow from the batch keys, for `--dry-run`; rounds that refill dropped groups come on top."""
    learner, resources = config.learner, config.resources
    samples = learner.prompts_per_step * learner.samples_per_prompt
    micro_batch = learner.micro_batch or learner.prompts_per_step
    judge_calls = max(1, min(resources.env_runners, learner.prompts_per_step))  # a runner judges all its groups at once
    return {
        "samples_per_step": samples,
        "prompts_per_micro_batch": micro_batch,
        "micro_batches_per_update": math.ceil(learner.prompts_per_step / micro_batch),
        "updates": learner.iterations * learner.epochs,
        "total_prompts": learner.iterations * learner.prompts_per_step,
        "total_samples": learner.iterations * samples,
        "judge_calls_per_step": judge_calls,
        "judge_calls": learner.iterations * judge_calls,
        "validations": learner.iterations // config.checkpoint.validate_every,
    }
