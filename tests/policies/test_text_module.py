"""The policy that writes, as a module: one probability for sampling and learning, and a state of what learns alone."""

from __future__ import annotations

import pickle
from collections.abc import Mapping
from pathlib import Path

import numpy as np
import pytest
import torch
from ray.rllib.utils.numpy import convert_to_numpy

from policies.text_module import ENTROPY, LOGP, TextModule
from rlcompress.config.generating import LanguageConfig, LoraConfig
from rlcompress.errors import UserError
from rlcompress.generation.language import load_base
from rlcompress.generation.lora import add_adapter, save_adapter
from tests.policies import writing
from tests.policies.conftest import same_weights
from tests.rlcompress.language_models import ARCHITECTURES, save_language


@pytest.fixture(scope="module", params=ARCHITECTURES)
def folders(request: pytest.FixtureRequest, tmp_path_factory: pytest.TempPathFactory) -> Mapping[str, Path]:
    """A whole model, and adapters on it that are not zero."""
    folder = tmp_path_factory.mktemp(request.param)
    whole = save_language(folder / "whole", request.param)
    adapted = add_adapter(load_base(LanguageConfig(model=str(whole))), LoraConfig(rank=2, alpha=8.0, dropout=0.3))
    with torch.no_grad():
        for parameter in adapted.model.parameters():
            if parameter.requires_grad:
                parameter.add_(0.05 * torch.randn(parameter.shape, generator=torch.Generator().manual_seed(0)))
    save_adapter(adapted, folder / "adapter")
    return {"whole": whole, "adapter": folder / "adapter"}


@pytest.mark.parametrize("kind", ["whole", "adapter"])
def test_the_learner_computes_what_was_sampled(folders: Mapping[str, Path], kind: str) -> None:
    """Other padding, other company, dropout in the configuration, RLlib's call of `train`: the ratio is 1."""
    sampling, learning = (writing.module(folders[kind], inference_only=only) for only in (True, False))
    groups = writing.written(sampling)
    for part in (groups, groups[1:], groups[2:]):
        batch = writing.as_batch(part)
        with torch.no_grad():
            logp_PGO = learning.forward_train(batch)[LOGP]
        ratio = (logp_PGO - batch["logp_PGO"])[batch["output_PGO"]].exp()
        torch.testing.assert_close(ratio, torch.ones_like(ratio), atol=1e-4, rtol=0)
        assert (logp_PGO[~batch["output_PGO"]] == 0).all()
    assert batch["tau_P"].tolist() == pytest.approx([0.8])


@pytest.mark.parametrize("kind", ["whole", "adapter"])
def test_what_learns_travels_and_nothing_else(folders: Mapping[str, Path], kind: str) -> None:
    one, other = writing.module(folders[kind]), writing.module(folders[kind], inference_only=True)
    learned = {name: p for name, p in one.network.named_parameters() if p.requires_grad}
    frozen = {name: p.clone() for name, p in other.network.named_parameters() if name not in learned}
    assert bool(frozen) == (kind == "adapter")
    with torch.no_grad():
        for parameter in learned.values():
            parameter.add_(0.1)
    state = pickle.loads(pickle.dumps(convert_to_numpy(one.get_state(inference_only=True))))
    assert state.keys() == learned.keys()
    assert all(isinstance(value, np.ndarray) and value.dtype == np.float32 for value in state.values())
    if kind == "adapter":
        assert all("lora_" in name for name in state)
    other.set_state(state)
    assert same_weights(other.get_state(), state)
    assert all(torch.equal(p, frozen[name]) for name, p in other.network.named_parameters() if name in frozen)
    with pytest.raises(ValueError, match="another model"):
        other.set_state({name + "x": value for name, value in state.items()})


def test_another_state_computes_and_leaves_the_weights_alone(folders: Mapping[str, Path]) -> None:
    """Tied weights (GPT-2, Qwen2) are replaced in both of their places."""
    policy, moved = writing.module(folders["whole"]), writing.module(folders["whole"])
    batch = writing.as_batch(writing.written(policy))
    before = policy.get_state()
    moved.set_state({name: 1.1 * value for name, value in before.items()})
    with torch.no_grad():
        own, expected = policy.outputs(batch)[LOGP], moved.outputs(batch)[LOGP]
        assert torch.equal(policy.outputs(batch, moved.learned())[LOGP], expected)
        assert torch.equal(policy.outputs(batch)[LOGP], own)
    assert same_weights(policy.get_state(), before)
    assert (own - expected).abs().max() > 0.1


