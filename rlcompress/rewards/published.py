"""Rewards as they were published: pure functions of measured numbers, each with its source and what it leaves open.

They are here to be checked and compared. What a preset pays is in `recipes.py`, where the holes are closed.
"""

from __future__ import annotations


def pcrl(similarity: float, rate: float, *, gate: float = 0.9, penalty: float = 0.01) -> float:
    """1 − r where ROUGE-L(ŷ, y) > 0.9, else −0.01. PCRL, Jung & Kim 2023 (IEEE Access 2024).

    `similarity` is that of the reader's outputs on the compressed and on the original text, `rate` the kept fraction.
    Holes: missing the gate by a word costs as much as missing it by everything, and 0.01 is so little that copying
    the text (0) beats every honest output that misses it.
    """
    return 1.0 - rate if similarity > gate else -penalty


def taco_rl(bleu: float, kept: int, tokens: int, *, target: float = 0.5, window: int = 30) -> float:
    """BLEU(ŷ, y) inside a window of the length; −0.1 outside it, −0.4 for a tenth of the text or less.

    TACO-RL, Shandilya et al. 2025: −0.4 if kept ≤ 0.1·tokens; −0.1 if |kept − r*·tokens| > 30; else BLEU (F1 for
    question answering). Holes: a window in tokens holds all of a text of 60; everyone may sit on its edge, where one
    more token costs all; in the authors' code a reader that fails pays +0.4, more than most answers.
    """
    if kept <= 0.1 * tokens:
        return -0.4
    return -0.1 if abs(kept - target * tokens) > window else bleu


def core_rag(exact: float, f1: float, *, f1_weight: float = 5.0) -> float:
    """10·EM + 5·F1 of the reader's answer (10·F1 for TriviaQA and 2Wiki). CORE-RAG; the length is a hard cap.

    Holes: the rewriter may write the answer and nothing else; below the cap no length costs anything; a reader that
    fails pays 0 like one that answers wrongly.
    """
    return 10.0 * exact + f1_weight * f1


def cmprsr(quality: float, rate: float, target: float) -> float:
    """Quality + 1 − max(0, r − r*). Cmprsr (arXiv 2511.12281); the exact form of its quality is not published.

    Holes: the sum trades quality for length, so keeping everything can beat an honest output at the target, and
    keeping nothing is paid in full for its length.
    """
    return quality + 1.0 - max(0.0, rate - target)


def tac_c(exact: float, f1: float, well_formed: bool, rate: float, budget: float, leaked: bool) -> float:
    """(0.95·(EM + F1)/2 + 0.05·format) · budget gate · leak gate. TaC-C (arXiv 2605.28713).

    The budget gate is soft with γ = 0.1; here it falls linearly from 1 at the budget to 0 at 0.1 above it. Without the
    leak gate the authors count 72 % of outputs that hold the answer rather than the text. Holes: format alone is paid.
    """
    over = min(1.0, max(0.0, rate - budget) / 0.1)
    gates = (1.0 - over) * float(not leaked)
    return (0.95 * (exact + f1) / 2.0 + 0.05 * float(well_formed)) * gates
