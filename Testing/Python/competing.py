"""A method of a size that can be counted by hand, for the tests of the benchmark, and the folder it competes on."""

from __future__ import annotations

import json
import os
import sys
import time
from dataclasses import dataclass, replace

import numpy as np
import pytest

from STEnhanceLib import files
from STEnhanceLib.acquisition import centre_crop
from STEnhanceLib.errors import STEnhanceError
from STEnhanceLib.methods import EnhancedFrame, Enhancement, Method, Need, Task, all_methods
from STEnhanceLib.methods.declaration import parameter

KERNELS, LOADING_S, FRAME_S = 6, 0.5, 0.01
_network = []


@dataclass(frozen=True)
class Counted:
    factor: float = parameter(2.0, "In-plane.", minimum=1.0, maximum=8.0)
    slice_factor: float = parameter(1.0, "Along slices.", minimum=1.0, maximum=4.0)
    least_frames: int = parameter(1, "Fewer are refused.", minimum=1)
    brightness: float = parameter(1.0, "Multiplies the result.")
    dies: bool = parameter(False, "As where memory has run out.")


def enhance(sequence, parameters, prior):
    """The prior where there is one, else the zero-filled frame; beside it, one convolution whose result is not used."""
    if len(sequence) < parameters.least_frames:
        raise STEnhanceError("Too few frames.")
    slices, *shape_ji = sequence.grid.shape
    finer_ji = [round(n * parameters.factor) for n in shape_ji]
    finer_k = round((slices - 1) * parameters.slice_factor) + 1
    whole = np.diag([1 / parameters.factor, 1 / parameters.factor, 1 / parameters.slice_factor, 1.0])
    grid = replace(sequence.grid, shape=(finer_k, *finer_ji), ijk_to_ras=sequence.ijk_to_ras @ whole)
    return Enhancement(grid, _frames(sequence, parameters, prior, grid.shape))


def _frames(sequence, parameters, prior, shape):
    import torch

    if parameters.dies:
        os.abort()
    if not _network:
        time.sleep(LOADING_S)  # as reading weights takes
        _network.append(torch.nn.Conv2d(1, KERNELS, 3, padding=1))
    for frame in sequence.frames:
        time.sleep(FRAME_S)
        with torch.inference_mode():
            _network[0](torch.from_numpy(np.array(frame[:, None])))
        finer = prior.frames[0] if prior is not None else centre_crop.zero_fill(frame, shape[1:])
        chosen = np.linspace(0, len(finer) - 1, shape[0]).round().astype(int)
        yield EnhancedFrame(parameters.brightness * finer[chosen], float("nan"))


COUNTED = Method(
    key="test-counted",
    title="Counted",
    task=Task.SUPER_RESOLUTION,
    summary="One convolution.",
    parameters=Counted,
    enhance=enhance,
    reference="none",
    uses=(Need.PRIOR,),
    requires=("torch",),
)


@pytest.fixture
def counted(monkeypatch):
    """The method above among those that a user can pick, with nothing loaded yet."""
    pytest.importorskip("torch")
    monkeypatch.setattr(sys.modules[__name__], "_network", [])
    monkeypatch.setitem(all_methods(), COUNTED.key, COUNTED)
    return COUNTED


@pytest.fixture
def disc_folder(tmp_path, beating_disc):
    """One case, `disc`: (8, 3, 40, 40) with a heart box."""
    disc = replace(beating_disc, frames=beating_disc.frames[..., 4:44].copy(), name="disc")
    files.write(disc, tmp_path / "disc.seq.nrrd")
    (tmp_path / "cine.json").write_text(json.dumps({"disc": {"heart_centre_xy": [21, 19], "end_systole_frame": 4}}))
    return tmp_path
