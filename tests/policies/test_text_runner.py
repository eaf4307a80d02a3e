"""Groups of texts as a runner makes them: in this process, without Ray."""

from __future__ import annotations

import json
import pickle
from dataclasses import fields
from pathlib import Path

import numpy as np
import pytest
from ray.rllib.core import COMPONENT_RL_MODULE, DEFAULT_MODULE_ID
from ray.rllib.utils.metrics import WEIGHTS_SEQ_NO

from policies.rollouts import SampleReport
from policies.text_groups import TextGroup, learner_columns
from policies.text_grpo import text_metrics
from policies.text_runner import TextRunner, check_env
from rlcompress.errors import UserError
from rlcompress.generation.writing import Ending
from rlcompress.recording.ledger import entry
from rlcompress.words import Status
from tests.policies import writing
from tests.policies.conftest import same_weights
from tests.policies.test_groups import same


@pytest.fixture(scope="module")
def runner(llama_start: Path) -> TextRunner:
    return writing.runner(llama_start)


@pytest.fixture(scope="module")
def groups(runner: TextRunner) -> list[TextGroup]:
    report = runner.sample(tasks=writing.tasks(10))
    assert report.errors == []
    return report.results


def same_groups(a: list[TextGroup], b: list[TextGroup]) -> bool:
    return len(a) == len(b) and all(
        same(getattr(x, f.name), getattr(y, f.name)) if f.name != "logp" else all(map(np.array_equal, x.logp, y.logp))
        for x, y in zip(a, b, strict=True)
        for f in fields(TextGroup)
    )


def test_a_reward_belongs_to_the_text_that_was_written(runner: TextRunner, groups: list[TextGroup]) -> None:
    world = runner.env.world
    assert [group.task for group in groups] == writing.tasks(10)
    for group in groups:
        problem = writing.problems()[group.task.example]
        assert group.original == problem.text
        assert runner.module.prompt_ids([problem.text], [0.5]) == [group.prompt]
        for g, ids in enumerate(group.outputs):
            if not group.ended_G[g]:
                assert group.status_G[g] is Status.UNFINISHED
                assert np.isnan(group.reward_G[g]), "no verdict is no reward, not a reward of 0"
                continue
            assert group.text_G[g] == runner.module.language.decode(ids[:-1]).strip()
            rate = world.count(group.text_G[g]) / world.count(problem.text)
            assert group.achieved_rate_G[g] == pytest.approx(rate)
            assert group.reward_G[g] == pytest.approx(1 - min(1, max(0, (abs(rate - 0.5) - 0.05) / 0.5)))


def test_samples_follow_from_the_task_alone(runner: TextRunner, groups: list[TextGroup]) -> None:
    """Not from their company, nor from how many a call has room for: to the same bits."""
    alone = [runner.sample(tasks=[task]).results[0] for task in reversed(writing.tasks(10))][::-1]
    assert same_groups(groups, alone)
    texts = {text for group in groups for text in group.text_G}
    assert len(texts) > 20, "every sample has random numbers of its own"


def test_nothing_is_written_for_places_that_no_task_has(runner: TextRunner, monkeypatch: pytest.MonkeyPatch) -> None:
    written, stepped = [], []
    write, step = runner.module.write, runner.env.step
    monkeypatch.setattr(runner.module, "write", lambda *a: written.append(len(a[0])) or write(*a))
    monkeypatch.setattr(runner.env, "step", lambda texts: stepped.append(texts) or step(texts))
    report = runner.sample(tasks=writing.tasks(6))
    assert len(report.results) == 6
    assert written == [16, 8], "room for four prompts with four samples each"
    assert stepped[1][4:8] == stepped[1][8:12] == stepped[1][12:]


def test_each_task_is_written_at_its_own_temperature(runner: TextRunner) -> None:
    tasks = [*writing.tasks(2, tau=1e-4), *writing.tasks(2, tau=1.0)]
    cold, hot = (runner.sample(tasks=part).results for part in (tasks[:2], tasks[2:]))
    assert same_groups(runner.sample(tasks=tasks).results, [*cold, *hot])
    assert all(len(set(group.text_G)) == 1 for group in cold)
    assert any(len(set(group.text_G)) > 1 for group in hot)


