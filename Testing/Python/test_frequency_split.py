"""Frequency-split denoising: noise goes, the low band stays to the last digit, clean images stay almost alone.

By the network that ships and by thresholds, which is all there is without torch.
"""

from __future__ import annotations

import subprocess
import sys
import textwrap
from dataclasses import replace

import numpy as np
import pytest
import scipy.fft
import SimpleITK

from STEnhanceLib.acquisition import centre_crop
from STEnhanceLib.acquisition.simulate import simulate
from STEnhanceLib.errors import STEnhanceError
from STEnhanceLib.methods import find_method, parse_parameters
from STEnhanceLib.methods.noise_spectrum import at_each_frequency, find_noise
from STEnhanceLib.methods.run import announcement, enhance, enhance_all
from STEnhanceLib.phantoms.thorax import Thorax
from STEnhanceLib.sequence import ImageSequence

try:
    import safetensors  # noqa: F401
    import torch  # noqa: F401
except ImportError:
    DENOISERS = ["classical"]
else:
    DENOISERS = ["classical", "network"]
    pytestmark = pytest.mark.usefixtures("one_thread")

by_each = pytest.mark.parametrize("denoiser", DENOISERS)


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


@by_each
@pytest.mark.parametrize(("percent", "gain"), [(3, 3.0), (5, 2.5)])
def test_noise_is_removed_from_a_real_cine(real_cine, percent, gain, denoiser):
    noisy = with_rician_noise(real_cine, percent)
    gained = psnr(denoise(noisy, denoiser=denoiser).frames, real_cine.frames) - psnr(noisy.frames, real_cine.frames)
    assert gained > gain


@by_each
def test_a_real_cine_without_added_noise_is_left_almost_alone(real_cine, denoiser):
    assert psnr(denoise(real_cine, denoiser=denoiser).frames, real_cine.frames) > 44


@by_each
@pytest.mark.parametrize("low_band", [0.1, 0.3])
def test_the_low_band_is_never_touched(real_cine, low_band, denoiser):
    noisy = with_rician_noise(real_cine, 5)
    before, after = (
        scipy.fft.dctn(frames.astype(np.float64), axes=(-2, -1), norm="ortho")
        for frames in (noisy.frames, denoise(noisy, low_band=low_band, strength=2, denoiser=denoiser).frames)
    )
    j, i = np.mgrid[:256, :256] / 256
    low = np.hypot(j, i) <= low_band
    assert np.abs(after - before)[..., low].max() < 1e-5 * np.abs(before).max()
    assert np.abs(after - before)[..., ~low].max() > 1e-3 * np.abs(before).max()


@pytest.mark.parametrize("percent", [1, 3, 5, 10])
def test_the_noise_level_is_estimated_within_an_eighth(real_cine, percent):
    """The images have noise and fine texture of their own, which add to the noise as squares do."""
    own, added = find_noise(real_cine.frames).of_pixels, percent / 100 * np.percentile(real_cine.frames, 99.9)
    found = find_noise(with_rician_noise(real_cine, percent).frames).of_pixels
    assert found == pytest.approx(np.hypot(own, added), rel=0.12)


def test_the_noise_level_is_found_although_most_of_the_image_is_air():
    """In air the noise of a magnitude image has two thirds of its level."""
    frames = np.zeros((1, 1, 128, 128), np.float32)
    frames[..., 90:, 70:] = 500  # 13 % of the image
    noisy = with_rician_noise(ImageSequence(frames, np.eye(4), [0]), 5)
    assert find_noise(noisy.frames).of_pixels == pytest.approx(0.05 * 500, rel=0.1)


@by_each
def test_more_strength_removes_more_and_none_removes_nothing(real_cine, denoiser):
    noisy = with_rician_noise(real_cine, 3).with_frames([0])
    removed = [
        np.abs(denoise(noisy, strength=s, denoiser=denoiser).frames - noisy.frames).mean() for s in (0, 0.5, 1, 2)
    ]
    assert removed[0] < 1e-5 * noisy.frames.mean()
    assert removed[0] < removed[1] < removed[2] < removed[3]


@by_each
def test_a_given_noise_level_is_used_instead_of_the_estimate(beating_disc, denoiser):
    method = find_method("frequency-split")
    estimated = enhance(method, beating_disc, parse_parameters(method, {"denoiser": denoiser}))
    assert any("estimated" in note for note in estimated.notes)
    given = enhance(method, beating_disc, parse_parameters(method, {"noise_level": "0", "denoiser": denoiser}))
    assert not any("estimated" in note for note in given.notes)
    assert np.allclose(next(given.frames).voxels, beating_disc.frames[0], atol=1e-3)


@by_each
def test_the_cycle_closes(beating_disc, denoiser):
    noisy = with_rician_noise(beating_disc, 4)
    closed, open_ended = (denoise(n, denoiser=denoiser) for n in (noisy, replace(noisy, periodic=False)))
    assert np.array_equal(closed.frames[2:-2], open_ended.frames[2:-2])
    assert not np.array_equal(closed.frames[[0, -1]], open_ended.frames[[0, -1]])


