"""The k-space centre crop, and the two super-resolution methods that need no training."""

from __future__ import annotations

from dataclasses import replace

import numpy as np
import pytest
import SimpleITK
from scipy import ndimage

from STEnhanceLib.acquisition import centre_crop
from STEnhanceLib.acquisition.simulate import simulate
from STEnhanceLib.errors import STEnhanceError
from STEnhanceLib.methods import find_method, parse_parameters
from STEnhanceLib.methods.run import enhance, enhance_all
from STEnhanceLib.sequence import ImageSequence

# (large matrix, small matrix): even and odd, whole and broken ratios, not square, one axis only, a single sample
MATRICES = [
    ((16, 20), (8, 10)), ((16, 20), (4, 7)), ((15, 21), (5, 7)), ((15, 21), (6, 8)), ((17, 12), (16, 12)),
    ((9, 9), (8, 8)), ((8, 10), (1, 2)), ((13, 1), (4, 1)),
]  # fmt: skip


def run(sequence: ImageSequence, key: str, **settings) -> ImageSequence:
    method = find_method(key)
    return enhance_all(method, sequence, parse_parameters(method, settings))


def random_images(shape, complex_valued: bool, seed: int) -> np.ndarray:
    real, imag = np.random.default_rng(seed).normal(size=(2, 3, *shape)).astype(np.float32)
    return (real + 1j * imag).astype(np.complex64) if complex_valued else real


@pytest.fixture(scope="module")
def mid_slice_of_a_real_cine(stenhance_data) -> ImageSequence:
    image = SimpleITK.ReadImage(str(stenhance_data / "cine" / "scd0000301_sax.nii.gz"))
    voxels = SimpleITK.GetArrayFromImage(image)[:4, 5:6].astype(np.float32)
    return ImageSequence(voxels, np.diag([*image.GetSpacing()[:3], 1.0]), 46.11 * np.arange(4))


def psnr(result: np.ndarray, reference: np.ndarray) -> float:
    return float(-10 * np.log10(np.mean((result - reference) ** 2) / np.percentile(reference, 99.9) ** 2))


# The operators


@pytest.mark.parametrize("complex_valued", [False, True])
@pytest.mark.parametrize(("large", "small"), MATRICES)
def test_crop_and_zero_fill_are_adjoint_up_to_their_documented_scale(large, small, complex_valued):
    x, y = random_images(large, complex_valued, 1), random_images(small, complex_valued, 2)
    left = np.prod(large) * np.vdot(centre_crop.crop(x, small), y)
    right = np.prod(small) * np.vdot(x, centre_crop.zero_fill(y, large))
    assert abs(left - right) <= 1e-5 * np.prod(small) * np.linalg.norm(x) * np.linalg.norm(y)
    assert abs(right) > 0


@pytest.mark.parametrize("complex_valued", [False, True])
@pytest.mark.parametrize(("large", "small"), MATRICES)
def test_cropping_a_zero_filled_image_returns_it_and_both_keep_the_type(large, small, complex_valued):
    y = random_images(small, complex_valued, 3)
    filled = centre_crop.zero_fill(y, large)
    returned = centre_crop.crop(filled, small)
    assert filled.dtype == returned.dtype == y.dtype
    assert np.abs(returned - y).max() < 1e-5


@pytest.mark.parametrize(("large", "small"), MATRICES)
def test_a_constant_image_stays_the_same_constant(large, small):
    assert np.allclose(centre_crop.crop(np.full(large, 7, np.float32), small), 7, atol=1e-5)
    assert np.allclose(centre_crop.zero_fill(np.full(small, 7, np.float32), large), 7, atol=1e-5)


@pytest.mark.parametrize(("large", "small"), [((64, 48), (16, 12)), ((45, 64), (20, 27))])
def test_small_sample_m_lies_at_index_m_times_the_ratio(large, small):
    def wave(shape):  # well below the highest frequency of the small matrix
        j, i = (2 * np.pi * np.arange(n) / n for n in shape)
        return (np.cos(3 * j[:, None] + 0.4) + np.sin(2 * i - 1.1)).astype(np.float32)

    assert np.abs(centre_crop.crop(wave(large), small) - wave(small)).max() < 1e-5
    assert np.abs(centre_crop.zero_fill(wave(small), large) - wave(large)).max() < 1e-5


def test_the_crop_keeps_the_measured_k_space_of_a_plain_fourier_transform():
    image = random_images((32, 30), False, 4)
    small = centre_crop.crop(image, (15, 11))  # odd: no Nyquist frequency to share
    kept = np.ix_(range(3), np.fft.fftfreq(15, 1 / 15).astype(int), np.fft.fftfreq(11, 1 / 11).astype(int))
    expected = np.fft.fft2(image)[kept] * (15 * 11) / (32 * 30)
    assert np.abs(np.fft.fft2(small) - expected).max() < 1e-4