def test_what_has_no_end_or_no_verdict_is_counted_and_left_out(llama_start: Path) -> None:
    groups = writing.runner(llama_start, evaluator="picky").sample(tasks=writing.tasks(8)).results
    status = [s for group in groups for s in group.status_G]
    assert {Status.OK, Status.UNFINISHED, Status.JUDGE_FAILED} == set(status)
    ok = [bool(ok) for group in groups for ok in group.ok_G]
    assert ok == [s is Status.OK for s in status]
    columns = learner_columns([group for group in groups if group.ok_G.any()])
    assert columns["output_PGO"].any(-1).sum() == sum(ok)
    assert np.isfinite(columns["logp_PGO"]).all()


def test_a_prompt_beyond_the_window_is_a_status_too(llama_start: Path) -> None:
    groups = writing.runner(llama_start, language={"window": 30}).sample(tasks=writing.tasks(2)).results
    assert all(set(group.ending_G) == {Ending.TOO_LONG} for group in groups)
    assert all(set(group.status_G) == {Status.UNFINISHED} for group in groups)
    assert text_metrics(groups)["output/too_long"] == 1.0


def test_an_exception_in_the_environment_is_reported_with_its_traceback(llama_start: Path) -> None:
    report = writing.runner(llama_start, evaluator="raising").sample(tasks=writing.tasks(5))
    assert report.results == []
    assert len(report.errors) == 2, "one a call"
    assert "ZeroDivisionError: a bug in the user's own evaluator" in report.errors[0]


def test_iterative_episodes_are_refused(llama_start: Path) -> None:
    with pytest.raises(UserError, match=r"env\.form iterative.*single"):
        check_env(writing.configured(llama_start, form="iterative"))
    check_env(writing.configured(llama_start))


def test_weights_that_are_set_are_those_it_writes_with(llama_start: Path, groups: list[TextGroup]) -> None:
    runner = writing.runner(llama_start)
    before = runner.get_state()
    moved = {name: 1.3 * value for name, value in before[COMPONENT_RL_MODULE].items()}
    runner.set_state({COMPONENT_RL_MODULE: {DEFAULT_MODULE_ID: moved}, WEIGHTS_SEQ_NO: 3})
    assert same_weights(runner.get_state()[COMPONENT_RL_MODULE], moved)
    assert runner.get_state()[WEIGHTS_SEQ_NO] == 3
    assert not same_groups(runner.sample(tasks=writing.tasks(10)).results, groups)
    runner.set_state(before)
    assert same_groups(runner.sample(tasks=writing.tasks(10)).results, groups)


def test_a_report_survives_a_pickle(groups: list[TextGroup]) -> None:
    report = pickle.loads(pickle.dumps(SampleReport(first=0, results=groups)))
    assert same_groups(report.results, groups)


def test_metrics_say_how_texts_ended_and_which_gates_were_shut(llama_folder: Path) -> None:
    groups = writing.written(writing.module(llama_folder))
    cut = [writing.cut_off(groups[0]), *groups[1:]]
    metrics = text_metrics(cut)
    whole = [len(ids) for group in groups[1:] for ids in group.outputs]
    assert metrics == {
        "output/ended": 8 / 12,
        "output/truncated": 4 / 12,
        "output/too_long": 0.0,
        "output/failed": 0.0,
        "output/tokens": np.mean(whole),
        "gates/leak": 1 / 4,
        "gates/question": 0.0,
        "leak/rate": 1 / 4,
    }
    assert "leak/rate" not in text_metrics(cut[:1]), "of no whole text there is no rate"
    assert text_metrics([]) == {}


def test_the_ledger_takes_texts(groups: list[TextGroup]) -> None:
    samples = [sample for group in groups for sample in group.rolled()]
    line = json.loads(json.dumps(entry(samples)))
    assert line["samples"][:5] == ["0.0", "0.1", "0.2", "0.3", "1.0"]
    assert sum(line["status"].values()) == 40
    assert entry(samples[::-1])["masks"] != line["masks"] == entry(samples)["masks"]