@by_each
def test_neighbours_in_time_help(denoiser):
    truth = Thorax(0).cine(frames=12, matrix=96, slices=1)
    noisy = with_rician_noise(truth, 4)
    alone = np.concatenate([denoise(noisy.with_frames([t]), denoiser=denoiser).frames for t in range(len(noisy))])
    assert psnr(denoise(noisy, denoiser=denoiser).frames, truth.frames) > psnr(alone, truth.frames) + 0.5


@by_each
def test_in_a_cycle_of_one_or_two_frames_none_counts_twice(beating_disc, denoiser):
    noisy = with_rician_noise(beating_disc, 4)
    for count in (1, 2):
        few = noisy.with_frames(range(count))
        closed, open_ended = (denoise(replace(few, periodic=p), denoiser=denoiser).frames for p in (True, False))
        assert np.array_equal(closed, open_ended)


def test_a_preview_gets_the_frames_that_its_result_depends_on(beating_disc):
    noisy = with_rician_noise(beating_disc, 4)
    few = noisy.with_frames(range(1, 1 + find_method("frequency-split").preview_frames))
    settings = {"denoiser": "classical", "noise_level": 4, "acquired": "shown"}
    whole, middle = (denoise(one, **settings).frames for one in (noisy, few))
    assert np.array_equal(middle[2], whole[3])


def test_nothing_is_claimed_about_the_measurement(beating_disc):
    method = find_method("frequency-split")
    enhancement = enhance(method, beating_disc, parse_parameters(method, {}))
    assert any("could not be checked against the measurement" in note for note in enhancement.notes)
    assert np.isnan(next(enhancement.frames).unsupported)


@by_each
@pytest.mark.parametrize("shape", [(1, 1, 8, 9), (2, 3, 33, 8)])
def test_odd_and_small_slices(shape, denoiser):
    sequence = ImageSequence(np.full(shape, 5, np.float32), np.eye(4), np.arange(shape[0]))
    assert np.allclose(denoise(sequence, denoiser=denoiser).frames, 5, atol=1e-4)


def test_the_network_is_taken_where_it_can_run_and_named_in_the_result(beating_disc):
    pytest.importorskip("safetensors")
    automatic, chosen = denoise(beating_disc), denoise(beating_disc, denoiser="network")
    assert np.array_equal(automatic.frames, chosen.frames)
    assert any("A network told noise from detail" in note for note in automatic.notes)
    assert automatic.attributes["STEnhance.Model"].startswith("frequency-split ")
    classical = denoise(beating_disc, denoiser="classical")
    assert "STEnhance.Model" not in classical.attributes
    assert any("Thresholds of cosine coefficients told noise from detail." in note for note in classical.notes)


def test_without_torch_thresholds_take_its_place_and_say_so():
    program = textwrap.dedent(
        """
        import sys
        sys.modules["torch"] = None  # importing it now fails as if it were absent
        import numpy as np
        from STEnhanceLib.errors import STEnhanceError
        from STEnhanceLib.methods import find_method, parse_parameters
        from STEnhanceLib.methods.run import enhance_all
        from STEnhanceLib.sequence import ImageSequence
        sequence = ImageSequence(np.ones((1, 1, 16, 16), np.float32), np.eye(4), [0])
        method = find_method("frequency-split")
        print(*enhance_all(method, sequence, method.parameters()).notes)
        try:
            enhance_all(method, sequence, parse_parameters(method, {"denoiser": "network"}))
        except STEnhanceError as error:
            print(error)
        """
    )
    ran = subprocess.run([sys.executable, "-c", program], check=True, capture_output=True, text=True, timeout=240)
    assert "Thresholds of cosine coefficients told noise from detail, because torch" in ran.stdout
    assert "The denoiser 'network' needs torch, not installed here" in ran.stdout


def test_slices_smaller_than_a_block_are_refused():
    with pytest.raises(STEnhanceError, match="Slices of 40×7 were given; expected at least 8×8"):
        denoise(ImageSequence(np.ones((1, 1, 7, 40), np.float32), np.eye(4), [0]))


@by_each
def test_noise_brighter_than_the_images_is_refused(beating_disc, denoiser):
    """A percentage where a part was meant, or the unit of another scan."""
    with pytest.raises(STEnhanceError, match="noise of 500 was given for images whose brightest tissue has 1"):
        denoise(beating_disc, noise_level=500, denoiser=denoiser)
    method = find_method("frequency-split")
    announcement(method, beating_disc.grid, parse_parameters(method, {"noise_level": 500}))  # without any voxels


# What a scanner makes of noise


@pytest.fixture(scope="module")
def one_slice(stenhance_data) -> ImageSequence:
    """Five frames of one slice, (5, 1, 256, 256)."""
    image = SimpleITK.ReadImage(str(stenhance_data / "cine" / "scd0000301_sax.nii.gz"))
    voxels = SimpleITK.GetArrayFromImage(image)[:5, 5:6].astype(np.float32)
    return ImageSequence(voxels, np.diag([1.2891, 1.2891, 8.0, 1.0]), 46.11 * np.arange(5))


