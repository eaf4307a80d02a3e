"""What every run has, whatever it learns: a name, a seed, data, a learner, processes, records."""

from __future__ import annotations

from typing import Self

from pydantic import Field, model_validator

from rlcompress.config.data import DataConfig, ReaderConfig
from rlcompress.config.learning import CheckpointConfig, LearnerConfig, ResourcesConfig, TrackingConfig
from rlcompress.config.section import Section

VALIDATION = "validation/distortion_bits"  # of the policy at the configured rates
COST = "validation/cost"  # minus the mean reward of the policy as it is served


class SubmitConfig(Section):
    exclude: tuple[str, ...] = (".venv", ".git", "runs", ".mypy_cache", ".ruff_cache", ".pytest_cache", ".hypothesis")
    max_megabytes: float = Field(100.0, gt=0, description="largest working directory that is uploaded")


class Run(Section):
    """A run of some family; the families are in `rlcompress.config.families`."""

    name: str = Field("run", pattern=r"^[A-Za-z0-9._-]+$")
    runs: str = Field("runs", description="folder that holds run directories")
    seed: int = 0
    device: str = Field("auto", description="auto, cpu, cuda, cuda:N or mps")
    data: DataConfig = DataConfig()
    reader: ReaderConfig = ReaderConfig()
    learner: LearnerConfig = LearnerConfig()
    resources: ResourcesConfig = ResourcesConfig()
    checkpoint: CheckpointConfig = CheckpointConfig()
    tracking: TrackingConfig = TrackingConfig()
    submit: SubmitConfig = SubmitConfig()

    @model_validator(mode="after")
    def _fits(self) -> Self:
        limit, groups = self.learner.micro_batch, self.learner.prompts_per_step
        if limit is not None and limit > groups:
            raise ValueError(f"learner.micro_batch ({limit}) must not exceed learner.prompts_per_step ({groups})")
        if self.learner.precision == "float16" and not (self.learner.gpus_per_learner and self._cuda()):
            raise ValueError(
                "learner.precision float16 needs CUDA (device auto or cuda, and learner.gpus_per_learner above 0): "
                "use bfloat16 or float32"
            )
        return self

    @property
    def decides(self) -> str:
        """The metric whose least value makes a checkpoint the best."""
        return COST

    def _cuda(self) -> bool:
        return self.device == "auto" or self.device.startswith("cuda")
