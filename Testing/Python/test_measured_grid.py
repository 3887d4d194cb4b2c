"""Enhancing from what was measured: zero-fill and filter of a scanner undone, and data consistency with noise."""

from __future__ import annotations

from dataclasses import replace

import numpy as np
import pytest

torch = pytest.importorskip("torch", reason="torch is not installed: no networks")
pytest.importorskip("safetensors", reason="safetensors is not installed: no models")

from untrained import run  # noqa: E402

from STEnhanceLib import files  # noqa: E402
from STEnhanceLib.acquisition import acquired, centre_crop, windows  # noqa: E402
from STEnhanceLib.acquisition.simulate import simulate  # noqa: E402
from STEnhanceLib.errors import STEnhanceError  # noqa: E402
from STEnhanceLib.evaluation import metrics  # noqa: E402
from STEnhanceLib.evaluation.protocols import find_protocol, middle_slices  # noqa: E402
from STEnhanceLib.methods.consistency import AUTO, OFF, ON, Measurement  # noqa: E402
from STEnhanceLib.methods.measured_grid import inverse, is_filtered, on_measured_grid, unfiltered  # noqa: E402
from STEnhanceLib.phantoms.thorax import Thorax  # noqa: E402
from STEnhanceLib.sequence import ImageSequence  # noqa: E402

pytestmark = pytest.mark.usefixtures("one_thread")


@pytest.fixture(scope="module")
def thorax() -> ImageSequence:
    return Thorax(0).cine(frames=6, matrix=128, slices=1)


def shown_larger(sequence: ImageSequence, measured: tuple[int, int]) -> ImageSequence:
    """Signed images on the same grid of which only so much was measured."""
    frames = [centre_crop.zero_fill(centre_crop.crop(f, measured), f.shape[-2:]) for f in sequence.frames]
    return replace(sequence, frames=np.stack(frames))


def test_a_zero_fill_is_undone_exactly(thorax):
    shown = shown_larger(thorax, (80, 64))
    found = acquired.estimate(shown, "80x64")
    measured = on_measured_grid(shown, found)
    assert measured.grid.shape == (1, 80, 64)
    assert np.allclose(measured.frames, centre_crop.crop(thorax.frames, (80, 64)), atol=1e-4 * thorax.frames.max())
    assert np.allclose(measured.ijk_to_ras @ [64, 80, 0, 1], shown.ijk_to_ras @ [128, 128, 0, 1])


def test_a_filter_is_undone_where_it_left_a_tenth(thorax):
    small = centre_crop.crop(thorax.frames, (64, 64))
    window = windows.fermi((64, 64))
    shown = replace(thorax, frames=centre_crop.zero_fill(windows.filtered(small, window), (128, 128)))
    plain = acquired.estimate(shown, "64x64")
    along = window[0]  # a round filter is not separable, so only what lies on the axes can be compared
    found = replace(plain, window_j=along, window_i=along)
    assert is_filtered(found) and not is_filtered(plain)
    undone = np.fft.fft2(unfiltered(on_measured_grid(shown, found), found).frames)
    truth = np.fft.fft2(small)
    kept = along >= 0.1
    assert np.allclose(undone[..., 0, kept], truth[..., 0, kept], rtol=0, atol=1e-3 * np.abs(truth).max())
    assert (inverse(found.window())[0, ~kept] == 0).all()


def test_where_nothing_is_known_to_be_interpolated_the_images_are_seen_as_they_are(thorax):
    assert on_measured_grid(thorax, acquired.estimate(thorax, "shown")) is thorax


def test_a_matrix_that_cannot_have_been_measured_is_refused(thorax):
    with pytest.raises(STEnhanceError, match="expected rows × columns such as 128x128"):
        run(thorax, "stenhance-sr", acquired="300x200")


