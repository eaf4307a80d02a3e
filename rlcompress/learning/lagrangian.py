"""The price of a token that holds the kept fraction at a target: a Lagrange multiplier moved by a PI controller.

Keeping as much information as possible at a kept fraction of at most `target` is the saddle point

    min over λ >= 0, max over policies of  (1 − D(S)/D(∅)) − λ·(rate − target)

whose inner part is the `rate_distortion` reward at price λ, up to a constant. Plain dual ascent, λ ← λ + step·error,
swings around the target, for the policy follows late. A term proportional to the error damps it (Stooke, Achiam,
Abbeel 2020, "Responsive Safety in Reinforcement Learning by PID Lagrangian Methods").
"""

from __future__ import annotations

from dataclasses import dataclass

from rlcompress.config.schema import LagrangianConfig


@dataclass(frozen=True, slots=True)
class Multiplier:
    """λ of the next iteration, and the part of it that remembers the errors before."""

    value: float
    integral: float

    @classmethod
    def starting_at(cls, value: float) -> Multiplier:
        return cls(value, value)


def updated(multiplier: Multiplier, error: float, settings: LagrangianConfig) -> Multiplier:
    """λ = clip(I + damping·error, 0, max) with I ← clip(I + step·error, 0, max); error = kept fraction − target.

    The integral is clipped too, so that a long way to the target leaves nothing to unwind.
    """

    def clipped(value: float) -> float:
        return min(max(value, 0.0), settings.max)

    integral = clipped(multiplier.integral + settings.step * error)
    return Multiplier(clipped(integral + settings.damping * error), integral)
