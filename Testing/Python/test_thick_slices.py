"""The measurement of thick slices: one operator for simulation, training and super-resolution."""

from __future__ import annotations

import numpy as np
import pytest
from scipy import ndimage

from STEnhanceLib.acquisition import thick_slices


def stack(*shape) -> np.ndarray:
    return np.random.default_rng(0).random(shape).astype(np.float32)


@pytest.mark.parametrize(("slices", "factor"), [(13, 4), (12, 4), (9, 2), (10, 3)])
def test_it_is_the_gaussian_filter_of_one_thick_slice_at_half_maximum(slices, factor):
    fine = stack(2, slices, 3, 5)
    sigma = factor / (2 * np.sqrt(2 * np.log(2)))
    expected = ndimage.gaussian_filter1d(fine, sigma, axis=1, mode="nearest")[:, ::factor]
    assert np.abs(thick_slices.measure(fine, expected.shape[1], factor) - expected).max() < 1e-6


@pytest.mark.parametrize(("thick", "factor", "fine"), [(3, 4, 9), (10, 1.5, 14), (8, 2.5, 18), (1, 4, 1), (6, 1.2, 7)])
def test_the_first_slices_coincide_and_the_fine_ones_end_within_the_stack(thick, factor, fine):
    assert thick_slices.fine_slices(thick, factor) == fine
    matrix = thick_slices.operator(thick, factor)
    assert matrix.shape == (thick, fine)
    assert np.allclose(matrix.sum(axis=1), 1)
    centres = matrix[1:-1] @ np.arange(fine)
    inside = np.abs(np.arange(1, thick - 1) * factor - (fine - 1) / 2) < (fine - 1) / 2 - 2 * factor
    assert np.allclose(centres[inside], factor * np.arange(1, thick - 1)[inside], atol=0.02)


@pytest.mark.parametrize(("thick", "factor"), [(3, 4.0), (2, 2.0), (10, 2.5), (12, 1.5), (1, 3.0)])
def test_the_start_and_what_is_replaced_agree_with_the_measurement(thick, factor):
    measured = stack(2, thick, 3, 4)
    start = thick_slices.start(measured, factor)
    assert start.shape == (2, thick_slices.fine_slices(thick, factor), 3, 4)
    estimate = stack(*start.shape)
    replaced = thick_slices.replace_measured(estimate, measured, factor)
    for images in (start, replaced):
        assert images.dtype == np.float32
        assert np.abs(thick_slices.measure(images, thick, factor) - measured).max() < 1e-5
    assert np.abs(thick_slices.replace_measured(replaced, measured, factor) - replaced).max() < 1e-5


def test_the_replaced_stack_is_the_nearest_one():
    measured, estimate = stack(4, 2, 2), stack(13, 2, 2)
    nearest = thick_slices.replace_measured(estimate, measured, 4)
    null = np.linalg.svd(thick_slices.operator(4, 4))[2][4:]
    assert np.abs(np.tensordot(null, nearest - estimate, 1)).max() < 1e-5


def test_smooth_anatomy_is_interpolated_well():
    k = np.arange(33)
    smooth = (2 + np.cos(2 * np.pi * k / 33))[:, None, None].astype(np.float32) * np.ones((1, 2, 2), np.float32)
    found = thick_slices.start(thick_slices.measure(smooth, 9, 4), 4)
    assert np.abs(found - smooth)[4:-4].max() < 0.02


def test_tensors_and_complex_images_are_treated_like_arrays():
    torch = pytest.importorskip("torch", reason="torch is not installed")
    measured, estimate = stack(2, 4, 3, 3), stack(2, 13, 3, 3)
    expected = thick_slices.replace_measured(estimate, measured, 4)
    tensors = thick_slices.replace_measured(torch.from_numpy(estimate), torch.from_numpy(measured), 4)
    assert np.abs(tensors.numpy() - expected).max() < 1e-5
    turned = np.complex64(1j)
    complex_start = thick_slices.start(turned * measured, 4)
    assert complex_start.dtype == np.complex64
    assert np.abs(complex_start - turned * thick_slices.start(measured, 4)).max() < 1e-5
