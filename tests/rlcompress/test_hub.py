"""Artifacts that travel: saved, uploaded to a hub on this machine, fetched again; and their model card."""

from __future__ import annotations

import json
import shutil
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
from huggingface_hub import HfApi, ModelCard

from rlcompress.artifact import read_manifest, save_artifact
from rlcompress.compressor import Compressor
from rlcompress.errors import UserError
from rlcompress.models.tokenizer import TextTokenizer
from rlcompress.recording.publish import why_torn
from tests.rlcompress.hub_server import Repositories, hub
from tests.rlcompress.small_models import TEXTS, save_bert, small_scorer
from tests.rlcompress.test_artifact import contents, manifest


def row(method: str, rate: float, metric: str, mean: float | None) -> dict[str, Any]:
    low, high = (None, None) if mean is None else (mean - 0.1, mean + 0.1)
    return {"method": method, "rate": rate, "metric": metric, "mean": mean, "ci_low": low, "ci_high": high} | {
        "achieved_rate": rate - 0.01
    }


RESULTS = {
    "schema": 1,
    "data": {"path": "/home/me/secret/held-out.jsonl", "sha256": "ab" * 32, "rows": 40},
    "judge": "builtin:convolution@1",
    "settings": {"reference": "rl", "level": 0.95, "metrics": ["distortion_bits", "achieved_rate", "answer_span"]},
    "results": [
        row(method, rate, metric, mean)
        for method, gain in (("rl", 0.0), ("random", 1.0), ("prior", 0.5))
        for rate, at in ((0.33, 4.0), (0.5, 2.0))
        for metric, mean in (("distortion_bits", at + gain), ("achieved_rate", rate), ("answer_span", None))
    ],
    "comparisons": [{"much": "more"}],
}


@pytest.fixture
def run(bpe: TextTokenizer, tmp_path: Path) -> Path:
    """A run directory with an artifact, a prior and an evaluation."""
    made = manifest(name="tiny", data={"source": "/home/me/secret/train.txt", "hash": "cd" * 8})
    for name in ("artifact", "prior"):
        save_artifact(tmp_path / "run" / name, made, small_scorer(bpe).network, bpe)
    (tmp_path / "run" / "evaluation").mkdir()
    (tmp_path / "run" / "evaluation" / "results.json").write_text(json.dumps(RESULTS))
    return tmp_path / "run"


@pytest.fixture
def server() -> Iterator[tuple[str, Repositories, list[str]]]:
    with hub() as found:
        yield found


def test_saved_and_loaded_again(run: Path, tmp_path: Path) -> None:
    """Equal bytes of weights and tokenizer, equal results, the folder whole; saved again it is the same."""
    compressor = Compressor.from_pretrained(run, device="cpu")
    compressor.save_pretrained(tmp_path / "saved", license="mit")
    assert why_torn(tmp_path / "saved") is None
    again = Compressor.from_pretrained(tmp_path / "saved", device="cpu")
    assert again.compress(TEXTS, 0.5) == compressor.compress(TEXTS, 0.5)
    for name in ("model.safetensors", "tokenizer/tokenizer.json"):
        assert (tmp_path / "saved" / name).read_bytes() == (run / "artifact" / name).read_bytes()
    again.save_pretrained(tmp_path / "twice", license="mit")
    once, twice = contents(tmp_path / "saved"), contents(tmp_path / "twice")
    assert {k: v for k, v in once.items() if k != "STABLE"} == {k: v for k, v in twice.items() if k != "STABLE"}
    assert not any(b"/home/me" in data for data in once.values()), "no path of this machine"
    assert read_manifest(tmp_path / "saved").data["source"] == "train.txt"
    assert not any(path.suffix in (".py", ".pkl", ".bin", ".pt") for path in (tmp_path / "saved").rglob("*"))


