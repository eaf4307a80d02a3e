"""The loss on texts, against a slow twin from the models' own logits, against TRL's, and cut into parts."""

from __future__ import annotations

import types
from collections import defaultdict
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from torch import Tensor

from policies.learner import DECISIONS
from policies.text_groups import TextGroup
from policies.text_learner import text_terms
from policies.text_module import ENTROPY, LOGP, TextModule
from rlcompress.learning.advantages import ADVANTAGES
from tests.policies import writing

SETTINGS = {"clip_low": 0.2, "clip_high": 0.28, "entropy_coeff": 0.01, "kl_coeff": 0.1, "kl_estimator": "k3"}
ALGORITHMS = ("grpo", "dapo", "dr_grpo", "rloo")


@pytest.fixture(scope="module")
def policy(llama_folder: Path) -> TextModule:
    """Its weights have moved since the groups were sampled."""
    return moved(writing.module(llama_folder, entropy_coeff=0.01), seed=0)


@pytest.fixture(scope="module")
def reference(policy: TextModule) -> dict[str, Tensor]:
    state = policy.get_state()
    rng = np.random.default_rng(1)
    return {name: torch.tensor(v + 0.01 * rng.normal(size=v.shape).astype(v.dtype)) for name, v in state.items()}


@pytest.fixture(scope="module")
def groups(llama_folder: Path) -> list[TextGroup]:
    return writing.written(writing.module(llama_folder))


def moved(policy: TextModule, seed: int, by: float = 0.02) -> TextModule:
    rng = np.random.default_rng(seed)
    policy.set_state({k: v + by * rng.normal(size=v.shape).astype(v.dtype) for k, v in policy.get_state().items()})
    return policy


def logp_by_hand(policy: TextModule, state: dict[str, Any], prompt: list[int], output: list[int], tau: float) -> Any:
    """Log p of all tokens at each place of the output [O, V]: one sequence alone, no padding, double precision."""
    before = policy.get_state()
    policy.set_state(state)
    double = policy.network.double()
    with torch.no_grad():
        logits_TV = double(input_ids=torch.tensor([prompt + output])).logits[0].numpy()
    policy.network.float()
    policy.set_state(before)
    z_OV = logits_TV[len(prompt) - 1 : -1] / tau
    z_OV = z_OV - z_OV.max(-1, keepdims=True)
    return z_OV - np.log(np.exp(z_OV).sum(-1, keepdims=True))


def slow_terms(
    policy: TextModule, reference: dict[str, Tensor], groups: list[TextGroup], algorithm: str
) -> dict[str, float]:
    sums = dict.fromkeys(
        ("loss", "surrogate", "entropy", "kl_reference", "clip_fraction", "ratio_deviation", "kl_old"), 0.0
    )
    start = {name: value.numpy() for name, value in reference.items()}
    valid = [(p, g) for p, group in enumerate(groups) for g in range(4) if group.ok_G[g]]
    tokens = sum(len(groups[p].outputs[g]) for p, g in valid)
    reward_PG = torch.tensor(np.stack([group.reward_G for group in groups]))
    advantage_PG = ADVANTAGES[algorithm](reward_PG, reward_PG.isfinite(), 1e-8).tolist()
    for p, g in valid:
        group, output = groups[p], groups[p].outputs[g]
        place = range(len(output)), output
        logp_OV = logp_by_hand(policy, policy.get_state(), group.prompt, output, group.task.tau)
        logp_O = logp_OV[place]
        other_O = logp_by_hand(policy, start, group.prompt, output, group.task.tau)[place]
        ratio_O, gap_O, A = np.exp(logp_O - group.logp[g]), other_O - logp_O, advantage_PG[p][g]
        gain_O = np.minimum(ratio_O * A, np.clip(ratio_O, 0.8, 1.28) * A)
        kl_O, entropy_O = np.exp(gap_O) - 1 - gap_O, -(np.exp(logp_OV) * logp_OV).sum(-1)
        w = {
            "grpo": 1 / (len(valid) * len(output)),
            "dapo": 1 / tokens,
            "dr_grpo": 1 / (len(valid) * writing.MAX_NEW),
            "rloo": 1 / (len(valid) * writing.MAX_NEW),
        }[algorithm]
        sums["surrogate"] -= w * gain_O.sum()
        sums["loss"] += w * (-gain_O + 0.1 * kl_O - 0.01 * entropy_O).sum()
        sums["entropy"] += entropy_O.sum() / tokens
        sums["kl_reference"] += kl_O.sum() / tokens
        sums["clip_fraction"] += ((ratio_O < 0.8) | (ratio_O > 1.28)).sum() / tokens
        sums["ratio_deviation"] += np.abs(ratio_O - 1).sum() / tokens
        sums["kl_old"] += (1 / ratio_O - 1 + np.log(ratio_O)).sum() / tokens
    return sums


