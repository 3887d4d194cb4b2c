"""Where networks take half precision: only where the hardware multiplies it."""

from __future__ import annotations

import pytest

from STEnhanceLib import device

torch = pytest.importorskip("torch", reason="torch is not installed: no networks")


def test_builds_of_torch_without_onednn_keep_single_precision(monkeypatch):
    """As those for Apple's processors, where even the question is an error."""
    monkeypatch.setattr(torch.backends.mkldnn, "is_available", lambda: False)
    monkeypatch.setattr(torch.ops, "mkldnn", None)
    assert not device.half_precision_pays("cpu")
    monkeypatch.setenv(device.VARIABLE, "cpu")
    with device.half_precision():
        assert (torch.ones(1, 1) @ torch.ones(1, 1)).dtype == torch.float32


@pytest.mark.parametrize(("capability", "pays"), [((7, 5), False), ((8, 0), True), ((9, 0), True)])
def test_gpus_take_it_from_the_generation_that_has_it(capability, pays, monkeypatch):
    monkeypatch.setattr(torch.cuda, "get_device_capability", lambda _device: capability)
    assert device.half_precision_pays(torch.device("cuda")) is pays