@pytest.mark.parametrize(("large", "small"), MATRICES)
def test_replacing_the_centre_gives_the_measured_low_frequencies_and_keeps_the_high_ones(large, small):
    estimate, measured = random_images(large, False, 5), random_images(small, False, 6)
    consistent = centre_crop.replace_centre(estimate, measured)
    high = estimate - centre_crop.zero_fill(centre_crop.crop(estimate, small), large)
    assert np.abs(centre_crop.crop(consistent, small) - measured).max() < 1e-5
    assert np.abs(consistent - centre_crop.zero_fill(measured, large) - high).max() < 1e-5


def test_a_matrix_that_does_not_fit_is_refused():
    with pytest.raises(STEnhanceError, match="20×16 were to be cropped to 24×16"):
        centre_crop.crop(np.zeros((16, 20), np.float32), (16, 24))
    with pytest.raises(STEnhanceError, match="20×16 were to be zero-filled to 20×8"):
        centre_crop.zero_fill(np.zeros((16, 20), np.float32), (8, 20))


# The methods


@pytest.mark.filterwarnings("error")  # SciPy before 1.17 warns of steps; nobody should see that
@pytest.mark.parametrize("key", ["zero-fill", "b-spline"])
def test_a_cropped_sequence_returns_to_the_grid_of_the_original(beating_disc, key):
    result = run(simulate(beating_disc, "s4").sequence, key, factor=4)
    assert result.grid.shape == beating_disc.grid.shape
    assert np.abs(result.ijk_to_ras - beating_disc.ijk_to_ras).max() < 1e-9
    assert np.array_equal(result.times_ms, beating_disc.times_ms)
    assert result.periodic


@pytest.mark.parametrize("key", ["zero-fill", "b-spline"])
def test_block_averaged_voxels_keep_the_outer_edges_of_the_image(beating_disc, key):
    averaged = beating_disc.frames.reshape(8, 3, 20, 2, 24, 2).mean(axis=(3, 5))
    first_voxel = (0.5, 0.5, 0.0)  # of the averaged image, on the grid of the original
    small = ImageSequence.from_frames(averaged, beating_disc.grid.resampled((3, 20, 24), first_voxel))
    aligned = run(small, key, factor=2, sampling="block average")
    assert np.abs(aligned.ijk_to_ras - beating_disc.ijk_to_ras).max() < 1e-9
    shifted = run(small, key, factor=2, sampling="k-space crop")
    error, trap = (np.abs(r.frames - beating_disc.frames).mean() for r in (aligned, shifted))
    assert error < 0.5 * trap


def test_to_the_spline_an_image_of_kspace_goes_around_and_one_of_averaged_voxels_ends():
    half_bright = np.ascontiguousarray(np.broadcast_to(np.repeat(np.float32([10, 90]), 8), (1, 1, 6, 16)))
    sequence = ImageSequence(half_bright, np.eye(4), [0.0])
    around, ending = (
        run(sequence, "b-spline", factor=2, sampling=sampling).frames[0, 0, 3]
        for sampling in ("k-space crop", "block average")
    )
    assert around[-1] == pytest.approx(50, abs=1), "half way from the last column to the first"
    assert ending[[0, -1]] == pytest.approx([10, 90], abs=1)


@pytest.mark.parametrize("key", ["zero-fill", "b-spline"])
@pytest.mark.parametrize("sampling", ["k-space crop", "block average"])
def test_the_centre_of_mass_stays_in_its_place_in_the_patient(beating_disc, key, sampling):
    def centre_ras(sequence):
        weights = sequence.frames[0].astype(float)
        centre_kji = [np.sum(weights * index) / weights.sum() for index in np.indices(weights.shape)]
        return (sequence.ijk_to_ras @ [*centre_kji[::-1], 1])[:3]

    # Periodic images have no centre of mass unless they end in nothing.
    dark_edge = replace(beating_disc, frames=beating_disc.frames - beating_disc.frames[..., :1, :1])
    moved = centre_ras(run(dark_edge, key, factor=2.37, sampling=sampling)) - centre_ras(dark_edge)
    assert np.linalg.norm(moved) < 0.02


@pytest.mark.parametrize("key", ["zero-fill", "b-spline"])
def test_a_target_spacing_is_met_as_well_as_whole_voxels_allow(beating_disc, key):
    result = run(beating_disc, key, target_spacing_mm=0.5)
    assert result.grid.shape == (3, 120, 120)  # 40 × 1.5 mm and 48 × 1.25 mm
    assert np.allclose(result.grid.spacing_mm, (0.5, 0.5, 8.0))
    with pytest.raises(STEnhanceError, match=r"3 mm was given .* expected a value from 0.1875 to 1.25 mm"):
        run(beating_disc, key, target_spacing_mm=3)
    with pytest.raises(STEnhanceError, match="expected a value from"):
        run(beating_disc, key, target_spacing_mm=0.1)


