"""Methods that reconstruct from the measured k-space: gridding, and temporal total variation."""

from __future__ import annotations

import dataclasses

import numpy as np
import pytest

from STEnhanceLib.acquisition.simulate import Simulation, simulate
from STEnhanceLib.errors import STEnhanceError
from STEnhanceLib.methods import find_method, run
from STEnhanceLib.methods.temporal_tv import LEAST_STEPS, TemporalTVParameters, reconstruct
from STEnhanceLib.sequence import ImageSequence

torch = pytest.importorskip("torch")
pytest.importorskip("torchkbnufft")
pytestmark = pytest.mark.usefixtures("one_thread")

from STEnhanceLib.acquisition.operators import slice_operators  # noqa: E402


@pytest.fixture(scope="module")
def heart() -> ImageSequence:
    """Eight frames of two slices of 48², a bright beating disc in a darker, still body."""
    j, i = np.mgrid[:48, :48] - 24.0
    body = 40 / (1 + np.exp((np.hypot(j / 1.1, i) - 18) / 0.7))
    frames = []
    for t in range(8):
        radius = 6 + 2 * np.cos(2 * np.pi * t / 8)
        disc = 60 / (1 + np.exp((np.hypot(j + 3, i - 5) - radius) / 0.7))
        frames.append([body + disc, body + 0.5 * disc])
    geometry = np.diag([1.5, 1.5, 8, 1])
    return ImageSequence(np.array(frames, np.float32), geometry, 70.0 * np.arange(8), periodic=True, name="heart")


@pytest.fixture(scope="module", params=["r13", "c8"])
def measured(request, heart) -> Simulation:
    return simulate(heart, request.param)


def reconstructed(key: str, measured: Simulation, parameters=None) -> np.ndarray:
    method = find_method(key)
    parameters = parameters or method.parameters()
    return run.enhance_all(method, measured.sequence, parameters, kspace=measured.kspace).frames


def psnr(images: np.ndarray, reference: ImageSequence) -> float:
    scale = np.percentile(reference.frames, 99.9)
    return float(-10 * np.log10(np.mean(((images - reference.frames) / scale) ** 2)))


@pytest.fixture(scope="module")
def by_temporal_tv(measured) -> np.ndarray:
    return reconstructed("temporal-tv", measured)


def test_gridding_is_what_the_simulated_user_holds(measured):
    found = reconstructed("gridding", measured)
    np.testing.assert_allclose(found, measured.sequence.frames, atol=1e-3 * found.max())


def test_gridding_invents_nothing_and_keeps_geometry_and_time(measured):
    method = find_method("gridding")
    started = run.enhance(method, measured.sequence, method.parameters(), kspace=measured.kspace)
    assert [frame.unsupported for frame in started.frames] == [0.0] * 8
    np.testing.assert_array_equal(started.grid.ijk_to_ras, measured.sequence.ijk_to_ras)
    np.testing.assert_array_equal(started.grid.times_ms, measured.sequence.times_ms)


def test_temporal_tv_beats_gridding_clearly(measured, by_temporal_tv, heart):
    assert psnr(by_temporal_tv, heart) > psnr(measured.sequence.frames, heart) + 3


def test_temporal_tv_keeps_the_intensity_scale(by_temporal_tv, heart):
    still = by_temporal_tv[:, :, 34:38, 20:28]  # body without heart
    assert still.mean() == pytest.approx(heart.frames[:, :, 34:38, 20:28].mean(), rel=0.03)


def test_temporal_tv_says_that_support_was_not_computed(measured):
    method = find_method("temporal-tv")
    started = run.enhance(method, measured.sequence, TemporalTVParameters(iterations=1), kspace=measured.kspace)
    assert all(np.isnan(frame.unsupported) for frame in started.frames)
    assert "was not computed" in started.notes[0]


def test_more_strength_means_less_change_over_time(measured):
    def motion(strength: float) -> float:
        frames = reconstructed("temporal-tv", measured, TemporalTVParameters(strength=strength, iterations=10))
        return float(np.abs(np.diff(frames, axis=0)).mean())

    assert motion(0.0) > motion(0.005) > motion(0.1)


def test_temporal_tv_stops_when_little_changes(measured):
    def steps(tolerance: float) -> int:
        operator, samples = next(slice_operators(measured.kspace, "cpu"))
        exact, count = operator.normal, 0

        def counted(images):
            nonlocal count
            count += 1
            return exact(images)

        operator.normal = counted
        reconstruct(operator, samples, TemporalTVParameters(tolerance=tolerance, iterations=30), periodic=True)
        return count

    assert LEAST_STEPS == steps(0.5) < steps(0.02) < steps(1e-5) == 30


def test_the_cycle_closes_only_where_the_sequence_is_periodic(measured):
    def step_at_the_end(periodic: bool) -> float:
        sequence = dataclasses.replace(measured.sequence, periodic=periodic)
        ramp = Simulation(sequence, measured.kspace, measured.kept)
        frames = reconstructed("temporal-tv", ramp, TemporalTVParameters(strength=0.05, iterations=10))
        return float(np.abs(frames[0] - frames[-1]).mean())

    assert step_at_the_end(periodic=True) < step_at_the_end(periodic=False)


@pytest.mark.parametrize("key", ["gridding", "temporal-tv"])
def test_the_measurement_of_another_scan_is_refused(heart, measured, key):
    method = find_method(key)
    moved = heart.ijk_to_ras.copy()
    moved[0, 3] += 5
    strangers = [
        (heart.with_frames(range(7)), "expected the same"),
        (dataclasses.replace(heart, frames=heart.frames[..., :24]), "expected the same"),
        (dataclasses.replace(heart, ijk_to_ras=moved), "in another place"),
    ]
    for sequence, needle in strangers:
        with pytest.raises(STEnhanceError, match=needle):
            run.enhance(method, sequence, method.parameters(), kspace=measured.kspace)
    with pytest.raises(STEnhanceError, match="needs a kspace"):
        run.enhance(method, heart, method.parameters(), kspace=None)