def with_filtered_noise(sequence: ImageSequence, percent: float) -> ImageSequence:
    """Complex noise that a Hann window lowers, as it lowers the images, towards the edge of k-space; magnitude."""
    window = np.outer(*((1 + np.cos(2 * np.pi * np.fft.fftfreq(n))) / 2 for n in sequence.grid.shape[1:]))
    std = percent / 100 * np.percentile(sequence.frames, 99.9)
    real, imag = np.random.default_rng(0).normal(scale=std, size=(2, *sequence.frames.shape))
    noisy = np.abs(np.fft.ifft2(np.fft.fft2(sequence.frames + real + 1j * imag) * window))
    return replace(sequence, frames=noisy.astype(np.float32))


@by_each
def test_noise_that_was_interpolated_is_removed_where_it_was_measured(one_slice, denoiser):
    noisy = simulate(one_slice, "ni5").sequence
    before = psnr(noisy.frames, one_slice.frames)
    found = denoise(noisy, denoiser=denoiser)
    shown, said = (denoise(noisy, denoiser=denoiser, acquired=wanted) for wanted in ("shown", "160x160"))
    assert psnr(found.frames, one_slice.frames) > before + 3.0
    assert psnr(said.frames, one_slice.frames) > before + 3.0
    assert psnr(shown.frames, one_slice.frames) < psnr(found.frames, one_slice.frames) - 0.2
    assert any("Noise was removed on the grid of the measurement: shown as 256 × 256" in note for note in found.notes)
    assert not any("grid of the measurement" in note for note in shown.notes)


def test_a_measured_matrix_that_is_none_is_refused(beating_disc):
    with pytest.raises(STEnhanceError, match="99x99"):
        denoise(beating_disc, denoiser="classical", acquired="99x99")


@by_each
def test_noise_that_a_filter_coloured_is_removed_by_its_own_spectrum(one_slice, denoiser):
    """Taken for white, its level in fine detail counts for all, and 0.3 dB are gained."""
    noisy = with_filtered_noise(one_slice, 5)
    gained = psnr(denoise(noisy, denoiser=denoiser, acquired="shown").frames, one_slice.frames) - psnr(
        noisy.frames, one_slice.frames
    )
    assert gained > 0.8


def test_the_spectrum_of_noise_is_found(one_slice):
    noise = find_noise(with_filtered_noise(one_slice, 5).frames)
    assert not noise.is_white
    std = 0.05 * np.percentile(one_slice.frames, 99.9)
    along = (1 + np.cos(np.pi * np.arange(8) / 8)) / 2
    true, found = std * np.outer(along, along), noise.level * noise.shape
    middle = np.s_[2:6, 2:6]
    assert found[middle] == pytest.approx(true[middle], rel=0.25)
    assert noise.shape[7, 7] < 0.1
    whole = at_each_frequency(noise.shape, (256, 200))
    assert whole.shape == (256, 200)
    assert whole[::32, ::25] == pytest.approx(noise.shape)


def test_white_noise_is_known_as_such(one_slice, beating_disc):
    """Also where nearly all that is bright moves."""
    assert find_noise(with_rician_noise(one_slice, 5).frames).is_white
    assert find_noise(with_rician_noise(beating_disc, 5).frames).is_white


def test_a_given_level_keeps_the_spectrum(one_slice):
    noise = find_noise(with_filtered_noise(one_slice, 5).frames)
    assert noise.at_level(7.0).of_pixels == pytest.approx(7)
    assert noise.at_level(7.0).shape is noise.shape


def test_detail_stays_where_a_smaller_matrix_is_taken_for_the_measured_one(one_slice):
    """In tissue nothing of a magnitude image lies beyond what was measured, so what is there is detail."""
    cropped = centre_crop.zero_fill(centre_crop.crop(one_slice.frames, (128, 128)), (256, 256))
    result = denoise(one_slice, denoiser="classical", acquired="128x128")
    assert psnr(result.frames, one_slice.frames) > psnr(cropped, one_slice.frames) + 3


@by_each
@pytest.mark.parametrize("order", [0, 3])
def test_images_that_no_zero_fill_made_finer_do_not_become_worse(one_slice, order, denoiser):
    """By nearest neighbours or splines, or turned."""
    from scipy.ndimage import affine_transform, rotate

    small = simulate(one_slice, "n5").sequence.frames[:, 0, ::2, ::2]
    truth = one_slice.frames[:, :, ::2, ::2]
    finer = np.stack([affine_transform(frame, (0.5, 0.5), order=order, output_shape=(256, 256)) for frame in small])
    noisy = replace(one_slice, frames=finer[:, None])
    result = denoise(noisy, denoiser=denoiser).frames
    assert psnr(result[..., ::2, ::2], truth) > psnr(small[:, None], truth) - 0.01
    turned, reference = (rotate(f, 17, axes=(-2, -1), reshape=False, order=1) for f in (noisy.frames, one_slice.frames))
    result = denoise(replace(noisy, frames=turned), denoiser=denoiser).frames
    assert psnr(result, reference) > psnr(turned, reference) - 0.01
