"""Groups and their columns: padding, what may enter a loss, and the way through a pickle."""

from __future__ import annotations

import pickle
from dataclasses import fields, replace

import numpy as np
import pytest
import torch

from policies.groups import Group, learner_columns, pad_stack
from policies.rollouts import SampleReport, Task
from rlcompress.models.tokenizer import TextTokenizer
from rlcompress.words import Status
from tests.policies.sampled import sample_groups
from tests.rlcompress.small_models import TEXTS, small_scorer


@pytest.fixture(scope="module")
def groups(bpe: TextTokenizer) -> list[Group]:
    """Two runner calls of different sizes."""
    scorer = small_scorer(bpe)
    return [*sample_groups(scorer, TEXTS[:2]), *sample_groups(scorer, [TEXTS[3], TEXTS[4] * 2, ""], seed=1)]


def test_pad_stack() -> None:
    rng = np.random.default_rng(0)
    arrays = [rng.integers(1, 9, size=shape) for shape in [(2, 3, 1), (1, 1, 4), (3, 2, 2)]]
    stacked = pad_stack(arrays)
    assert stacked.shape == (6, 3, 4)
    assert stacked.dtype == np.int64
    row = 0
    for array in arrays:
        for part in array:
            for i, j in np.ndindex(3, 4):
                inside = i < part.shape[0] and j < part.shape[1]
                assert stacked[row, i, j] == (part[i, j] if inside else 0)
            row += 1


def test_learner_columns(groups: list[Group]) -> None:
    columns = learner_columns(groups)
    assert {len(column) for column in columns.values()} == {len(groups)}
    N = columns["exists_PN"].shape[1]
    assert columns["order_PGN"].shape == columns["logp_PGN"].shape == (len(groups), 4, N)
    for p, group in enumerate(groups):
        W, T = group.features["ids_PWT"].shape[1:]
        for name in ("ids_PWT", "unit_PWT", "segment_PWT", "own_PWT"):
            assert (columns[name][p, :W, :T] == group.features[name][0]).all()
            assert not columns[name][p, W:].any()
            assert not columns[name][p, :, T:].any()
        assert columns["valid_PWT"][p, :, 0].all()  # a window needs a token to attend to
        assert not columns["valid_PWT"][p, W:, 1:].any()
        n = group.order_GN.shape[1]
        assert (columns["order_PGN"][p, :, :n] == group.order_GN).all()
        assert (columns["logp_PGN"][p, :, :n] == group.logp_GN).all()
        assert columns["exists_PN"][p].sum() == group.features["exists_PN"].sum()
        assert (columns["draws_PG"][p] == group.draws_G).all()
        assert (columns["ok_PG"][p] == group.ok_G).all()
        assert columns["free_P"][p] == group.free
        assert columns["tau_P"][p] == np.float32(group.task.tau)


def test_learner_columns_leave_the_groups_alone(groups: list[Group]) -> None:
    before = pickle.dumps(groups)
    learner_columns(groups)
    assert pickle.dumps(groups) == before
    single = learner_columns(groups[:1])
    single["valid_PWT"][:] = False
    single["ids_PWT"][:] = -1
    assert pickle.dumps(groups) == before


def test_what_may_enter_a_loss(groups: list[Group]) -> None:
    group = replace(
        groups[0],
        status_G=(Status.OK, Status.OVER_BUDGET, Status.OK, Status.OK),
        reward_G=np.array([0.1, 0.2, np.nan, 0.4]),
        draws_G=np.array([3, 3, 3, 0]),
    )
    assert group.ok_G.tolist() == [True, False, False, False]
    assert not replace(group, status_G=(Status.REWARD_FAILED,) * 4).ok_G.any()


def test_empty_texts_decide_nothing(groups: list[Group]) -> None:
    assert not groups[-1].ok_G.any()
    assert groups[-1].free == 0


def same(a: object, b: object) -> bool:
    if isinstance(a, np.ndarray):
        return bool(np.array_equal(a, b, equal_nan=a.dtype.kind == "f"))  # type: ignore[arg-type]
    if isinstance(a, dict):
        return isinstance(b, dict) and a.keys() == b.keys() and all(same(a[k], b[k]) for k in a)
    return a == b


def test_pickle_round_trip(groups: list[Group]) -> None:
    report = SampleReport(first=5, results=groups, errors=["Traceback"])
    copy = pickle.loads(pickle.dumps(report))
    assert (copy.first, copy.errors, len(copy.results)) == (5, ["Traceback"], len(groups))
    for a, b in zip(groups, copy.results, strict=True):
        assert isinstance(b, Group)
        assert all(same(getattr(a, f.name), getattr(b, f.name)) for f in fields(a))
    assert pickle.loads(pickle.dumps(Task(1, 2, 0.5, 1.0, 7))) == Task(1, 2, 0.5, 1.0, 7)
    assert torch.from_numpy(copy.results[0].logp_GN).isfinite().all()
