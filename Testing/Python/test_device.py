"""Where networks take half precision: only where the hardware multiplies it."""

from __future__ import annotations

import numpy as np
import pytest
from untrained import run, sequence_of, smooth

from STEnhanceLib import device, models
from STEnhanceLib.methods.placement import ON_THE_CPU

torch = pytest.importorskip("torch", reason="torch is not installed: no networks")


def test_builds_of_torch_without_onednn_keep_single_precision(monkeypatch):
    """As those for Apple's processors, where even the question is an error."""
    monkeypatch.setattr(torch.backends.mkldnn, "is_available", lambda: False)
    monkeypatch.setattr(torch.ops, "mkldnn", None)
    assert not device.half_precision_pays("cpu")
    with device.half_precision("cpu"):
        assert (torch.ones(1, 1) @ torch.ones(1, 1)).dtype == torch.float32


@pytest.mark.parametrize(("capability", "pays"), [((7, 5), False), ((8, 0), True), ((9, 0), True)])
def test_gpus_take_it_from_the_generation_that_has_it(capability, pays, monkeypatch):
    monkeypatch.setattr(torch.cuda, "get_device_capability", lambda _device: capability)
    assert device.half_precision_pays(torch.device("cuda")) is pays


@pytest.mark.parametrize(("key", "settings"), [("learned-motion", {}), ("tssc-net", {"steps": 1, "samples": 1})])
def test_what_gives_way_to_the_cpu_takes_the_precision_of_the_cpu(key, settings, one_thread, untrained, monkeypatch):
    sequence, load = sequence_of(smooth(2, 1, 32, 32)), models.load
    monkeypatch.setenv(device.VARIABLE, "cpu")
    expected = run(sequence, key, **settings)

    def load_on_a_full_gpu(name, where):
        if where != "cpu":
            raise torch.OutOfMemoryError("CUDA out of memory.")
        return load(name, where)

    monkeypatch.setattr(device, "chosen", lambda: "cuda")
    monkeypatch.setattr(models, "load", load_on_a_full_gpu)
    found = run(sequence, key, **settings)

    assert ON_THE_CPU in found.notes
    assert np.array_equal(found.frames, expected.frames)
