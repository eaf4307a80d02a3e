"""Mistakes as a user makes them: exit status 2, one `error:` line with the thing and its mend, nothing left behind."""

from __future__ import annotations

import io
import json
import logging
import os
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path

import pytest

from rlcompress import __main__ as cli
from rlcompress.artifact import save_artifact
from rlcompress.config.schema import DataConfig
from rlcompress.data.dataset import row_hash
from rlcompress.data.readers import read_rows
from rlcompress.models.tokenizer import TextTokenizer
from tests.rlcompress.small_models import TEXTS, small_scorer
from tests.rlcompress.test_artifact import manifest

ROOT = Path(__file__).resolve().parent.parent
PARAGRAPHS = [f"Paragraph {n} tells of {n} old ships that left the harbour in the year {1800 + n}." for n in range(40)]


@pytest.fixture(autouse=True)
def _own_folder(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)
    monkeypatch.delenv("RAY_ADDRESS", raising=False)


@pytest.fixture(autouse=True)
def _own_logging(monkeypatch: pytest.MonkeyPatch) -> Iterator[None]:
    """Each command sets up logging for its process; here the process goes on."""
    monkeypatch.setattr(logging.root, "handlers", [])
    levels = {name: logging.getLogger(name).level for name in (None, *cli.FLOORS)}
    yield
    for name, level in levels.items():
        logging.getLogger(name).setLevel(level)


@pytest.fixture
def rows() -> Path:
    """Enough paragraphs for three splits."""
    path = Path("rows.txt")
    path.write_text("\n".join(PARAGRAPHS) + "\n", encoding="utf-8")
    return path


@pytest.fixture
def artifact(bpe: TextTokenizer) -> Path:
    """A bare artifact that says it was trained on the first of `TEXTS`."""
    Path("row.jsonl").write_text(json.dumps({"text": TEXTS[0]}) + "\n", encoding="utf-8")
    trained = [row_hash(row) for row in read_rows("row.jsonl", DataConfig())]
    Path("row.jsonl").unlink()
    save_artifact(Path("artifact"), manifest(trained_rows=tuple(trained)), small_scorer(bpe).network, bpe)
    return Path("artifact")


@pytest.fixture
def refused(capsys: pytest.CaptureFixture[str]):
    """Runs a command that must be refused; gives what it said after `error: `."""

    def run(*words: str | Path, says: tuple[str, ...]) -> str:
        assert cli.main([str(word) for word in words]) == 2
        return one_error(capsys.readouterr().err, says)

    return run


def one_error(shown: str, says: tuple[str, ...]) -> str:
    """The one `error:` line on standard error; warnings of the log may stand before it, the plan's table below."""
    (error,) = [line for line in shown.splitlines() if line.startswith("error: ")]
    assert "Traceback" not in shown
    for part in says:
        assert part in error, f"{part!r} is not in {error!r}"
    assert not list(Path("runs").glob("*/config.yaml")), "a run directory was made"
    return error


def small(source: Path | str, *more: str) -> list[str]:
    return ["--set", f"data.source={source}", "data.min_tokens=4", "reader.vocabulary=400", *more]


def test_an_unknown_key_names_the_nearest(refused):
    refused("train", "--set", "learner.lrr=1e-3", says=("learner.lrr", "did you mean learner.lr?"))
    Path("c.yaml").write_text("judge: {gate: 0.2}")
    refused("train", "c.yaml", says=("c.yaml", "unknown key judge", "did you mean judges"))


@pytest.mark.parametrize(
    ("setting", "says"),
    [
        ("learner.lr=fast", ("learner.lr", "'fast'", "number")),
        ("learner.iterations=1.5", ("learner.iterations", "1.5", "integer")),
        ("judges.reward.precision=float16", ("judges: precision", "float16 needs a CUDA device", "bfloat16")),
        ("judges.reward.mask_ratio=[0.9,0.1]", ("judges: mask_ratio", "least dropped share first")),
        ("learner.iterations=0", ("learner.iterations", "0", "greater than or equal to 1")),
        ("evaluate.rates=[0.5,1.5]", ("evaluate.rates.1", "1.5", "less than or equal to 1")),
        ("learner.algorithm=sac", ("learner.algorithm", "'sac'", "grpo")),
        ("data.splits.train=0.9", ("data.splits must sum to 1", "change train")),
    ],
)
def test_a_wrong_value_is_named_with_what_is_expected(refused, setting, says):
    refused("train", "--set", setting, says=("--set", *says))


def test_a_missing_configuration(refused):
    refused("train", "nowhere.yaml", says=("nowhere.yaml", "No such file"))


def test_missing_and_empty_data(refused):
    refused("train", *small("nowhere.txt"), says=("data.source", "nowhere.txt"))
    Path("empty.txt").touch()
    refused("train", *small("empty.txt"), says=("empty.txt", "holds no text", "data.source"))
    Path("blank.jsonl").write_text("\n\n")
    refused("data", *small("blank.jsonl"), says=("blank.jsonl", "data.source"))


