import importlib.metadata

import pytest

from rlcompress import sandbox
from rlcompress.machine import doctor, hardware


def lines() -> dict[str, doctor.Finding]:
    return {finding.name: finding for finding in doctor.examine()}


def test_a_sound_installation_is_healthy():
    findings = doctor.examine()
    assert doctor.healthy(findings)
    assert lines()["torch"].value == importlib.metadata.version("torch")
    for finding, line in zip(findings, doctor.table(findings).splitlines(), strict=True):
        assert line.startswith(f"{finding.name} ")
        assert line.endswith(f" {finding.value}")


def without(monkeypatch: pytest.MonkeyPatch, *names: str) -> None:
    version = doctor.version
    monkeypatch.setattr(doctor, "version", lambda name: None if name in names else version(name))


def test_a_missing_library_is_an_error_that_says_the_mend(monkeypatch):
    without(monkeypatch, "safetensors")
    assert lines()["safetensors"] == doctor.Finding("safetensors", "MISSING", "pip install safetensors")
    assert not doctor.healthy(doctor.examine())


@pytest.mark.parametrize(("checkout", "level"), [(True, "MISSING"), (False, "note")])
def test_ray_is_needed_in_the_checkout_only(monkeypatch, checkout, level):
    without(monkeypatch, "ray")
    monkeypatch.setattr(doctor, "floor_present", lambda name: checkout)
    assert lines()["ray"].level == level
    assert doctor.healthy(doctor.examine()) is not checkout


def test_a_wheel_says_what_works(monkeypatch):
    monkeypatch.setattr(doctor, "floor_present", lambda name: False)
    assert "pip install -e ." in lines()["checkout"].value


def test_a_stranger_with_the_name_of_a_floor_does_not_count(tmp_path, monkeypatch):
    (tmp_path / "rlcompress_floor_probe").mkdir()
    (tmp_path / "rlcompress_floor_probe" / "__init__.py").touch()
    monkeypatch.syspath_prepend(tmp_path)
    assert not doctor.floor_present("rlcompress_floor_probe")
    assert not doctor.floor_present("no_such_module_at_all")
    assert doctor.floor_present("envs")


def test_auth_mode_never_shows_a_token(monkeypatch):
    monkeypatch.setenv("RAY_AUTH_MODE", "token")
    monkeypatch.setenv("RAY_AUTH_TOKEN", "canary-value")
    assert lines()["Ray auth mode"].value == "token, from RAY_AUTH_TOKEN"
    assert "canary-value" not in doctor.table(doctor.examine())


def test_hardware_figures_are_plausible(tmp_path):
    assert hardware.cores() >= 1
    assert 0 < hardware.resident_bytes() < hardware.memory_bytes()
    assert hardware.free_disk_bytes(tmp_path / "not" / "there") == pytest.approx(
        hardware.free_disk_bytes(tmp_path), rel=0.01
    )


def test_the_sandbox_is_the_strongest_that_holds(monkeypatch):
    def holding(*names: str) -> None:
        levels = ("bubblewrap", "landlock", "rlimits")
        held = tuple(sandbox.Held(level, level in names, "" if level in names else "not here") for level in levels)
        monkeypatch.setattr(sandbox, "probe", lambda: held)

    holding("bubblewrap", "landlock", "rlimits")
    assert lines()["sandbox"] == doctor.Finding("sandbox", "ok", "bubblewrap")
    holding("landlock", "rlimits")
    assert lines()["sandbox"] == doctor.Finding("sandbox", "ok", "landlock (bubblewrap: not here)")
    holding("rlimits")
    assert lines()["sandbox"].level == "note"
    assert "no code of a model is run" in lines()["sandbox"].value
    assert doctor.healthy(doctor.examine())
