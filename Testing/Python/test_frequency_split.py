"""Frequency-split denoising: noise goes, the low band stays to the last digit, clean images stay almost alone."""

from __future__ import annotations

from dataclasses import replace

import numpy as np
import pytest
import scipy.fft
import SimpleITK

from STEnhanceLib.errors import STEnhanceError
from STEnhanceLib.methods import find_method, parse_parameters
from STEnhanceLib.methods.frequency_split import noise_level
from STEnhanceLib.methods.run import enhance, enhance_all
from STEnhanceLib.sequence import ImageSequence


def denoise(sequence: ImageSequence, **settings) -> ImageSequence:
    method = find_method("frequency-split")
    return enhance_all(method, sequence, parse_parameters(method, settings))


def with_rician_noise(sequence: ImageSequence, percent: float) -> ImageSequence:
    std = percent / 100 * np.percentile(sequence.frames, 99.9)
    real, imag = np.random.default_rng(0).normal(scale=std, size=(2, *sequence.frames.shape))
    return replace(sequence, frames=np.hypot(sequence.frames + real, imag).astype(np.float32))


def psnr(result: np.ndarray, reference: np.ndarray) -> float:
    return float(-10 * np.log10(np.mean((result - reference) ** 2) / np.percentile(reference, 99.9) ** 2))


@pytest.fixture(scope="module")
def real_cine(stenhance_data) -> ImageSequence:
    image = SimpleITK.ReadImage(str(stenhance_data / "cine" / "scd0000301_sax.nii.gz"))
    voxels = SimpleITK.GetArrayFromImage(image)[:3, 5:7].astype(np.float32)
    return ImageSequence(voxels, np.diag([1.2891, 1.2891, 8.0, 1.0]), 46.11 * np.arange(3))


@pytest.mark.parametrize(("percent", "gain"), [(3, 3.0), (5, 2.5)])
def test_noise_is_removed_from_a_real_cine(real_cine, percent, gain):
    noisy = with_rician_noise(real_cine, percent)
    gained = psnr(denoise(noisy).frames, real_cine.frames) - psnr(noisy.frames, real_cine.frames)
    assert gained > gain


def test_a_real_cine_without_added_noise_is_left_almost_alone(real_cine):
    assert psnr(denoise(real_cine).frames, real_cine.frames) > 44


@pytest.mark.parametrize("low_band", [0.1, 0.3])
def test_the_low_band_is_never_touched(real_cine, low_band):
    noisy = with_rician_noise(real_cine, 5)
    before, after = (
        scipy.fft.dctn(frames.astype(np.float64), axes=(-2, -1), norm="ortho")
        for frames in (noisy.frames, denoise(noisy, low_band=low_band, strength=2).frames)
    )
    j, i = np.mgrid[:256, :256] / 256
    low = np.hypot(j, i) <= low_band
    assert np.abs(after - before)[..., low].max() < 1e-5 * np.abs(before).max()
    assert np.abs(after - before)[..., ~low].max() > 1e-3 * np.abs(before).max()


def test_the_noise_level_is_estimated_within_a_tenth(real_cine):
    scale = np.percentile(real_cine.frames, 99.9)
    for percent in (3, 5):
        assert noise_level(with_rician_noise(real_cine, percent).frames) == pytest.approx(
            percent / 100 * scale, rel=0.1
        )


def test_more_strength_removes_more_and_none_removes_nothing(real_cine):
    noisy = with_rician_noise(real_cine, 3).with_frames([0])
    removed = [np.abs(denoise(noisy, strength=s).frames - noisy.frames).mean() for s in (0, 0.5, 1, 2)]
    assert removed[0] < 1e-5 * noisy.frames.mean()
    assert removed[0] < removed[1] < removed[2] < removed[3]


def test_a_given_noise_level_is_used_instead_of_the_estimate(beating_disc):
    method = find_method("frequency-split")
    assert any("estimated" in note for note in enhance(method, beating_disc, parse_parameters(method, {})).notes)
    given = enhance(method, beating_disc, parse_parameters(method, {"noise_level": "0"}))
    assert not any("estimated" in note for note in given.notes)
    assert np.allclose(next(given.frames).voxels, beating_disc.frames[0], atol=1e-3)


def test_neighbours_in_time_help_and_the_cycle_closes(beating_disc):
    noisy = with_rician_noise(beating_disc, 4)
    closed, open_ended = denoise(noisy), denoise(replace(noisy, periodic=False))
    assert np.array_equal(closed.frames[1:-1], open_ended.frames[1:-1])
    assert not np.array_equal(closed.frames[[0, -1]], open_ended.frames[[0, -1]])
    alone = np.concatenate([denoise(noisy.with_frames([t])).frames for t in range(len(noisy))])
    assert psnr(closed.frames, beating_disc.frames) > psnr(alone, beating_disc.frames)


def test_nothing_is_claimed_about_the_measurement(beating_disc):
    method = find_method("frequency-split")
    enhancement = enhance(method, beating_disc, parse_parameters(method, {}))
    assert any("could not be checked against the measurement" in note for note in enhancement.notes)
    assert np.isnan(next(enhancement.frames).unsupported)


@pytest.mark.parametrize("shape", [(1, 1, 8, 9), (2, 3, 33, 8)])
def test_odd_and_small_slices(shape):
    sequence = ImageSequence(np.full(shape, 5, np.float32), np.eye(4), np.arange(shape[0]))
    assert np.allclose(denoise(sequence).frames, 5, atol=1e-4)


def test_slices_smaller_than_a_block_are_refused():
    with pytest.raises(STEnhanceError, match="Slices of 40×7 were given; expected at least 8×8"):
        denoise(ImageSequence(np.ones((1, 1, 7, 40), np.float32), np.eye(4), [0]))