def test_texts_shorter_than_the_least_length(refused, rows):
    words = small(rows, "data.min_tokens=60")
    refused("train", *words, says=("data.min_tokens",))


def give(monkeypatch: pytest.MonkeyPatch, text: str) -> None:
    monkeypatch.setattr(sys, "stdin", io.TextIOWrapper(io.BytesIO(text.encode("utf-8"))))


def test_an_empty_text_and_one_below_the_budget(refused, artifact, monkeypatch):
    give(monkeypatch, " \n")
    refused("compress", artifact, says=("standard input holds no text", "compress TARGET < prompt.txt"))
    give(monkeypatch, "Two words.")
    refused("compress", artifact, "--target-tokens", "500", says=("--target-tokens", "smaller budget"))


@pytest.mark.parametrize(
    ("options", "says"),
    [
        (("--rate", "0"), ("rate must be above 0",)),
        (("--rate", "1.2"), ("rate must be above 0 and at most 1",)),
        (("--target-tokens", "0"), ("target_tokens must be at least 1",)),
        (("--protect", "(unclosed"), ("(unclosed",)),
    ],
)
def test_budgets_and_patterns_that_cannot_be(refused, artifact, monkeypatch, options, says):
    give(monkeypatch, TEXTS[0])
    refused("compress", artifact, *options, says=says)


@pytest.mark.parametrize("key", ["policy.encoder", "judges.reward.model", "judges.heldout.model"])
def test_a_missing_model_folder(refused, rows, key):
    refused("train", *small(rows, f"{key}=./no/model"), says=(key, "./no/model", "give a model folder"))


def test_a_missing_artifact_or_run(refused):
    for words in (["evaluate", "no/run"], ["serve", "no/run"], ["speed", "no/run"], ["compress", "./no/run"]):
        refused(*words, says=("no artifact in no/run", "give a run"))
    refused("compress", "no/run", says=("no/run is no folder here", "hub's local cache", "give a run", "--download"))
    refused("status", "no/run", says=("no run in no/run",))
    refused("report", "no/run", says=("no/run",))
    refused("train", "--resume", "no/run", says=("no run in no/run",))


def test_an_absent_device(refused, rows):
    import torch

    if torch.cuda.is_available():
        pytest.skip("this machine has a CUDA device")
    refused("train", *small(rows, "device=cuda"), says=("device cuda", "0 CUDA devices", "device=cpu"))


def test_more_processes_than_the_machine_holds(refused, rows):
    words = small(rows, "resources.env_runners=100", "resources.cpus_per_env_runner=4")
    refused("train", *words, says=("needs 401.5 CPUs", "the cluster has", "lower resources.env_runners"))
    assert not Path("runs").exists(), "refused before anything was made"


def test_a_ray_address_where_nobody_answers(rows):
    """In a process of its own: here Ray may be running for other tests."""
    words = small(rows, "resources.address=127.0.0.1:9")
    done = subprocess.run(
        [sys.executable, "-m", "rlcompress", "train", *words],
        env=os.environ | {"PYTHONPATH": str(ROOT)},
        capture_output=True,
        text=True,
        check=False,
    )
    assert done.returncode == 2
    one_error(done.stderr, ("resources.address", "127.0.0.1:9", "ray start --head"))


def test_an_artifact_alone_needs_a_judge(refused, artifact):
    refused("evaluate", artifact, "--data", "x.jsonl", says=("artifact alone", "--judge MODEL"))


def test_rows_that_were_trained_on_are_refused(refused, artifact):
    lines = [json.dumps({"text": text}) for text in (TEXTS[1], TEXTS[0])]
    Path("held.jsonl").write_text("\n".join(lines) + "\n", encoding="utf-8")
    words = ["evaluate", artifact, "--data", "held.jsonl", "--judge", "./no/judge"]
    refused(*words, says=("1 of 2 rows were trained on", "--skip-trained"))
    refused(*words, "--skip-trained", says=("./no/judge",))
    assert not list(artifact.glob("evaluation*")), "results were left behind"


def test_a_run_is_not_overwritten_in_silence(refused, rows):
    Path("runs/kept").mkdir(parents=True)
    Path("runs/kept/mine.txt").write_text("mine")
    refused("train", *small(rows, "name=kept"), says=("runs/kept is not empty", "name="))
    refused("train", *small(rows, "name=kept"), "--overwrite", says=("runs/kept holds no run", "left alone"))
    assert Path("runs/kept/mine.txt").read_text() == "mine"


def test_submitting_to_nobody(refused):
    refused("submit", says=("is not the checkout", "cd there"))
    Path("rlcompress").mkdir()
    Path("rlcompress/__main__.py").touch()  # what makes a folder look like the checkout
    refused("submit", "--address", "http://127.0.0.1:9", says=("127.0.0.1:9", "ray start --head"))


