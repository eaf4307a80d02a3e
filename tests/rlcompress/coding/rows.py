"""Rows in the forms in which MBPP and HumanEval are published, made up for the tests."""

from __future__ import annotations

from typing import Any

PUBLISHED: dict[str, Any] = {
    "text": "Write a function to double a number.",
    "code": "def double(x):\r\n    return 2 * x",
    "task_id": 601,
    "test_setup_code": "",
    "test_list": ["assert double(1) == 2", "assert double(2) == 4", "assert double(-3) == -6"],
    "challenge_test_list": ["assert double(0) == 0"],
}
SANITIZED: dict[str, Any] = {
    "source_file": "Benchmark Questions Verification V2.ipynb",
    "task_id": 2,
    "prompt": "Write a function to take a root.",
    "code": "import math\ndef root(x):\n  return math.sqrt(x)",
    "test_imports": ["import math"],
    "test_list": ["assert math.isclose(root(4), 2)", "assert root(9) == 3"],
}
HUMAN_EVAL: dict[str, Any] = {
    "task_id": "HumanEval/200",
    "prompt": "from typing import List\n\n\ndef half(x: int) -> int:\n    return x // 2\n\n\n"
    "def halves(xs: List[int]) -> List[int]:\n"
    '    """ Half of each number.\n    >>> halves([2, 4])\n    [1, 2]\n    """\n',
    "entry_point": "halves",
    "canonical_solution": "    return [half(x) for x in xs]\n",
    "test": "\n\nMETADATA = {'author': 'x'}\n\n\ndef check(candidate):\n"
    '    assert candidate([2, 4]) == [1, 2], "the example"\n    assert candidate([]) == []\n'
    "    many = list(range(4))\n    assert candidate(many) == [0, 0, 1, 1]\n    assert True, 'ends well'\n",
}


def numbered(row: dict[str, Any], count: int) -> list[dict[str, Any]]:
    """`count` rows that differ by their number."""
    form = "HumanEval/{}" if isinstance(row["task_id"], str) else None
    return [{**row, "task_id": form.format(n) if form else n} for n in range(1, count + 1)]
