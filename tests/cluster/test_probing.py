"""Who is asked beside the judge: loaded where a listed metric needs them, and the original beside all others."""

from __future__ import annotations

from pathlib import Path

from cluster.probing import probes, sources, with_original
from rlcompress.config.files import load_config


def test_nobody_is_loaded_for_nothing(tmp_path: Path) -> None:
    missing = "evaluate.reader=no/such/folder"
    assert probes(load_config(None, [missing]), None) == []
    assert probes(load_config(None, [missing, "evaluate.metrics=[distortion_bits]"]), None) == []
    assert probes(load_config(None, ["evaluate.metrics=[reader_f1]"]), None) == [], "there is none: refused by its name"


def test_a_reader_is_loaded_by_name() -> None:
    asked = ["evaluate.metrics=[reader_f1,answer_span]", "evaluate.reader=builtin:overlap"]
    [probe] = probes(load_config(None, asked), None)
    assert (probe.source, probe.version) == ("reader", "overlap-1")


def test_the_original_is_measured_where_a_reader_is_asked() -> None:
    assert with_original(["random"], ["reader_f1"]) == ["random", "identity"]
    assert with_original(["identity", "random"], ["reader_f1"]) == ["identity", "random"]
    assert with_original(["random"], ["answer_span"]) == with_original(["random"], None) == ["random"]
    assert sources(["reader_f1", "achieved_rate", "bits"][:2]) == {"reader"}
