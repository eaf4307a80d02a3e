import pytest
import torch

from rlcompress.errors import UserError
from rlcompress.machine import device


def test_auto_and_cpu_compute():
    assert device.fault("cpu") is None
    assert device.choose_device("cpu") == torch.device("cpu")
    chosen = device.choose_device("auto")
    assert float(torch.ones(3, device=chosen).sum()) == 3


@pytest.mark.parametrize("name", ["gpu", "cuda:x", "", "CPU", "cuda:"])
def test_unknown_names_are_refused(name):
    with pytest.raises(UserError, match="use auto, cpu, cuda, cuda:N or mps"):
        device.choose_device(name)


def test_absent_devices_are_refused():
    absent = f"cuda:{torch.cuda.device_count()}"
    with pytest.raises(UserError, match=f"device {absent} cannot be used: torch sees"):
        device.choose_device(absent)


def test_auto_passes_over_a_card_that_is_listed_but_broken(monkeypatch):
    ones = torch.ones

    def broken(*size, device=None):
        if str(device).startswith("cuda"):
            raise RuntimeError("CUDA error: no kernel image is available\nmore lines")
        return ones(*size, device=device)

    monkeypatch.setattr(torch.cuda, "is_available", lambda: True)
    monkeypatch.setattr(torch.cuda, "device_count", lambda: 1)
    monkeypatch.setattr(torch, "ones", broken)
    assert device.choose_device("auto").type != "cuda"
    with pytest.raises(UserError, match="no kernel image is available; set device=auto"):
        device.choose_device("cuda")


def test_auto_passes_over_a_device_that_computes_wrongly(monkeypatch):
    monkeypatch.setattr(torch.backends.mps, "is_available", lambda: True)
    monkeypatch.setattr(torch.cuda, "is_available", lambda: False)
    ones = torch.ones
    monkeypatch.setattr(torch, "ones", lambda *size, device: ones(*size) * (2 if device == "mps" else 1))
    assert device.choose_device("auto") == torch.device("cpu")
