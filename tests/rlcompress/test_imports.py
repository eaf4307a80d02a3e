"""What is loaded, and when: importing and asking for help cost nothing, compressing costs torch and little else."""

from __future__ import annotations

import json
import subprocess
import sys
from pathlib import Path

import pytest

from rlcompress.__main__ import HANDLERS
from rlcompress.artifact import save_artifact
from rlcompress.config.embedding import EmbedderConfig
from rlcompress.config.policy import PolicyConfig
from rlcompress.models.embedder import build_embedder
from rlcompress.models.tokenizer import TextTokenizer
from rlcompress.questions.channels import QuestionChannels
from tests.rlcompress.small_models import TEXTS, small_scorer
from tests.rlcompress.test_artifact import manifest

# What compressing needs beside torch and what torch itself loads; some of it torch may load as well.
NEEDED = {"numpy", "pydantic", "pydantic_core", "annotated_types", "typing_extensions", "typing_inspection"}
NEEDED |= {"regex", "safetensors", "snowballstemmer", "tokenizers"}


def loaded(code: str, beside: str = "pass") -> set[str]:
    """Packages that `code` loads in a fresh process, `beside` those that other code loads; Python's own left out."""
    program = f"""
import json, sys
{beside}
before = set(sys.modules)
{code}
names = {{name.partition(".")[0] for name in set(sys.modules) - before}}
names = {{name for name in names if not name.startswith("_sysconfigdata")}}  # Python's own, named for the platform
print(json.dumps(sorted(names - sys.stdlib_module_names - {{"rlcompress"}})))
"""
    done = subprocess.run([sys.executable, "-W", "error", "-c", program], capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stderr
    return set(json.loads(done.stdout.splitlines()[-1]))


@pytest.fixture(params=["plain", "question"])
def folder(request: pytest.FixtureRequest, bpe: TextTokenizer, tmp_path: Path) -> Path:
    """An artifact with the built-in encoder, or of channels that hear the question through `builtin:lsa`."""
    if request.param == "plain":
        save_artifact(tmp_path / "artifact", manifest(), small_scorer(bpe).network, bpe)
        return tmp_path / "artifact"
    (tmp_path / "embedder").mkdir()
    embedder = build_embedder(EmbedderConfig(dimension=4), [*TEXTS, "Crowns were paid for the mill."])
    embedder.save(tmp_path / "embedder")
    scorer = small_scorer(bpe, told=QuestionChannels(embedder), encoder="none", channels="question")
    policy = PolicyConfig(encoder="none", channels="question", width=16, layers=1, window=24)
    save_artifact(tmp_path / "artifact", manifest(policy=policy), scorer.network, bpe, tmp_path / "embedder")
    return tmp_path / "artifact"


def test_importing_loads_nothing() -> None:
    assert loaded("import rlcompress") == set()
    assert "numpy" in loaded("import numpy"), "what is loaded is seen"


def test_help_loads_nothing() -> None:
    """Of the program and of each command: the parser alone answers."""
    asked = [[], *(name.split() for name in HANDLERS)]
    code = f"""
from rlcompress.__main__ import main
for words in {asked}:
    try:
        main([*words, "--help"])
    except SystemExit as done:
        assert done.code == 0
    else:
        raise AssertionError(words)
"""
    assert loaded(code) == set()


def test_compressing_loads_torch_and_little_else(folder: Path) -> None:
    """No scipy, transformers, datasets, pandas, matplotlib or YAML, nor the configuration of a whole run."""
    code = f"""
from rlcompress import Compressor
compressor = Compressor.from_pretrained({str(folder)!r}, device="cpu")
assert compressor.compress({TEXTS[0]!r}, 0.5, question="Who paid?").text
compressor.compress_messages([{{"role": "user", "content": {TEXTS[4]!r}}}], 0.5, min_tokens=1)
compressor.compress_json({{"text": {TEXTS[4]!r}}}, 0.5, min_tokens=1)
assert "rlcompress.config.schema" not in sys.modules
"""
    assert loaded(code, beside="import torch") <= NEEDED


def test_the_drop_in_loads_no_more(folder: Path) -> None:
    code = f"""
from rlcompress import PromptCompressor
assert PromptCompressor({str(folder)!r}, "cpu")({TEXTS[0]!r}, rate=0.5)["compressed_prompt"]
assert "rlcompress.config.schema" not in sys.modules
"""
    assert loaded(code, beside="import torch, yaml") <= NEEDED  # its `compress_json` reads settings in YAML