def terms_of(policy: TextModule, reference: dict[str, Tensor] | None, batch: dict[str, Tensor]) -> dict[str, Tensor]:
    found = policy.outputs(batch)
    with torch.no_grad():
        other = policy.outputs(batch, reference)[LOGP] if reference else None
    return text_terms(found[LOGP], batch, SETTINGS, other, found.get(ENTROPY))


@pytest.mark.parametrize("algorithm", ALGORITHMS)
def test_every_term_equals_the_slow_twin(policy, reference, groups, algorithm: str) -> None:
    with torch.no_grad():
        terms = terms_of(policy, reference, writing.as_batch(groups, algorithm=algorithm))
    expected = slow_terms(policy, reference, groups, algorithm)
    assert 0.02 < expected["clip_fraction"] < 0.98, "the clip matters in this case"
    loss, other = ({k: float(v) for k, v in found.items() if k in ("loss", "surrogate")} for found in (terms, expected))
    assert loss == pytest.approx(other, abs=1e-6)
    assert {k: float(v) for k, v in terms.items()} == pytest.approx(expected, abs=1e-5, rel=1e-5)


@pytest.mark.parametrize("algorithm", ["grpo", "dapo", "dr_grpo"])
@pytest.mark.parametrize("beta", [0.0, 0.1])
def test_the_loss_equals_that_of_trl(policy, reference, groups, algorithm: str, beta: float) -> None:
    """TRL's own `_compute_loss` on the same log-probabilities; samples without a verdict are left out of both."""
    trl = pytest.importorskip("trl.trainer.grpo_trainer")
    groups = [groups[0], groups[2]]  # all of whose samples count: TRL's mean counts what it masks
    batch = writing.as_batch(groups, algorithm=algorithm)
    ours_PGO = policy.outputs(batch)[LOGP].detach().requires_grad_()
    theirs_BO = ours_PGO.detach().flatten(0, 1).clone().requires_grad_()
    other_PGO = policy.outputs(batch, reference)[LOGP].detach()
    settings = {**SETTINGS, "kl_coeff": beta, "entropy_coeff": 0.0}
    loss = text_terms(ours_PGO, batch, settings, other_PGO if beta else None)["loss"]
    same = types.SimpleNamespace(gather=lambda x: x, reduce=lambda x, reduction: x, num_processes=1)
    trainer = types.SimpleNamespace(
        _get_per_token_logps_and_entropies=lambda *args, **kwargs: (theirs_BO, torch.zeros_like(theirs_BO), None),
        args=types.SimpleNamespace(delta=None, use_bias_correction_kl=False, steps_per_generation=1),
        model=types.SimpleNamespace(training=True),
        accelerator=same,
        aux_loss_enabled=False,
        top_entropy_quantile=1.0,
        off_policy_mask_threshold=None,
        importance_sampling_level="token",
        beta=beta,
        loss_type=algorithm,
        epsilon_low=0.2,
        epsilon_high=0.28,
        use_vllm=False,
        _entropy_bonus_enabled=False,
        current_gradient_accumulation_steps=1,
        max_completion_length=writing.MAX_NEW,
        _metrics={"train": defaultdict(list)},
    )
    mask_BO = batch["output_PGO"].flatten(0, 1)
    ids_BT, real_BT = batch["ids_PGT"].flatten(0, 1), batch["real_PGT"].flatten(0, 1)
    places = mask_BO.shape[1]
    inputs = {
        "prompt_ids": ids_BT[:, :-places],
        "prompt_mask": real_BT[:, :-places].int(),
        "completion_ids": ids_BT[:, -places:],
        "completion_mask": mask_BO.int(),
        "advantages": batch["advantage_PG"].flatten(),
        "old_per_token_logps": batch["logp_PGO"].flatten(0, 1),
        "ref_per_token_logps": other_PGO.flatten(0, 1),
        "num_items_in_batch": mask_BO.sum(),
    }
    expected = trl.GRPOTrainer._compute_loss(trainer, None, inputs)
    assert loss.item() == pytest.approx(expected.item(), abs=1e-6)
    loss.backward(), expected.backward()
    torch.testing.assert_close(ours_PGO.grad.flatten(0, 1), theirs_BO.grad, atol=1e-7, rtol=1e-5)
    assert ours_PGO.grad.abs().max() > 1e-4


