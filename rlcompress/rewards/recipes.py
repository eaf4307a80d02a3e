"""The published rewards as they are paid here: continuous, without the holes that `published.py` names.

r is the kept fraction, r* the target (`reward.length.target`, or the rate that was asked for); y and ŷ are the reader's
answers from the original and from the output. `near` and `within` replace windows, caps and budgets (`lengths.py`).
"""

from __future__ import annotations

from rlcompress.rewards.answers import agreement, gold
from rlcompress.rewards.item import RewardInput, Term
from rlcompress.rewards.lengths import around, ramp, up_to


def near(item: RewardInput) -> float:
    """`lengths.around` the target: two-sided."""
    length = item.settings.length
    return around(item.rate, _target(item), length.tolerance, length.slope)


def within(item: RewardInput) -> float:
    """`lengths.up_to` the target: what is shorter costs nothing."""
    length = item.settings.length
    return up_to(item.rate, _target(item), length.tolerance, length.slope)


def _target(item: RewardInput) -> float:
    target = item.settings.length.target
    return item.compression.rate if target is None else target


def pcrl(item: RewardInput) -> float:
    """(1 − r)·g − 0.01·(1 − g), g rising from 0 at a similarity of 0.4 to 1 at 0.9.

    PCRL pays 1 − r above 0.9 and −0.01 below; here a nearly unchanged answer is worth nearly as much.
    """
    gate = ramp(agreement(item), 0.4, 0.9)
    return (1.0 - item.rate) * gate - 0.01 * (1.0 - gate)


def taco_rl(item: RewardInput) -> float:
    """L·BLEU(ŷ, y) − 0.1·(1 − L) − 0.3·short: L = `near`, short from 0 at a tenth of the text to 1 at a twentieth.

    TACO-RL's window is 30 tokens wide, whatever the text; here it is a share of the text and has slopes.
    """
    fits, short = near(item), 1.0 - ramp(item.rate, 0.05, 0.1)
    return fits * agreement(item) - 0.1 * (1.0 - fits) - 0.3 * short


def core_rag(item: RewardInput) -> float:
    """(10·EM + 5·F1) / 15 · `within`: CORE-RAG's answer reward, of order 1, its cap of the length with a slope."""
    exact, f1 = gold(item, item.said[0])
    return (10.0 * exact + 5.0 * f1) / 15.0 * within(item)


def cmprsr(item: RewardInput) -> float:
    """F1(ŷ, a) · `within`: Cmprsr's one-sided length as a factor, so that no quality buys tokens."""
    return gold(item, item.said[0])[1] * within(item)


def tac_c(item: RewardInput) -> float:
    """(EM + F1)/2 · (0.95 + 0.05·format) · `within`: TaC-C, with format paid only where the answer is.

    A mask is spans of its text and always well formed; a written output is, if it is one paragraph and not empty.
    """
    formed = item.written is None or (bool(item.written.strip()) and "\n\n" not in item.written.strip())
    return sum(gold(item, item.said[0])) / 2.0 * (0.95 + 0.05 * formed) * within(item)


def guarded(item: RewardInput) -> float:
    """F1(ŷ, a) · `near`: the product, so zero quality or the wrong length is zero reward."""
    return gold(item, item.said[0])[1] * near(item)


RECIPES: dict[str, Term] = {
    "pcrl": Term(pcrl, low=-0.01, reads=("said",)),
    "taco_rl": Term(taco_rl, low=-0.4, reads=("said",)),
    "core_rag": Term(core_rag, needs=("answer",), reads=("said",)),
    "cmprsr": Term(cmprsr, needs=("answer",), reads=("said",)),
    "tac_c": Term(tac_c, needs=("answer",), reads=("said",)),
    "guarded": Term(guarded, needs=("answer",), reads=("said",)),
}
