"""The program in what a model answered. Nothing is executed, no character is changed.

The order of trial: code in fences; the answer as the rest of a prompt that is code; the answer as it is; the longest
run of its lines that is code. A program that cannot be read comes back as it is: then the verdict says what is wrong.
"""

from __future__ import annotations

import ast
import re
import textwrap
from collections.abc import Iterator, Sequence
from dataclasses import dataclass

from rlcompress.coding.problem import CodeProblem
from rlcompress.coding.renaming import alias
from rlcompress.coding.syntax import FUNCTIONS, bound, broken_at, defined, parsed, used
from rlcompress.coding.trimming import whole_statements, without_demonstrations

_FENCE = re.compile(r"^([ \t]*)(`{3,}|~{3,})[ \t]*([^\s`{]*)[^`\n]*$")
_PYTHON = ("python", "py", "python3", "py3", "pycon", "python-repl", "")
_DEFINES = re.compile(r"^(async )?(def|class) ", re.MULTILINE)
_BEGINS = re.compile(r"\s*((def|class|async def|import|from)\b|@\w|\w+ *=[^=])")
_PROMPT = re.compile(r"^[ \t]*(>>>|\.\.\.)( |$)")
_SESSION = re.compile(r"^[ \t]*>>> (def|class|@|from|import)\b", re.MULTILINE)  # it defines; a docstring's only calls
_TRIES = 120  # of runs of lines: an answer can be one line again and again
_MOST_LINES = 600  # of an answer without fences: what stands behind them is no function any more


@dataclass(frozen=True, slots=True)
class Extraction:
    """`code` is what to judge. `how` says where it stood: fence, completion, whole, lines, or nothing was found.

    `renamed` is the function that got the entry point's name besides its own, None where none needed it.
    """

    code: str
    how: str
    renamed: str | None = None

    @property
    def readable(self) -> bool:
        """Whether Python can parse it."""
        return parsed(self.code) is not None


def extract(answer: str, entry_point: str | None = None, *, prompt: str = "", tests: Sequence[str] = ()) -> Extraction:
    """The program in `answer`.

    `entry_point` is the function that the tests call; `tests` say with how many arguments, for a function of another
    name. `prompt` is what the answer may continue, where that is code, as HumanEval's are.
    """
    answer = answer.replace("\r\n", "\n").removeprefix("\ufeff")
    found = _from_fences(answer, entry_point)
    if found is None and (whole := _completed(answer, prompt, entry_point)):
        found = Extraction(whole, "completion")
    if found is None:
        found = _from_lines(_undo_prompts(answer))
    code = without_demonstrations(found.code)
    other = alias(code, entry_point, tests)
    if other is not None:
        code = f"{code.rstrip()}\n\n\n{entry_point} = {other}\n"
    return Extraction(code, found.how, other)


def extract_for(problem: CodeProblem, answer: str) -> Extraction:
    """The program in an answer to `problem`, its preamble in front."""
    visible = [*problem.visible_tests, *problem.hidden_tests]  # for the number of arguments alone
    found = extract(answer, problem.entry_point, prompt=problem.prompt, tests=visible)
    return Extraction(problem.program(found.code), found.how, found.renamed)


# ------------------------------------------------------------------------------------------------ fences


def fenced(answer: str) -> Iterator[tuple[str, str]]:
    """(language, text) of each fenced block; one that is never closed reaches to the end."""
    mark, language, indent, inside = "", "", "", list[str]()
    for line in answer.split("\n"):
        fence = _FENCE.match(line)
        if not mark:
            if fence:
                indent, mark, language = fence[1], fence[2], fence[3].lower().strip(".")
        elif fence and not fence[3] and fence[2].startswith(mark):
            yield language, "\n".join(inside)
            mark, inside = "", []
        else:
            inside.append(line.removeprefix(indent))
    if mark and any(line.strip() for line in inside):
        yield language, "\n".join(inside)


def _from_fences(answer: str, entry_point: str | None) -> Extraction | None:
    """The last block that defines the entry point, with what it needs of the others; else the longest with a function.

    A block in another language is a program only where none in Python is.
    """
    blocks = list(fenced(answer))
    ours = [text for language, text in blocks if language in _PYTHON] or [text for _, text in blocks]
    codes = [whole_statements(textwrap.dedent(_undo_prompts(text))).strip("\n") for text in ours]
    codes = [code for code in codes if code.strip()]
    if not codes:
        return None
    trees = {code: tree for code in codes if (tree := parsed(code)) is not None}
    wanted = [code for code in trees if entry_point in defined(trees[code])]
    functions = [code for code in trees if any(isinstance(node, FUNCTIONS) for node in trees[code].body)]
    if wanted:
        chosen = wanted[-1]
    elif functions:
        chosen = max(functions, key=len)
    else:  # perhaps the entry point stands where a mistake keeps it from being read
        chosen = next((code for code in reversed(codes) if f"def {entry_point}(" in code), max(codes, key=len))
    return Extraction(_with_needed(chosen, trees), "fence")


