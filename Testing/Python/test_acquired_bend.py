"""A filter over images that were not interpolated, found from the bend of their spectrum."""

from __future__ import annotations

import numpy as np
import pytest

from STEnhanceLib import files
from STEnhanceLib.acquisition import centre_crop, windows
from STEnhanceLib.acquisition.acquired_bend import depth, depth_of_stack, raised_cosine
from STEnhanceLib.phantoms.thorax import Thorax

CASES = ("scd0000101", "scd0000201", "scd0000301", "preclinical")


def filtered(images: np.ndarray, lowered: float) -> np.ndarray:
    window = np.outer(*(raised_cosine(n, lowered) for n in images.shape[-2:]))
    return np.abs(windows.filtered(images, window))


@pytest.fixture(scope="module", params=CASES)
def crops(request, stenhance_data):
    """(n, 64, 64) of the middle slices of a real cine."""
    cine = files.read(next((stenhance_data / "cine").glob(f"{request.param}*.nii.gz")))
    middle = cine.grid.shape[0] // 2
    return centre_crop.crop(cine.frames[::4, middle - 1 : middle + 2], (64, 64)).reshape(-1, 64, 64)


def test_none_is_found_where_there_is_none(crops):
    assert depth(np.abs(crops)) == 0
    noise = 0.02 * np.percentile(crops, 99.9) * np.random.default_rng(0).standard_normal(crops.shape)
    assert depth(np.abs(crops + noise)) == 0


def test_a_filter_is_found_and_never_taken_for_more_than_it_is(crops):
    assert 0.15 < depth(filtered(crops, 0.5)) < 0.6
    assert depth(filtered(crops, 0.5)) < depth(filtered(crops, 0.7)) < 0.75


def test_painted_hearts_have_hardly_any():
    frames = Thorax(0).cine(frames=2, matrix=128, slices=2).frames.reshape(-1, 128, 128)
    assert depth(frames) < 0.1


def test_dark_flat_and_tiny_images_have_none():
    assert depth(np.zeros((2, 64, 64), np.float32)) == 0
    assert depth(np.ones((2, 64, 64), np.float32)) == 0
    assert depth(np.random.default_rng(0).random((2, 16, 20)).astype(np.float32)) == 0


def test_one_slice_that_bends_by_itself_is_not_taken_for_a_filter(stenhance_data):
    """This one, cropped to half of its matrix, bends as much as a filter that lowers the edge by 43 % would make it."""
    cine = files.read(next((stenhance_data / "cine").glob("preclinical*.nii.gz")))
    images = np.abs(centre_crop.crop(cine.frames[:3, 5:6], (128, 128)))
    assert depth(images) > 0.3
    assert depth_of_stack(images) == 0
    stack = np.abs(centre_crop.crop(cine.frames[:3, 4:8], (128, 128)))
    assert depth_of_stack(stack) == 0
    assert depth_of_stack(filtered(stack, 0.7)) > 0.2