@pytest.mark.usefixtures("untrained")
@pytest.mark.parametrize("key", ["stenhance-sr", "edsr", "ddos-unet", "latent-diffusion-sr"])
def test_every_network_sees_what_was_measured_and_returns_what_was_asked_for(key, thorax):
    quick = {"samples": 1, "steps": 1} if key.startswith("latent") else {}
    shown = shown_larger(thorax, (64, 64)).with_frames([0])
    prior = thorax.with_frames([0])
    result = run(shown, key, prior, factor=1.5, acquired="64x64", **quick)
    assert result.grid.shape == (1, 192, 192)
    assert any("taken back to what was measured" in note for note in result.notes)
    small = replace(
        shown, frames=centre_crop.crop(shown.frames, (64, 64)), ijk_to_ras=shown.grid.resampled((1, 64, 64)).ijk_to_ras
    )
    same = run(small, key, prior, matrix="192x192", acquired="shown", **quick)
    assert np.abs(result.frames - same.frames).max() < 0.02 * thorax.frames.max()


@pytest.mark.usefixtures("untrained")
def test_factor_one_sharpens_an_interpolated_sequence_and_leaves_a_native_one(thorax):
    shown = shown_larger(thorax, (64, 64)).with_frames([0])
    sharpened = run(shown, "stenhance-sr", factor=1, acquired="64x64")
    assert sharpened.grid.shape == shown.grid.shape
    assert np.abs(sharpened.frames - shown.frames).max() > 1e-3 * shown.frames.max()
    assert sharpened.attributes["STEnhance.Model"].startswith("stenhance-sr ")
    native = run(shown, "stenhance-sr", factor=1, acquired="shown")
    assert np.allclose(native.frames, shown.frames, rtol=1e-6)


class TestConsistency:
    @pytest.fixture
    def truth(self, thorax):
        return torch.from_numpy(thorax.frames[:4] / np.float32(thorax.frames.max()))  # (4, 1, 128, 128)

    def measured(self, truth, noise=0.0, small=(64, 64)):
        images = torch.from_numpy(centre_crop.crop(truth.numpy(), small))
        return images + noise * torch.from_numpy(np.random.default_rng(0).standard_normal(images.shape)).float()

    def error(self, images, truth):
        return float((images - truth).square().mean().sqrt())

    def test_magnitudes_get_the_signs_that_the_estimate_knows(self, truth):
        """The estimate is the truth itself, so what is put back is the crop, which has its ringing below zero."""
        signed = self.measured(truth)
        assert (signed < -0.01).any()
        for shown in (signed.abs(), torch.from_numpy(np.abs(centre_crop.zero_fill(signed.numpy(), (96, 96))))):
            given = torch.from_numpy(centre_crop.crop(shown.numpy(), (64, 64)))
            measurement = Measurement(given, shown, None, 0.0)
            auto, supported = measurement.put_back(truth, AUTO)
            exact, _ = measurement.put_back(truth, ON)
            assert self.error(auto, truth) < 1e-5
            assert self.error(exact, truth) > 1e-3
            assert np.allclose(supported, centre_crop.zero_fill(signed.numpy(), (128, 128)), atol=1e-5)

    @pytest.mark.parametrize("noise", [0.005, 0.02, 0.05])
    def test_with_noise_auto_is_as_good_as_the_better_of_on_and_off(self, truth, noise):
        measured = self.measured(truth, noise)
        blurred = torch.from_numpy(
            centre_crop.zero_fill(
                windows.filtered(measured.numpy(), windows.hann((64, 64))).astype(np.float32), (128, 128)
            )
        )
        errors = {
            how: self.error(Measurement(measured, None, None, noise).put_back(blurred, how)[0], truth)
            for how in (AUTO, ON, OFF)
        }
        assert errors[AUTO] <= 1.01 * min(errors[ON], errors[OFF])

    def test_without_noise_auto_keeps_what_was_measured(self, truth):
        measured = self.measured(truth)
        fine, _ = Measurement(measured, None, None, 0.0).put_back(torch.zeros_like(truth), AUTO)
        assert np.allclose(centre_crop.crop(fine.numpy(), (64, 64)), measured, atol=1e-5)

    def test_frequencies_that_a_filter_took_are_left_to_the_estimate(self, truth):
        window = windows.fermi((64, 64))
        lowered = windows.filtered(self.measured(truth).numpy(), window)
        undone = windows.filtered(lowered, np.where(window >= 0.1, 1 / np.maximum(window, 0.1), 0)).astype(np.float32)
        measurement = Measurement(torch.from_numpy(undone), None, window, 0.0)
        assert self.error(measurement.put_back(truth, AUTO)[0], truth) < 1e-4
        assert self.error(measurement.put_back(truth, ON)[0], truth) > 1e-3