@pytest.mark.parametrize("key", ["zero-fill", "b-spline"])
@pytest.mark.parametrize("matrix", ["177x151", "177×151", " 177 X 151 "])
def test_a_matrix_is_met_exactly_and_keeps_the_field_of_view(beating_disc, key, matrix):
    result = run(beating_disc, key, matrix=matrix, factor=3)
    assert result.grid.shape == (3, 151, 177)
    rows, columns = beating_disc.grid.shape[1:]
    spacing_i, spacing_j, _ = beating_disc.grid.spacing_mm
    assert np.allclose(result.grid.spacing_mm, (columns * spacing_i / 177, rows * spacing_j / 151, 8.0))


@pytest.mark.parametrize("matrix", ["256", "47x40", "48x39", "385x320", "0x0", "big", "177x151x3", "-96x80"])
def test_what_is_no_finer_matrix_is_refused(beating_disc, matrix):
    with pytest.raises(STEnhanceError, match=f"A matrix of {matrix} was given .* from 48x40 to 384x320"):
        run(beating_disc, "zero-fill", matrix=matrix)


@pytest.mark.parametrize("key", ["zero-fill", "b-spline"])
@pytest.mark.parametrize("shape", [(2, 1, 15, 33), (1, 2, 7, 8), (1, 1, 1, 9)])
def test_odd_sizes_single_slices_and_single_frames(key, shape):
    sequence = ImageSequence(np.ones(shape, np.float32), np.eye(4), np.arange(shape[0]))
    result = run(sequence, key, factor=2.5)
    expected = tuple(int(n * 2.5 + 0.5) for n in shape[2:])
    assert result.frames.shape == (*shape[:2], *expected)
    assert np.allclose(result.frames, 1, atol=1e-5)


@pytest.mark.parametrize("sampling", ["k-space crop", "block average"])
def test_complex_images_are_interpolated_before_their_magnitude_is_taken(beating_disc, sampling):
    turned = replace(beating_disc, frames=beating_disc.frames * np.complex64(np.exp(0.7j)))
    for key in ("zero-fill", "b-spline"):
        result = run(turned, key, sampling=sampling)
        assert result.frames.dtype == np.float32
        assert np.abs(result.frames - np.abs(run(beating_disc, key, sampling=sampling).frames)).max() < 1e-3


def test_zero_fill_adds_nothing_and_the_spline_says_where_it_does(beating_disc):
    for key in ("zero-fill", "b-spline"):
        method = find_method(key)
        enhancement = enhance(method, beating_disc, parse_parameters(method, {}))
        first = next(enhancement.frames)
        low = centre_crop.zero_fill(centre_crop.crop(first.voxels, (40, 48)), (80, 96))
        if key == "zero-fill":
            assert first.unsupported == 0
            assert np.abs(first.voxels - low).max() < 1e-3
        else:
            null = np.abs(first.voxels - low)
            assert null.max() > 0.01
            assert np.allclose(np.minimum(null / np.abs(first.voxels), 1), first.unsupported, atol=1e-4)


def test_on_a_real_cine_the_aligned_grid_is_worth_five_decibels(mid_slice_of_a_real_cine):
    reference = mid_slice_of_a_real_cine
    small = simulate(reference, "s4").sequence
    filled, spline = (psnr(run(small, key, factor=4).frames, reference.frames) for key in ("zero-fill", "b-spline"))
    half_pixel_off = np.stack([ndimage.zoom(f[0], 4, order=3, grid_mode=True, mode="nearest") for f in small.frames])
    assert filled > psnr(half_pixel_off[:, None], reference.frames) + 5
    assert filled > spline > filled - 1


def test_zero_fill_agrees_with_a_direct_fourier_transform_of_a_real_cine(mid_slice_of_a_real_cine):
    reference = mid_slice_of_a_real_cine
    k_space = np.fft.fftshift(np.fft.fft2(reference.frames), axes=(-2, -1))
    kept = np.zeros_like(k_space)
    kept[..., 96:160, 96:160] = k_space[..., 96:160, 96:160]
    direct = np.abs(np.fft.ifft2(np.fft.ifftshift(kept, axes=(-2, -1))))
    filled = run(simulate(reference, "s4").sequence, "zero-fill", factor=4).frames
    assert abs(psnr(filled, reference.frames) - psnr(direct, reference.frames)) < 0.1