def test_a_search_without_a_space(refused):
    refused("tune", says=("tune.space",))


def test_a_port_that_is_no_port(refused, artifact):
    refused("serve", artifact, "--set", "serve.port=70000", says=("serve.port", "70000"))
    refused("serve", artifact, "--port", "70000", says=("serve.port", "70000"))


@pytest.mark.parametrize(
    ("setting", "says"),
    [
        ("evaluate.methods=[random,rares]", ("evaluate.methods", "'rares'", "did you mean 'rare'?")),
        ("judges.heldout.model=builtin:gru", ("judges.heldout.model", "builtin:gru", "builtin:convolution")),
        ("policy.encoder=builtin:score", ("policy.encoder", "builtin:score", "use builtin:scorer")),
        ("reward.terms.distorsion=1.0", ("reward.terms", "distorsion", "did you mean distortion?")),
        ("reward.terms.answer_kept=0.5", ("reward.terms.answer_kept", "needs an answer")),
        ("env.protect=['(unclosed']", ("(unclosed",)),
        ("evaluate.metrics=[token_acuracy]", ("evaluate.metrics", "'token_acuracy'", "did you mean token_accuracy?")),
        ("evaluate.metrics=[distortion_bits_adapted]", ("evaluate.metrics", "set evaluate.adapt_steps above 0")),
        ("evaluate.metrics=[reader_f1]", ("evaluate.metrics lists reader_f1", "set evaluate.reader")),
        ("evaluate.metrics=[answer_span]", ("evaluate.metrics lists answer_span", "no row has an answer")),
        (
            "judges.heldout.model=none evaluate.metrics=[rougeL]",
            ("evaluate.metrics lists rougeL", "judges.heldout.model"),
        ),
        ("judges.heldout.model=none evaluate.metrics=[perplexity]", ("lists perplexity", "name a judge")),
        ("evaluate.reader=./no/reader", ("evaluate.reader", "./no/reader", "builtin:")),
        ("evaluate.reader=builtin:causal", ("evaluate.reader", "builtin:causal", "use builtin:overlap")),
    ],
)
def test_names_that_are_used_late_are_refused_early(refused, rows, setting, says):
    refused("train", *small(rows, *setting.split()), says=says)


def test_options_of_an_evaluation(refused, artifact, rows):
    words = ["evaluate", artifact, "--data", rows, "--judge", "./no/judge"]
    refused(*words, "--rates", "1.5", says=("--rates", "1.5", "less than or equal to 1"))
    refused(*words, "--seeds", "0", says=("--seeds", "0", "greater than or equal to 1"))
    refused(*words, "--metrics", "reader_f2", says=("--metrics", "'reader_f2'", "did you mean reader_f1?"))
    refused("baselines", "--methods", "rares", *small(rows), says=("--methods", "did you mean 'rare'?"))
    refused("baselines", "--metrics", "reader_f1", *small(rows), says=("lists reader_f1", "--reader MODEL"))
    refused("baselines", "--reader", "./no/reader", *small(rows), says=("evaluate.reader", "./no/reader"))


@pytest.mark.parametrize(
    ("tests", "options", "says"),
    [
        (None, (), ("--tests T.json", "No such file", "name a file")),
        ("{", (), ("--tests T.json", "broken JSON", "assert lines")),
        ("[]", (), ("--tests T.json", "expected a list of assert lines")),
        ('{"a": 1}', (), ("expected a list of assert lines",)),
        ('["f(1) == 2"]', (), ("f(1) == 2",)),
        ('["assert f(1) =="]', (), ("assert f(1) ==",)),
        ('["assert f(1)"]', ("--program", "no.py"), ("--program no.py", "No such file")),
        ('["assert f(1)"]', ("--setup", "no.py"), ("--setup no.py", "No such file")),
        ('["assert f(1)"]', ("--timeout", "0"), ("--timeout 0", "above 0")),
        ('["assert f(1)"]', ("--level", "docker"), ("'docker'", "bubblewrap, landlock")),
        ('["assert f(1)"]', ("--minimum", "none"), ("'none'", "bubblewrap, landlock")),
        ('["assert f(1)"]', ("--level", "rlimits"), ("below the minimum 'landlock'", "lower the minimum")),
    ],
)
def test_programs_and_tests_that_cannot_be_judged(refused, tests, options, says):
    Path("P.py").write_text("def f(x):\n    return x\n", encoding="utf-8")
    if tests is not None:
        Path("T.json").write_text(tests, encoding="utf-8")
    refused("judge-code", "--program", "P.py", "--tests", "T.json", *options, says=says)


def test_words_that_the_parser_does_not_know(capsys):
    for words in (["trian"], ["train", "--no-such"], ["compress"]):
        with pytest.raises(SystemExit) as done:
            cli.main(words)
        assert done.value.code == 2
        assert "rlcompress" in capsys.readouterr().err
