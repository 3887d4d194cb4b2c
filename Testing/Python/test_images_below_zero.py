"""Images with values far below zero, as velocity, phase and real parts have them."""

from __future__ import annotations

from dataclasses import replace

import numpy as np
import pytest
from untrained import run

from STEnhanceLib.acquisition.simulate import simulate
from STEnhanceLib.methods import learned
from STEnhanceLib.sequence import ImageSequence

torch = pytest.importorskip("torch", reason="torch is not installed: no networks")
pytest.importorskip("safetensors", reason="safetensors is not installed: no models")
pytestmark = pytest.mark.usefixtures("one_thread")

ADDED = "far below zero"


def velocities() -> ImageSequence:
    """Vessels with flow in both directions, in cm/s, on tissue at rest."""
    j, i = np.mgrid[:96, :88].astype(np.float32)
    frames = np.zeros((2, 1, 96, 88), np.float32)
    random = np.random.default_rng(4)
    for direction in (1, -1) * 12:
        at_j, at_i, radius = random.uniform(8, 88), random.uniform(8, 80), random.uniform(2, 9)
        inside = np.clip(radius + 0.5 - np.hypot(j - at_j, i - at_i), 0, 1)
        frames[:, 0] = frames[:, 0] * (1 - inside) + direction * inside * np.float32([[[90]], [[60]]])
    return ImageSequence(frames, np.diag([-1.5, -1.5, 6.0, 1.0]), np.array([0.0, 30.0]))


def error(result: ImageSequence, truth: ImageSequence) -> float:
    return float(np.square(result.frames - truth.frames).mean())


@pytest.mark.parametrize("key", ["stenhance-sr", "edsr"])
@pytest.mark.parametrize("factor", [2, 4])
def test_networks_that_learnt_from_magnitudes_sharpen_velocities_too(key, factor):
    truth = velocities()
    low = simulate(truth, f"s{factor}").sequence
    result = run(low, key, factor=factor)
    assert error(result, truth) < 0.9 * error(run(low, "zero-fill", factor=factor), truth)
    assert sum(ADDED in note for note in result.notes) == 1


@pytest.mark.parametrize("key", ["stenhance-sr", "edsr"])
def test_both_directions_of_flow_keep_what_was_measured_and_come_back_in_their_unit(key):
    low = simulate(velocities(), "s2").sequence
    kept = run(low, key, data_consistency=True)
    assert np.abs(simulate(kept, "s2").sequence.frames - low.frames).max() < 1e-3
    averaged = run(low, key, sampling="block average", data_consistency=True)
    assert averaged.frames.min() < -50 and averaged.frames.max() > 50


@pytest.mark.parametrize("key, finer", [("latent-diffusion-sr", {"factor": 4}), ("latent-diffusion", {"enlarge": 2})])
def test_diffusion_draws_velocities_as_it_draws_magnitudes(key, finer):
    low = simulate(velocities(), "s4").sequence
    above_zero = replace(low, frames=low.frames + np.float32(learned.far_below_zero(low.frames)))
    result, same = (run(images, key, **finer, samples=1, steps=2) for images in (low, above_zero))
    assert np.allclose(result.frames - low.frames.min(), same.frames - above_zero.frames.min(), atol=0.01)
    assert sum(ADDED in note for note in result.notes) == 1


@pytest.mark.parametrize(("key", "times"), [("stenhance-sr", 0.95), ("ddos-unet", 1.6)])
def test_a_prior_is_seen_as_the_images_are(key, times):
    """DDoS-UNet, which starts from it, is 2.6 times as far off as zero-filling where nothing is lifted."""
    truth = velocities()
    low = simulate(truth, "s4").sequence
    prior = replace(truth, frames=np.abs(truth.frames)).with_frames([0])
    result = run(low, key, prior=prior, factor=4)
    assert error(result, truth) < times * error(run(low, "zero-fill", factor=4), truth)
    assert sum(ADDED in note for note in result.notes) == 1


def test_a_slice_that_the_prior_does_not_reach_is_as_it_is_without_one():
    one = velocities().with_frames([0])
    truth = replace(one, frames=np.repeat(one.frames, 11, axis=1))
    prior = replace(truth, frames=np.abs(truth.frames[:, :10]))
    low = simulate(truth, "s4").sequence
    without, result = run(low, "stenhance-sr", factor=4), run(low, "stenhance-sr", prior=prior, factor=4)
    assert np.abs(result.frames - without.frames)[:, 0].max() > 1
    assert np.array_equal(result.frames[:, 10], without.frames[:, 10])


def test_where_no_network_runs_none_is_said_to_have_seen_anything():
    result = run(velocities(), "stenhance-sr", factor=1)
    assert np.allclose(result.frames, velocities().frames, rtol=1e-6, atol=0)
    assert not any(ADDED in note for note in result.notes)


def test_what_rings_below_zero_is_seen_as_it_is():
    magnitudes = replace(velocities(), frames=np.abs(velocities().frames))
    low = simulate(magnitudes, "s4").sequence
    assert low.frames.min() < -5
    notes = []
    for frames in (low.frames, (1j * low.frames).astype(np.complex64), np.zeros_like(low.frames)):
        given = replace(low, frames=frames)
        seen, lift = learned.lifted(given, notes)
        assert seen is given and lift == 0 and not notes