def _with_needed(chosen: str, trees: dict[str, ast.Module]) -> str:
    """Imports, functions and constants of the other blocks that the chosen one reads and does not define."""
    if chosen not in trees:
        return chosen
    offered: dict[str, tuple[int, str]] = {}  # name -> place, text of the statement that binds it
    for code, tree in trees.items():
        if code != chosen:
            for statement in tree.body:
                if isinstance(statement, (*FUNCTIONS, ast.Import, ast.ImportFrom, ast.Assign)):
                    text = ast.get_source_segment(code, statement) or ""
                    offered.update(dict.fromkeys(bound(statement), (len(offered), text)))
    have, taken, missing = defined(trees[chosen]), dict[str, int](), used(trees[chosen])
    while needed := [name for name in sorted(missing) if name not in have and name in offered]:
        for name in needed:
            place, text = offered[name]
            taken[text] = place
            tree = parsed(text) or ast.Module([], [])
            have |= defined(tree) | {name}
            missing |= used(tree)
    before = sorted(taken, key=lambda text: taken[text])
    return "\n\n".join([*before, chosen])


# ------------------------------------------------------------------------------------------------ no fences


def _completed(answer: str, prompt: str, entry_point: str | None) -> str | None:
    """Prompt and answer together, where the answer is the rest of the function that the prompt begins.

    The first line may have lost its indentation, as answers do whose white space was stripped.
    """
    if entry_point is None or f"def {entry_point}" not in prompt or re.search(rf"\bdef {entry_point}\b", answer):
        return None
    if re.search(_DEFINES, answer) and parsed(answer) is not None:
        return None  # a program of its own, its function perhaps of another name
    rest = answer.strip("\n")
    for body in (rest, f"    {rest.lstrip()}") if rest.strip() else ():
        code = whole_statements(f"{prompt.rstrip()}\n{body}")
        tree = parsed(code)
        if tree is not None and body[0].isspace() and entry_point in defined(tree) and not _words(tree):
            return code
    return None


def _words(tree: ast.Module) -> bool:
    """Whether the last function ends in an expression that does nothing: `Sorry` is Python too."""
    last = tree.body[-1]
    statement = last.body[-1] if isinstance(last, ast.FunctionDef) else last
    return isinstance(statement, ast.Expr) and isinstance(statement.value, ast.Name | ast.Tuple)


def _from_lines(answer: str) -> Extraction:
    """The whole answer where it is code; else its longest run of lines that is code and defines something."""
    text = textwrap.dedent(answer).strip("\n")
    if re.search(_DEFINES, text) and parsed(text) and not _stray(text):
        return Extraction(text, "whole")
    lines = text.split("\n")[:_MOST_LINES]
    starts = [i for i, line in enumerate(lines) if _BEGINS.match(line)]
    best, end_of_last = "", 0
    tries = iter(range(_TRIES))  # shared by all beginnings
    for start in starts:
        if start < end_of_last:
            continue  # inside a run that was found
        code, end = _longest_from(lines, start, tries)
        end_of_last = end
        if len(code) > len(best) and re.search(_DEFINES, code):
            best = code
    return Extraction(best, "lines") if best else Extraction(text, "nothing")


def _longest_from(lines: list[str], start: int, tries: Iterator[int]) -> tuple[str, int]:
    """The longest run of lines from `start` that is code, and where it ends; it ends before a statement or a blank.

    Where a longer run breaks, on that line, every run up to there and beyond breaks too: the next try ends before it.
    """
    indent = _indent(lines[start])
    ends = [end for end in range(start + 1, len(lines)) if not lines[end].strip() or _indent(lines[end]) <= indent]
    end = len(lines)
    for _ in tries:
        code = textwrap.dedent("\n".join(lines[start:end])).rstrip("\n")
        line = broken_at(code) or _stray(code)
        if not line:
            return code, end
        end = max((e for e in ends if e < end and e < start + max(line, 2)), default=start)
        if end == start:
            break
    return "", start


def _indent(line: str) -> int:
    return len(line) - len(line.lstrip())


def _stray(code: str) -> int:
    """The line of the first statement that is words and no program, as `[BEGIN]` and `Done` are; 0 for none."""
    tree = parsed(code) or ast.Module([], [])
    meant = (ast.Call, ast.Constant, ast.Await)
    return next((n.lineno for n in tree.body if isinstance(n, ast.Expr) and not isinstance(n.value, meant)), 0)


def _undo_prompts(text: str) -> str:
    """The typed lines of an interpreter's session, without `>>> ` and without what it printed."""
    if not _SESSION.search(text):
        return text
    typed = [match for line in text.split("\n") if (match := _PROMPT.match(line))]
    return "\n".join(match.string[match.end() :] for match in typed)
