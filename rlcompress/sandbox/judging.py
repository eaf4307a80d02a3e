"""Judges a program by its tests: it runs in one jail, its values are compared out here."""

from __future__ import annotations

import time
from collections.abc import Sequence
from dataclasses import dataclass

from rlcompress.errors import UserError
from rlcompress.sandbox.asserts import Question, Setup, take_apart
from rlcompress.sandbox.inside import NotPlain, decode
from rlcompress.sandbox.jail import Ended, Jail, JailBroken, OutOfTime
from rlcompress.sandbox.levels import MINIMUM, choose
from rlcompress.sandbox.verdict import CodeStatus, Limits, TestVerdict, Verdict

DETAIL = 300  # characters of a detail, which a person reads and a prompt may show

# The verdict on a program is that of its worst test; trouble of the sandbox hides all else, as nothing is known then.
WORST_FIRST = (
    CodeStatus.SANDBOX_ERROR,
    CodeStatus.TIMEOUT,
    CodeStatus.ERROR,
    CodeStatus.FAILED,
    CodeStatus.PASSED,
)


def judge(
    program: str,
    tests: Sequence[str],
    *,
    setup: str = "",
    limits: Limits | None = None,
    level: str = "auto",
    minimum: str = MINIMUM,
) -> Verdict:
    """Run `program`, then `setup`, then each of `tests`, in one jail that is made for them and gone afterwards.

    Args:
        program: Python that a model wrote.
        tests: assert lines as MBPP has them; see `asserts` for what may stand in them.
        setup: trusted code of the data set, run after the program; both may use each other's names.
        limits: what the program may use in all.
        level: the jail, `auto` for the strongest that holds here.
        minimum: the weakest that is accepted.

    Returns:
        The verdict; whatever the program does is a status in it.

    Raises:
        UserError: no test, a test that cannot be judged, a level that does not hold here.
    """
    if not tests:
        raise UserError("tests: there is none, so anything would pass")
    limits = limits or Limits()
    level = choose(level, minimum)
    parts, questions = take_apart(tests, setup, program)
    started = time.monotonic()
    try:
        found = _clean(_candidate(program, parts, questions, level, limits), parts, level, limits)
    except JailBroken as error:
        found = [_Found(question, CodeStatus.SANDBOX_ERROR, str(error)) for question in questions]
    verdicts = tuple(TestVerdict(one.question.test, one.status, one.detail[:DETAIL]) for one in found)
    worst = min(verdicts, key=lambda verdict: WORST_FIRST.index(verdict.status))
    detail = "" if worst.status is CodeStatus.PASSED else f"{worst.test[:DETAIL]}: {worst.detail}"
    return Verdict(worst.status, verdicts, level, time.monotonic() - started, detail[:DETAIL])


@dataclass(frozen=True, slots=True)
class _Found:
    """A test so far: decided, or (status PASSED and `values`) waiting for the clean jail."""

    question: Question
    status: CodeStatus
    detail: str = ""
    values: tuple[bytes, ...] | None = None


def _candidate(program: str, parts: Setup, questions: list[Question], level: str, limits: Limits) -> list[_Found]:
    """Every test's values, from the jail that runs the program; what the parent can decide is decided."""
    found: list[_Found] = []
    ended: tuple[CodeStatus, str] | None = None
    with Jail(level, limits) as jail:
        try:
            for name, code in (("program", program), ("set-up", parts.candidate)):
                answer = jail.ask("run", code) if code else {"ok": True}
                if answer.get("ok") is not True:
                    raise Ended(f"the {name} raised {answer.get('detail')}")
            for question in questions:
                found.append(_ask(jail, question))
        except OutOfTime:
            ended = (
                CodeStatus.TIMEOUT,
                f"no answer within {limits.wall_seconds:g} s, or {limits.cpu_seconds:g} s of CPU",
            )
        except (Ended, NotPlain) as error:
            ended = CodeStatus.ERROR, str(error)
    if ended is not None:
        found += [_Found(question, *ended) for question in questions[len(found) :]]
    return found


def _ask(jail: Jail, question: Question) -> _Found:
    values: list[bytes] = []
    for call in question.calls:
        answer = jail.ask(question.op, call)
        value = answer.get("value")
        if answer.get("ok") is not True or not isinstance(value, bytes):
            plain = answer.get("plain") is not False
            return _Found(question, CodeStatus.ERROR if plain else CodeStatus.FAILED, str(answer.get("detail")))
        if len(value) > jail.limits.value_bytes:
            return _Found(question, CodeStatus.FAILED, f"more than {jail.limits.value_bytes} bytes of data")
        values.append(value)
    if question.decide is None:
        return _Found(question, CodeStatus.PASSED, values=tuple(values))
    value = decode(values[0])
    if question.decide(value):
        return _Found(question, CodeStatus.PASSED)
    return _Found(question, CodeStatus.FAILED, f"{question.calls[0]} gave {show(value)}")


def _clean(found: list[_Found], parts: Setup, level: str, limits: Limits) -> list[_Found]:
    """Decide what is left, in a second jail that has never seen the program, on the values that came back."""
    if all(one.values is None for one in found):
        return found
    decided: list[_Found] = []
    with Jail(level, limits) as jail:
        try:
            answer = jail.ask("run", parts.clean)
            if answer.get("ok") is not True:
                raise UserError(f"setup: {parts.clean[:80]!r} raised {answer.get('detail')}: mend it in the data")
            for one in found:
                decided.append(one if one.values is None else _evaluate(jail, one.question, one.values))
        except OutOfTime:
            why = CodeStatus.TIMEOUT, f"the test itself took longer than {limits.wall_seconds:g} s on its values"
        except Ended as error:
            why = CodeStatus.ERROR, f"the test itself, on its values: {error}"
    rest = found[len(decided) :]
    return decided + [one if one.values is None else _Found(one.question, *why) for one in rest]


def _evaluate(jail: Jail, question: Question, values: tuple[bytes, ...]) -> _Found:
    named = {f"_value_{i}": value for i, value in enumerate(values)}
    answer = jail.ask("truth", question.remainder, named)
    if answer.get("ok") is not True:
        return _Found(question, CodeStatus.ERROR, str(answer.get("detail")))
    if decode(answer["value"]) is True:
        return _Found(question, CodeStatus.PASSED)
    shown = "; ".join(f"{call} gave {show(decode(value))}" for call, value in zip(question.calls, values, strict=True))
    return _Found(question, CodeStatus.FAILED, shown)


def show(value: object) -> str:
    """A value for a person, cut."""
    try:
        text = repr(value)
    except ValueError:  # an integer of more digits than Python prints
        text = "a very large number"
    return text if len(text) <= 120 else text[:117] + "..."
