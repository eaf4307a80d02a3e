"""How a length is paid for: continuous around a target, and a cap above which nothing is paid at all.

Windows and caps of published rewards have edges worth sitting on; these fall linearly. r is the kept fraction (tokens
out / tokens in, both as the reader counts them), r* the target, δ the tolerance and κ the slope.
"""

from __future__ import annotations


def ramp(value: float, low: float, high: float) -> float:
    """0 up to `low`, 1 from `high` on, linear between."""
    return min(1.0, max(0.0, (value - low) / (high - low)))


def around(rate: float, target: float, tolerance: float, slope: float) -> float:
    """1 − clip((|r − r*| − δ) / κ, 0, 1): two-sided, in [0, 1]."""
    return 1.0 - ramp(abs(rate - target), tolerance, tolerance + slope)


def up_to(rate: float, target: float, tolerance: float, slope: float) -> float:
    """1 − clip((r − r* − δ) / κ, 0, 1): what is shorter costs nothing, in [0, 1]."""
    return 1.0 - ramp(rate - target, tolerance, tolerance + slope)


def kept_fraction(tokens_in: int, tokens_out: int) -> float:
    """Tokens out / tokens in, counted by the tokenizer of whoever reads the rewrite; of an empty original 1.

    A rewrite that pads, echoes or copies has more tokens, whatever they are, so it can only lose by that.
    """
    return tokens_out / tokens_in if tokens_in else 1.0


def under_cap(rate: float, cap: float) -> bool:
    """A gate: what keeps more than `cap` of the tokens is no compression and paid nothing."""
    return rate <= cap