def test_nothing_is_overwritten_in_silence(run: Path, tmp_path: Path) -> None:
    compressor = Compressor.from_pretrained(run, device="cpu")
    mine = tmp_path / "mine"
    mine.mkdir()
    compressor.save_pretrained(mine)  # an empty folder is free
    with pytest.raises(UserError, match="exists: choose another folder or give overwrite=True"):
        compressor.save_pretrained(mine)
    compressor.save_pretrained(mine, license="mit", overwrite=True)
    assert "license: mit" in (mine / "README.md").read_text()
    (tmp_path / "other").mkdir()
    (tmp_path / "other" / "thesis.txt").write_text("years of work")
    for how in ({}, {"overwrite": True}):
        with pytest.raises(UserError, match="choose another folder"):
            compressor.save_pretrained(tmp_path / "other", **how)  # type: ignore[arg-type]
    assert (tmp_path / "other" / "thesis.txt").read_text() == "years of work"
    loaded = Compressor.from_pretrained(mine, device="cpu")
    loaded.save_pretrained(mine, overwrite=True)  # onto what it was loaded from
    assert Compressor.from_pretrained(mine, device="cpu").compress(TEXTS) == compressor.compress(TEXTS)


def test_one_that_was_never_in_a_folder(bpe: TextTokenizer, tmp_path: Path) -> None:
    one = Compressor(manifest(), small_scorer(bpe), bpe)
    one.save_pretrained(tmp_path / "saved")
    assert Compressor.from_pretrained(tmp_path / "saved", device="cpu").compress(TEXTS) == one.compress(TEXTS)
    assert "nothing is known of its quality" in (tmp_path / "saved" / "README.md").read_text()
    told = manifest(policy={"width": 16, "layers": 1, "window": 24, "channels": "question"})
    with pytest.raises(UserError, match="its embedder is not known"):
        Compressor(told, small_scorer(bpe), bpe).save_pretrained(tmp_path / "told")


def test_an_encoder_travels_too(bpe: TextTokenizer, tmp_path: Path) -> None:
    source = save_bert(tmp_path / "bert", masked=False)
    policy = {"encoder": str(source), "window": 24}
    one = Compressor(manifest(policy=policy), small_scorer(bpe, encoder=str(source)), bpe)
    expected = [result.text for result in one.compress(TEXTS)]
    one.save_pretrained(tmp_path / "saved")
    shutil.rmtree(source)
    loaded = Compressor.from_pretrained(tmp_path / "saved", device="cpu")
    assert [result.text for result in loaded.compress(TEXTS)] == expected
    assert loaded.manifest.policy.encoder == "bert"


def test_the_card_says_what_was_measured(run: Path, tmp_path: Path) -> None:
    Compressor.from_pretrained(run, device="cpu").save_pretrained(tmp_path / "saved", license="apache-2.0")
    card = ModelCard.load(tmp_path / "saved" / "README.md")
    assert (card.data.license, card.data.library_name) == ("apache-2.0", "rlcompress")
    found = {result.metric_name: result.metric_value for result in card.data.eval_results}
    assert found["distortion_bits at rate 0.5"] == 2.0
    assert {result.dataset_name for result in card.data.eval_results} == {"held-out.jsonl"}
    assert not any("answer_span" in name for name in found), "what was not measured has no figure"
    lines = card.text.splitlines()
    assert "| 0.5 | 0.490 | 2.000 [1.900, 2.100] |" in lines
    table = lines.index("| method | 0.5 | 0.33 |")
    assert lines[table + 2 : table + 5] == [
        "| rl | 2.000 | 4.000 |",
        "| random | 3.000 | 5.000 |",
        "| prior | 2.500 | 4.500 |",
    ]
    for told in (
        "seed | 0",
        "train.txt",
        "40 held-out texts",
        "hashes of the 2 rows",
        "apache-2.0",
        "a higher rate keeps",
    ):
        assert told in card.text