def gradients(policy: TextModule, batch: Mapping[str, torch.Tensor]) -> dict[str, np.ndarray]:
    policy.network.zero_grad(set_to_none=True)
    policy.forward_train(dict(batch))[LOGP].sum().backward()
    return {name: p.grad.float().numpy() for name, p in policy.network.named_parameters() if p.grad is not None}


@pytest.mark.parametrize("kind", ["whole", "adapter"])
def test_recomputed_activations_change_nothing(
    folders: Mapping[str, Path], kind: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    plain, again = writing.module(folders[kind]), writing.module(folders[kind], gradient_checkpointing=True)
    batch = writing.as_batch(writing.written(plain))
    expected = gradients(plain, batch)
    layers = [layer for layer in again.network.modules() if getattr(layer, "gradient_checkpointing", False)]
    calls = []
    for layer in layers:
        if hasattr(layer, "_gradient_checkpointing_func"):
            sound = layer._gradient_checkpointing_func
            layer._gradient_checkpointing_func = lambda *a, sound=sound, **k: calls.append(1) or sound(*a, **k)
    assert same_weights(expected, gradients(again, batch), within=1e-5)
    assert len(calls) == 2, "two layers, each recomputed"
    assert not any(part.training for part in again.network.modules() if part not in layers)


def test_samplers_never_recompute(llama_folder: Path) -> None:
    policy = writing.module(llama_folder, inference_only=True, gradient_checkpointing=True)
    assert not any(part.training for part in policy.network.modules())


def test_bfloat16_parameters_travel_exactly(llama_folder: Path) -> None:
    one, other = (writing.module(llama_folder, language={"precision": "bfloat16"}) for _ in range(2))
    state = one.get_state()
    other.set_state({name: np.zeros_like(value) for name, value in state.items()})
    other.set_state(state)
    assert all(p.dtype == torch.bfloat16 for p in other.network.parameters())
    assert same_weights(other.get_state(), state)


def test_sampling_and_learning_share_the_precision(llama_folder: Path) -> None:
    half, whole = writing.module(llama_folder, precision="bfloat16"), writing.module(llama_folder)
    batch = writing.as_batch(writing.written(half))
    with torch.no_grad():
        near, far = (policy.outputs(batch)[LOGP] - batch["logp_PGO"] for policy in (half, whole))
    assert near.abs().max() < far.abs().max()
    assert all(p.dtype == torch.float32 for p in half.network.parameters())


def test_entropy_is_that_of_the_distribution_at_each_place(llama_folder: Path) -> None:
    policy = writing.module(llama_folder, entropy_coeff=0.1)
    groups = writing.written(policy, count=1, G=2)
    batch = writing.as_batch(groups)
    with torch.no_grad():
        entropy_GO = policy.outputs(batch)[ENTROPY][0]
        for g, output in enumerate(groups[0].outputs):
            logits = policy.network(input_ids=torch.tensor([groups[0].prompt + output])).logits[0]
            p_OV = (logits[len(groups[0].prompt) - 1 : -1].double() / 0.8).softmax(-1)
            torch.testing.assert_close(
                entropy_GO[g, : len(output)].double(), -(p_OV * p_OV.log()).sum(-1), atol=1e-5, rtol=1e-5
            )
            assert (entropy_GO[g, len(output) :] == 0).all()
    assert ENTROPY not in writing.module(llama_folder).outputs(batch)


def test_the_prompt_is_the_template_with_the_rate(llama_folder: Path) -> None:
    policy = writing.module(llama_folder)
    ids = policy.prompt_ids(["Tom has 80.", "Tom has 80."], [0.5, 0.7])
    assert [policy.language.decode(one).strip() for one in ids] == ["50 % of Tom has 80.", "70 % of Tom has 80."]


def test_a_nucleus_and_algorithms_without_groups_are_refused_by_key(llama_folder: Path) -> None:
    with pytest.raises(UserError, match=r"decoding\.top_p is 0\.9.*set it to 1"):
        writing.configured(llama_folder, decoding={"top_p": 0.9})
    for algorithm in ("reinforce", "ppo"):
        with pytest.raises(UserError, match=rf"learner\.algorithm '{algorithm}'.*grpo, dapo, dr_grpo, rloo"):
            writing.configured(llama_folder, algorithm=algorithm)