class TestOnRealCine:
    @pytest.fixture(scope="class")
    def good(self, stenhance_data):
        cine = files.read(stenhance_data / "cine" / "scd0000301_sax.nii.gz")
        return middle_slices(replace(cine, periodic=True), 1).with_frames(range(4))

    def scores(self, good, protocol: str) -> tuple[float, float]:
        """PSNR of STEnhance-SR and of zero-filling."""
        trial, scale = find_protocol(protocol).trial(good, periodic=False), metrics.intensity_scale(good)
        scores = (
            metrics.score(run(trial.degraded, key, **trial.settings), trial.reference, None, None, scale)
            for key in ("stenhance-sr", "zero-fill")
        )
        return tuple(float(score.whole.means()["psnr"]) for score in scores)

    def test_what_a_scanner_interpolated_comes_as_near_to_the_truth_as_what_it_measured(self, good):
        """The gain over zero-filling is smaller, since magnitudes that were interpolated first are nearer already."""
        (interpolated, filled), (native, filled_native) = (self.scores(good, key) for key in ("i4", "m4"))
        assert interpolated > native - 0.05
        assert interpolated - filled > 0.75 * (native - filled_native) > 1

    @pytest.mark.parametrize(("protocol", "least"), [("w4", 0.7), ("w4h", 2.5)])
    def test_filtered_and_noisy_scans_gain(self, good, protocol, least):
        ours, filled = self.scores(good, protocol)
        assert ours > filled + least

    def test_the_protocols_are_what_they_say(self, good):
        shapes = {key: simulate(good, key).sequence.grid.shape[1:] for key in ("m4", "i4", "i2", "i1", "w4", "w4h")}
        assert shapes == {"m4": (64, 64)} | dict.fromkeys(("i4", "i2", "w4", "w4h"), (128, 128)) | {"i1": (256, 256)}
        assert all(simulate(good, key).sequence.frames.min() >= 0 for key in shapes)

    @pytest.mark.parametrize("case", ["scd0000301_sax", "preclinical_sax"])
    def test_partial_fourier_is_not_taken_for_interpolation(self, case, stenhance_data):
        """The lines that were left out take half of the amplitude of a magnitude away, which looks like an edge."""
        cine = middle_slices(files.read(stenhance_data / "cine" / f"{case}.nii.gz"), 3).with_frames([0, 5, 10])
        small = centre_crop.crop(cine.frames, (64, 64))
        lines = np.fft.fftfreq(64)[:, None] <= 1 / 4
        frames = np.abs(np.fft.ifft2(np.fft.fft2(small) * lines)).astype(np.float32)
        grid = cine.grid.resampled((3, 64, 64))
        assert not acquired.estimate(ImageSequence.from_frames(frames, grid)).interpolated


@pytest.mark.usefixtures("untrained")
def test_a_filter_is_not_undone_where_pixels_stay_as_they_are(thorax, monkeypatch):
    """Thinner slices were asked for, nothing else."""
    stack = replace(thorax, frames=np.repeat(thorax.frames[:1], 4, axis=1), times_ms=[0])
    found = acquired.estimate(stack, "shown")
    lowered = replace(found, window_j=np.linspace(1, 0.5, 128), window_i=np.linspace(1, 0.5, 128))
    expected = run(stack, "stenhance-sr", factor=1, slice_factor=2)
    monkeypatch.setattr(acquired, "estimate", lambda *_: lowered)
    assert np.array_equal(run(stack, "stenhance-sr", factor=1, slice_factor=2).frames, expected.frames)
