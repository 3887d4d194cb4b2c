"""What all tests share: where the real data lie, and a small moving sequence."""

from __future__ import annotations

import dataclasses
import os
from pathlib import Path

import numpy as np
import pytest
from hypothesis import HealthCheck, settings

from STEnhanceLib.sequence import ImageSequence

pytest_plugins = ["host.fixtures", "comparing", "competing", "learned", "standing_still", "untrained"]

settings.register_profile(  # a failure of today is one of tomorrow, and none is the machine's
    "same every time", derandomize=True, deadline=None, suppress_health_check=[HealthCheck.too_slow]
)
settings.load_profile("same every time")


@pytest.fixture(scope="session")
def stenhance_data() -> Path:
    """The folder of real cine MRI, named by the environment variable STENHANCE_DATA."""
    folder = os.environ.get("STENHANCE_DATA")
    if not folder:
        pytest.skip("STENHANCE_DATA is not set: no real cine MRI to test on")
    return Path(folder)


@pytest.fixture
def oblique_matrix() -> np.ndarray:
    """A double-oblique IJK→RAS matrix with anisotropic voxels, as a short-axis stack has."""
    a, b = np.deg2rad(37.0), np.deg2rad(-21.0)
    turn = np.array([[np.cos(a), -np.sin(a), 0], [np.sin(a), np.cos(a), 0], [0, 0, 1]])
    tilt = np.array([[1, 0, 0], [0, np.cos(b), -np.sin(b)], [0, np.sin(b), np.cos(b)]])
    matrix = np.eye(4)
    matrix[:3, :3] = turn @ tilt @ np.diag([1.25, 1.5, 8.0])
    matrix[:3, 3] = (-81.5, 44.25, 12.125)
    return matrix


@pytest.fixture
def beating_disc(oblique_matrix) -> ImageSequence:
    """Eight frames of a bright disc whose radius follows a cosine over a full cycle: (8, 3, 40, 48), 50 ms apart."""
    j, i = np.mgrid[:40, :48]
    distance = np.hypot(j - 19.0, i - 25.0)
    radii = 10 + 3 * np.cos(2 * np.pi * np.arange(8) / 8)
    disc = 0.1 + 1 / (1 + np.exp((distance - radii[:, None, None]) / 0.8))
    slices = np.array([0.6, 1.0, 0.8])[None, :, None, None]
    frames = (100 * disc[:, None] * slices).astype(np.float32)
    return ImageSequence(frames, oblique_matrix, 50.0 * np.arange(8), periodic=True, name="beating disc")


@pytest.fixture
def mrml_scene(capfd):
    """A fresh MRML scene as Slicer opens it; what VTK observers complain about, and would swallow, fails the test."""
    pytest.importorskip("slicer", reason="slicer-core is not installed: no MRML scene to test on")
    from vtkmodules.vtkCommonCore import vtkOutputWindow, vtkStringOutputWindow

    from STEnhanceLib import headless

    messages, usual = vtkStringOutputWindow(), vtkOutputWindow.GetInstance()
    vtkOutputWindow.SetInstance(messages)
    yield headless.start()
    vtkOutputWindow.SetInstance(usual)
    # Slicer says this itself whenever it opens a scene with an oblique slice view.
    known = "invalid orientation preset name: Reformat"
    assert [text for text in messages.GetOutput().split("\n\n") if text.strip() and known not in text] == []
    assert "Traceback" not in capfd.readouterr().err


@pytest.fixture
def described(beating_disc) -> ImageSequence:
    """With everything that a header has to carry."""
    return dataclasses.replace(
        beating_disc,
        times_ms=12.5 + 100 / 3 * np.arange(8),
        name="four chambers, Ω",
        notes=("Assumed µ.", "Second: note := here"),
        attributes={"STEnhance.Method": "zero-fill", "free text": "line 1\nline 2 \\n with ü", "empty": ""},
    )


@pytest.fixture(scope="module")
def one_thread():
    """Transforms of the size that tests use are done before a second thread of torch has started."""
    import torch

    before = torch.get_num_threads()
    torch.set_num_threads(1)
    yield
    torch.set_num_threads(before)
