"""Generated problems: the same for the same seed, solved by their solutions, each family in many forms."""

from __future__ import annotations

import ast

import pytest

from rlcompress.coding.families import FAMILIES
from rlcompress.coding.generated import generated_problems, written_in
from rlcompress.coding.mutants import mutants


def test_a_problem_hangs_on_seed_and_place_alone() -> None:
    many = generated_problems(40, seed=5)
    assert generated_problems(12, seed=5) == many[:12]
    assert generated_problems(12, seed=6) != many[:12]
    assert len({problem.id for problem in many}) == 40
    assert {problem.entry_point for problem in many} == set(FAMILIES)
    assert len(FAMILIES) >= 8


def test_families_vary() -> None:
    problems = generated_problems(80)
    for name in FAMILIES:
        assert len({problem.solution for problem in problems if problem.entry_point == name}) >= 3, name


@pytest.mark.parametrize("visible", [0, 2])
def test_every_solution_passes_its_tests(visible: int) -> None:
    for problem in generated_problems(60, seed=1, visible=visible):
        assert len(problem.visible_tests) == visible
        assert len(problem.hidden_tests) >= 2
        names: dict[str, object] = {}
        exec(problem.solution, names)  # our own text: the sandbox has tests of its own
        for test in (*problem.visible_tests, *problem.hidden_tests):
            exec(test, names)


def test_answers_differ_so_that_a_constant_fails() -> None:
    for problem in generated_problems(60, seed=2):
        expected = [test.partition(" == ")[2] for test in (*problem.visible_tests, *problem.hidden_tests)]
        assert len(set(expected)) >= 2, problem.id


def test_each_has_wrong_neighbours() -> None:
    assert all(len(mutants(problem.solution)) >= 4 for problem in generated_problems(10))


def test_the_prompt_names_the_function_and_no_braces_stay() -> None:
    for problem in generated_problems(20):
        assert f"{problem.entry_point}(" in problem.prompt
        assert "{" not in problem.prompt


def test_the_varying_part_is_written_in() -> None:
    text = written_in(FAMILIES["clip_all"].solve, {"low": -2, "high": 9})
    assert "-2" in text
    assert not {"low", "high"} & {node.id for node in ast.walk(ast.parse(text)) if isinstance(node, ast.Name)}
    assert text.startswith("def clip_all(numbers):")
