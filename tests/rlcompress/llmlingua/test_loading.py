"""The constructor of the drop-in: what it refuses, which folders it takes, precision, and what it does without."""

from __future__ import annotations

import subprocess
import sys
from pathlib import Path
from typing import Any

import pytest

from rlcompress.errors import UserError
from rlcompress.llmlingua import PromptCompressor
from tests.rlcompress.llmlingua.checkpoints import LONG, PROSE, READER, load, save_bert_classifier
from tests.rlcompress.small_models import save_bert


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        ({"open_api_config": {"api_key": "x"}}, "open_api_config is refused"),
        ({"use_slingua": True}, "use_slingua is refused"),
        ({"model_config": {"trust_remote_code": True}}, "trust_remote_code is refused"),
        ({"model_config": {"revision": "x"}}, "model_config.revision is not honoured"),
        ({"model_config": {"torch_dtype": "many"}}, "torch_dtype is 'many'"),
        ({"llmlingua2_config": {"seed": 1}}, "llmlingua2_config.seed is not honoured"),
        ({"device_map": "abacus"}, "use auto, cpu, cuda"),
        ({"compat": "nearly"}, "use fixed or exact"),
        ({"compat": "exact"}, "needs an LLMLingua-2 checkpoint"),
        ({"model_name": "microsoft/llmlingua-2-xlm-roberta-large-meetingbank"}, "nothing is downloaded"),
    ],
)
def test_what_the_constructor_refuses(models: dict[str, Path], arguments: dict[str, Any], message: str) -> None:
    with pytest.raises(UserError, match=message):
        PromptCompressor(**{"model_name": models["policy"], "device_map": "cpu", **arguments})


def test_folders_that_hold_something_else(models: dict[str, Path], tmp_path: Path) -> None:
    with pytest.raises(UserError, match="3 labels"):
        PromptCompressor(save_bert_classifier(tmp_path / "three", labels=3), "cpu")
    with pytest.raises(UserError, match="no local folder with"):
        PromptCompressor(save_bert(tmp_path / "masked"), "cpu")
    with pytest.raises(UserError, match="use_llmlingua2"):
        PromptCompressor(models["causal"], "cpu", use_llmlingua2=True)


def test_half_precision_and_small_batches(models: dict[str, Path]) -> None:
    half = PromptCompressor(
        models["bert"], "cpu", {"torch_dtype": "bfloat16", "pad_to_left": False, "trust_remote_code": False}
    )
    assert next(half._scoring.model.parameters()).element_size() == 2  # type: ignore[attr-defined]
    assert half(LONG, rate=0.3)["compressed_prompt"]
    small = PromptCompressor(models["bert"], "auto", reader=READER, llmlingua2_config={"max_batch_size": 1})
    assert small(LONG, rate=0.3) == load("bert", models)(LONG, rate=0.3)


def test_without_ray_and_without_the_original(models: dict[str, Path]) -> None:
    code = f"""
import sys
for name in ("ray", "gymnasium", "llmlingua", "tiktoken", "nltk"):
    sys.modules[name] = None
from rlcompress import PromptCompressor
one = PromptCompressor({str(models["policy"])!r}, "cpu")
assert "transformers" not in sys.modules
print(one({PROSE[0]!r}, rate=0.5)["rate"])
"""
    done = subprocess.run([sys.executable, "-W", "error", "-c", code], capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stderr
    assert done.stdout.endswith("%\n")
