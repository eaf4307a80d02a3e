"""Keys of the reward: named terms with weights, presets of published recipes, gates, prices."""

from __future__ import annotations

from typing import Any, Literal, Self

from pydantic import Field, model_validator

from rlcompress.config.presets import PRESETS, over_preset
from rlcompress.config.section import Fraction, Rate, Section

PRICE_LIMIT = 10.0  # of all tokens of a text, in shares of its bits: what the range of `rate_distortion` is stated for
UNPRICED = (
    "distortion",
    "answer_kept",
    "answer_retention",
    "answer_likelihood",
    "task",
    "agreement",
    "similarity",
)  # best when all stays
SIZED = ("taco_rl", "core_rag", "cmprsr", "tac_c", "guarded")  # terms that compare the length with `reward.length`


class GatesConfig(Section):
    """Conditions that make the reward the worst possible when they fail."""

    floor: Fraction = Field(0.0, description="least kept fraction of source tokens; 0 turns the gate off")
    leak: bool = Field(True, description="words or numbers in the output that the source does not have")
    bare: bool = Field(True, description="written outputs that are hardly more than the answer")
    order: bool = Field(False, description="written outputs whose words stand together nowhere in the source")


class ScheduleConfig(Section):
    """A value over the run: fixed, linear, or exponential from `start` to `end`; adaptive follows the entropy."""

    kind: Literal["fixed", "linear", "exponential", "adaptive"] = "fixed"
    start: float = Field(1.0, gt=0)
    end: float = Field(1.0, gt=0)
    target: Fraction = Field(0.5, description="adaptive only: normalised entropy to hold")


class LagrangianConfig(Section):
    """How the multiplier of `reward.target_rate` follows the error (kept fraction - target); it starts at beta."""

    step: float = Field(0.1, ge=0, description="growth of its integral in one iteration, times the error")
    damping: float = Field(2.0, ge=0, description="added to the integral, times the error of this iteration alone")
    max: float = Field(5.0, gt=0, le=PRICE_LIMIT, description="its upper bound; the lower one is 0")


class SimilarityConfig(Section):
    """How two texts are compared in `similarity`, `agreement` and the presets pcrl and taco_rl."""

    kind: Literal["exact", "f1", "bleu", "rouge_l", "embedding", "judge"] = Field(
        "rouge_l", description="embedding and judge are asked of judges.reader, and compare texts, not answers"
    )
    threshold: Fraction = Field(0.0, description="a lower similarity counts as 0")


class LengthConfig(Section):
    """What length the presets ask for; beyond the tolerance they pay less, down to nothing after `slope` more."""

    target: Rate | None = Field(None, description="kept fraction; none: the rate that was asked for")
    tolerance: Fraction = Field(0.05, description="a kept fraction this far from the target costs nothing")
    slope: float = Field(0.2, gt=0, le=1, description="kept fraction over which the reward falls to its end")


class RewardConfig(Section):
    preset: Literal["pcrl", "taco_rl", "core_rag", "cmprsr", "tac_c", "guarded"] | None = Field(
        None, description="a recipe that fills in terms, gates and similarity; what else is written here goes over it"
    )
    terms: dict[str, float] = Field(
        default_factory=lambda: {"distortion": 1.0},
        description="name or python.path:function -> weight; distortion stays unless it is set to 0",
    )
    importance: Literal["none", "rarity", "position", "numbers"] = Field(
        "none", description="weights of the units inside the distortion"
    )
    beta: ScheduleConfig = Field(
        ScheduleConfig(), description="price of the whole text's tokens in rate_distortion, in shares of its bits"
    )
    target_rate: Rate | None = Field(
        None, description="kept fraction that beta, then a Lagrange multiplier, holds the served policy at"
    )
    lagrangian: LagrangianConfig = LagrangianConfig()
    similarity: SimilarityConfig = SimilarityConfig()
    length: LengthConfig = LengthConfig()
    gates: GatesConfig = GatesConfig()

    @model_validator(mode="before")
    @classmethod
    def _over_its_preset(cls, values: Any) -> Any:
        """What is given goes over the preset, key by key; a whole configuration is unchanged by this."""
        if isinstance(values, dict) and values.get("preset") in PRESETS:
            return over_preset(values["preset"], values)
        return values

    @model_validator(mode="after")
    def _something(self) -> Self:
        if not any(weight != 0 for weight in self.terms.values()):
            raise ValueError("reward.terms needs at least one term with a weight other than 0")
        return self

    @model_validator(mode="after")
    def _priced(self) -> Self:
        if self.beta.kind == "adaptive":
            raise ValueError("reward.beta.kind adaptive follows the entropy and is no price: use fixed or linear")
        if max(self.beta.start, self.beta.end) > PRICE_LIMIT:
            raise ValueError(f"reward.beta must not exceed {PRICE_LIMIT:g}: change its start or end")
        if self.target_rate is not None and self.terms.get("rate_distortion", 0.0) <= 0:
            raise ValueError("reward.target_rate moves the price of rate_distortion: give that term a weight above 0")
        return self

    @model_validator(mode="after")
    def _comparable(self) -> Self:
        if self.similarity.kind in ("embedding", "judge"):
            for name in ("agreement", "pcrl", "taco_rl"):
                if name in self.terms:
                    raise ValueError(
                        f"reward.terms.{name} compares the reader's answers, and reward.similarity.kind "
                        f"{self.similarity.kind} compares texts: use exact, f1, bleu or rouge_l"
                    )
        return self