def gradient(
    policy: TextModule, reference: dict[str, Tensor], parts: list[dict[str, Tensor]]
) -> tuple[dict[str, float], Tensor]:
    policy.network.zero_grad(set_to_none=True)
    sums: dict[str, float] = {}
    for part in parts:
        terms = terms_of(policy, reference, part)
        terms["loss"].backward()
        for name, value in terms.items():
            sums[name] = sums.get(name, 0.0) + float(value.detach())
    return sums, torch.cat([p.grad.flatten() for p in policy.network.parameters() if p.grad is not None])


@pytest.mark.parametrize("algorithm", ALGORITHMS)
@pytest.mark.parametrize("parts", [[[0], [1], [2]], [[2, 0], [1]], [[1, 2, 0]]])
def test_micro_batches_and_row_order_change_nothing(policy, reference, groups, parts, algorithm: str) -> None:
    batch = writing.as_batch(groups, algorithm=algorithm)
    whole, at_once = gradient(policy, reference, [batch])
    cut = [{name: column[part] for name, column in batch.items()} for part in parts]
    summed, in_parts = gradient(policy, reference, cut)
    assert summed == pytest.approx(whole, abs=1e-5)
    torch.testing.assert_close(in_parts, at_once, atol=1e-5, rtol=1e-3)
    assert at_once.abs().max() > 1e-2


def test_what_has_no_verdict_or_no_end_gives_no_gradient(policy, reference, groups) -> None:
    """Sample 2 of prompt 1 is nowhere in the batch: another text in its place changes no bit."""
    batch = writing.as_batch(groups)
    assert batch["output_PGO"].any(-1).tolist() == [[True] * 4, [True, True, False, True], [True] * 4]
    assert (
        int(batch[DECISIONS][0])
        == int(batch["output_PGO"].sum())
        == sum(len(output) for group in groups for output, ok in zip(group.outputs, group.ok_G, strict=True) if ok)
    )
    outputs = list(groups[1].outputs)
    outputs[2] = [7] * 50
    others = [groups[0], replace(groups[1], outputs=tuple(outputs)), groups[2]]
    assert all(torch.equal(batch[name], column) for name, column in writing.as_batch(others).items())


def test_a_step_along_the_gradient_favours_the_better_samples(llama_folder: Path, groups) -> None:
    policy = writing.module(llama_folder)
    batch = writing.as_batch(groups)
    settings = {**SETTINGS, "kl_coeff": 0.0}
    before = text_terms(policy.outputs(batch)[LOGP], batch, settings)["loss"]
    before.backward()
    with torch.no_grad():
        for parameter in policy.network.parameters():
            parameter.sub_(0.001 * parameter.grad)
        after = text_terms(policy.outputs(batch)[LOGP], batch, settings)["loss"]
    assert after.item() < before.item() - 1e-6


def test_without_a_reference_and_exact_entropy_the_loss_is_the_surrogate(policy, groups) -> None:
    batch = writing.as_batch(groups)
    logp = policy.outputs(batch)[LOGP].detach()
    terms = text_terms(logp, batch, SETTINGS)
    assert "kl_reference" not in terms
    assert float(terms["loss"]) == float(terms["surrogate"])
    assert float(terms["entropy"]) == pytest.approx(-float(logp[batch["output_PGO"]].mean()), rel=1e-5)