def test_the_card_of_a_prior_shows_the_prior(run: Path, tmp_path: Path) -> None:
    file = run / "evaluation" / "results.json"
    Compressor.from_pretrained(run / "prior", device="cpu").save_pretrained(tmp_path / "saved")
    text = (tmp_path / "saved" / "README.md").read_text()
    assert "| 0.5 | 0.490 | 2.500 [2.400, 2.600] |" in text
    assert "| random | 3.000 | 5.000 |" in text
    assert "Not stated by who saved this" in text
    file.write_text(json.dumps({**RESULTS, "results": [row("rl", 0.5, "achieved_rate", 0.5)]}))
    Compressor.from_pretrained(run / "prior", device="cpu").save_pretrained(tmp_path / "unmeasured")
    assert "nothing is known of its quality" in (tmp_path / "unmeasured" / "README.md").read_text()
    file.write_text("{}")
    with pytest.raises(UserError, match=r"results\.json is not what this version reads"):
        Compressor.from_pretrained(run, device="cpu").save_pretrained(tmp_path / "broken")


def test_several_passes_say_so(bpe: TextTokenizer, tmp_path: Path) -> None:
    one = Compressor(manifest(passes=3, nested=False), small_scorer(bpe, passes=3), bpe)
    one.save_pretrained(tmp_path / "saved")
    assert (
        "It works in 3 passes: keep-sets of different rates are not nested."
        in (tmp_path / "saved" / "README.md").read_text()
    )


def test_to_a_hub_and_back(
    run: Path, tmp_path: Path, server: tuple[str, Repositories, list[str]], monkeypatch: pytest.MonkeyPatch
) -> None:
    """Pushed, fetched when asked, and then served from the local cache without a request."""
    address, repositories, requests = server
    monkeypatch.setattr("huggingface_hub.constants.HF_HUB_CACHE", str(tmp_path / "cache"))
    api = HfApi(endpoint=address, token="hf_mine")
    compressor = Compressor.from_pretrained(run, device="cpu")
    assert compressor.push_to_hub("me/tiny", license="mit", api=api) == f"{address}/me/tiny"
    files = repositories["me/tiny"]
    assert files.keys() == {
        "README.md",
        "manifest.json",
        "model.safetensors",
        "results.json",
        "tokenizer/tokenizer.json",
    }
    assert 'from_pretrained("me/tiny", download=True)' in files["README.md"].decode()
    files["run_me.py"] = b"raise SystemExit"
    with pytest.raises(UserError, match="me/tiny is no folder here, and is not to be had in the hub's local cache"):
        Compressor.from_pretrained("me/tiny", device="cpu", api=api)
    fetched = Compressor.from_pretrained("me/tiny", device="cpu", download=True, api=api)
    assert fetched.compress(TEXTS, 0.5) == compressor.compress(TEXTS, 0.5)
    assert fetched.path is not None
    assert not list(fetched.path.rglob("*.py")), "no code is fetched"
    asked = len(requests)
    cached = Compressor.from_pretrained("me/tiny", device="cpu", api=api)
    assert cached.compress(TEXTS, 0.5) == compressor.compress(TEXTS, 0.5)
    assert len(requests) == asked
    cached.save_pretrained(tmp_path / "copy")
    assert "| 0.5 | 0.490 |" in (tmp_path / "copy" / "README.md").read_text(), "the results travel with it"


def test_mistakes(run: Path, server: tuple[str, Repositories, list[str]], tmp_path: Path) -> None:
    address, _, _ = server
    compressor = Compressor.from_pretrained(run, device="cpu")
    with pytest.raises(UserError, match="'tiny' is no hub id: write it as owner/name"):
        compressor.push_to_hub("tiny", api=HfApi(endpoint=address))
    gone = HfApi(endpoint="http://127.0.0.1:9")
    with pytest.raises(UserError, match="me/tiny cannot be written"):
        compressor.push_to_hub("me/tiny", api=gone)
    with pytest.raises(UserError, match=r"not to be had on the hub \(.*check the id and the network"):
        Compressor.from_pretrained("me/absent", download=True, api=HfApi(endpoint=address))
    with pytest.raises(UserError, match="not to be had on the hub"):
        Compressor.from_pretrained("me/absent", download=True, api=gone)
    with pytest.raises(UserError, match="no artifact in"):
        Compressor.from_pretrained(tmp_path / "absent")
    with pytest.raises(UserError, match="give a run, an artifact folder, or download=True"):
        Compressor.from_pretrained("runs/absent")
