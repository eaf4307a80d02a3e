"""Workers that share each batch learn what one would learn alone."""

from __future__ import annotations

from pathlib import Path

import pytest
import torch
from torch import distributed, multiprocessing

from rlcompress.config.generating import FineTuningConfig, LanguageConfig
from rlcompress.generation.finetuning import encoded, fine_tune
from rlcompress.generation.language import load_base
from rlcompress.generation.lora import learned_state
from rlcompress.generation.prompting import frame
from rlcompress.models.parallel import add_up_gradients, added_up, place, share
from tests.rlcompress.language_models import save_language

PROMPTS = ["Tom has 3 apples.", "He buys 4 more of them.", "How many?", "A cat.", "The old man paid.", "Words come."]
# batches of 5 and of 1 rows, so that a worker has more rows than the other and, once, none
CONFIG = FineTuningConfig(steps=4, batch=5, learning_rate=1e-2, validate_every=2, warmup=1)


def learn(folder: Path) -> tuple[list[float], list[tuple[int, float]], dict[str, torch.Tensor]]:
    language = load_base(LanguageConfig(model=str(folder)))
    pairs = encoded(language, [(frame("{text}\n", text), text[: 5 + 3 * n]) for n, text in enumerate(PROMPTS)])
    found = fine_tune(language, pairs, pairs[:3], CONFIG)
    return found.losses, found.validation, learned_state(language.model)


def work(number: int, workers: int, folder: str) -> None:
    torch.set_num_threads(1)
    distributed.init_process_group("gloo", init_method=f"file://{folder}/meeting", rank=number, world_size=workers)
    torch.save(learn(Path(folder) / "model"), Path(folder) / f"{number}.pt")
    distributed.destroy_process_group()


@pytest.mark.slow
def test_workers_that_share_learn_what_one_learns(tmp_path: Path) -> None:
    save_language(tmp_path / "model", "llama")
    alone = learn(tmp_path / "model")
    multiprocessing.spawn(work, (2, str(tmp_path)), nprocs=2)
    for number in range(2):
        losses, validation, weights = torch.load(tmp_path / f"{number}.pt", weights_only=True)
        assert losses == pytest.approx(alone[0], abs=1e-5)
        assert [loss for _, loss in validation] == pytest.approx([loss for _, loss in alone[1]], abs=1e-5)
        for name, value in alone[2].items():
            torch.testing.assert_close(weights[name], value, rtol=1e-4, atol=1e-5)


def test_nobody_shares_with_one_alone() -> None:
    parameter = torch.nn.Parameter(torch.ones(2))
    add_up_gradients([parameter])
    assert parameter.grad is None
    assert place() == (0, 1)
    assert share(torch.arange(3)).tolist() == [0, 1, 2]
    assert added_up(0.5, torch.device("cpu")) == 0.5
