"""A planning scan as a prior: wherever it lies, however bright it is, and when it is refused."""

from __future__ import annotations

from dataclasses import replace

import numpy as np
import pytest
from scipy import ndimage
from untrained import run, sequence_of, smooth

from STEnhanceLib.acquisition import centre_crop
from STEnhanceLib.errors import STEnhanceError
from STEnhanceLib.methods import find_method
from STEnhanceLib.methods.prior import prepared
from STEnhanceLib.methods.run import enhance
from STEnhanceLib.phantoms.thorax import Thorax
from STEnhanceLib.sequence import ImageSequence

pytest.importorskip("torch", reason="torch is not installed: no networks")
pytest.importorskip("safetensors", reason="safetensors is not installed: no models")

pytestmark = pytest.mark.usefixtures("one_thread", "untrained")


@pytest.mark.parametrize("key", ["ddos-unet", "stenhance-sr"])
def test_a_prior_counts_wherever_it_lies_and_however_bright_it_is(key, oblique_matrix):
    low = sequence_of(smooth(2, 4, 24, 32), oblique_matrix)
    grid = find_method(key).parameters().on(low.grid)
    sharp = ImageSequence(centre_crop.zero_fill(low.frames[:1], (48, 64)), grid.ijk_to_ras, [0.0])
    expected = run(low, key, sharp)
    brighter = run(low, key, replace(sharp, frames=700 * sharp.frames, name="Planning scan"))
    assert "The prior was Planning scan." in brighter.attributes["STEnhance.Assumed"]
    assert np.abs(brighter.frames - expected.frames).max() < 1e-2
    assert "The prior was multiplied by 0.001429" in " ".join(brighter.notes)
    # The same anatomy with the axes exchanged: rows for columns, the last slice first.
    flip = np.array([[0, 1, 0, 0], [1, 0, 0, 0], [0, 0, -1, 3], [0, 0, 0, 1.0]])
    turned = ImageSequence(np.ascontiguousarray(sharp.frames[:, ::-1].swapaxes(-1, -2)), sharp.ijk_to_ras @ flip, [0.0])
    moved = run(low, key, turned)
    assert np.abs(moved.frames - expected.frames).max() < 1e-3
    assert any("interpolated onto the grid of the result" in note for note in moved.notes)
    if key == "stenhance-sr":
        assert np.abs(run(low, key).frames - expected.frames).max() > 1e-3, "else the prior had no influence"


def test_a_prior_no_sharper_than_the_images_is_noted(beating_disc):
    method = find_method("stenhance-sr")
    same = beating_disc.with_frames([0])
    grid = method.parameters().on(beating_disc.grid)
    sharper = ImageSequence(centre_crop.zero_fill(same.frames, grid.shape[1:]), grid.ijk_to_ras, [0.0])
    for prior, noted in ((same, True), (sharper, False)):
        notes = " ".join(enhance(method, beating_disc, method.parameters(), prior=prior).notes)
        assert ("adds hardly any detail" in notes) == noted


def test_a_prior_of_something_else_is_told():
    method, thorax = find_method("stenhance-sr"), Thorax(0).cine(frames=3, matrix=64, slices=1)
    other = replace(thorax, frames=np.ascontiguousarray(thorax.frames[:, :, ::-1]))
    for prior, told in ((thorax, False), (other, True)):
        notes = " ".join(enhance(method, thorax, method.parameters(), prior=prior.with_frames([2])).notes)
        assert ("hardly resembles the first frame" in notes) == told
    dark = replace(thorax, frames=np.zeros_like(thorax.frames))
    assert "resembles" not in " ".join(enhance(method, dark, method.parameters(), prior=thorax.with_frames([2])).notes)


def test_detail_too_fine_for_the_result_does_not_fold_back():
    rng = np.random.default_rng(0)
    sharp = np.maximum(rng.standard_normal((1, 2, 60, 120)) + 9, 0).astype(np.float32)
    prior = ImageSequence(sharp, np.diag([0.5, 1.0, 8.0, 1.0]), [0.0])
    low = sequence_of(centre_crop.crop(sharp, (20, 20)), np.diag([3.0, 3.0, 8.0, 1.0]))
    grid = find_method("stenhance-sr").parameters().on(low.grid)
    found, _notes = prepared(prior, low, grid)
    assert found.shape == (2, 40, 40)
    expected = centre_crop.crop(sharp[0], (40, 40))
    assert np.linalg.norm(found - expected) < 0.2 * np.linalg.norm(expected - expected.mean())


def test_a_prior_of_another_place_is_refused(beating_disc):
    shifted = beating_disc.ijk_to_ras.copy()
    shifted[:3, 3] += 24 * shifted[:3, 0]  # half of the 48 columns
    elsewhere = replace(beating_disc.with_frames([0]), ijk_to_ras=shifted)
    for key in ("ddos-unet", "stenhance-sr"):
        method = find_method(key)
        with pytest.raises(STEnhanceError, match="covers 52 % of the field of view; expected at least 90 %"):
            enhance(method, beating_disc, method.parameters(), prior=elsewhere)
        dark = replace(beating_disc.with_frames([0]), frames=np.zeros_like(beating_disc.frames[:1]))
        with pytest.raises(STEnhanceError, match="The prior is 0 all over"):
            enhance(method, beating_disc, method.parameters(), prior=dark)


def test_a_prior_that_reaches_nearly_everywhere_is_used_and_the_rest_noted(beating_disc):
    shifted = beating_disc.ijk_to_ras.copy()
    shifted[:3, 3] += 3 * shifted[:3, 0]
    result = run(beating_disc, "stenhance-sr", replace(beating_disc.with_frames([0, 1]), ijk_to_ras=shifted))
    assert any("it covers 95.8 % of the field of view" in note for note in result.notes)
    assert any("has 2 frames; the first one was used" in note for note in result.notes)


def test_ddos_unet_goes_on_from_its_own_result_unless_told_otherwise(beating_disc):
    other = beating_disc.with_frames([4])
    own, static = (run(beating_disc, "ddos-unet", other, propagate=choice).frames for choice in (True, False))
    assert np.array_equal(own[0], static[0])
    assert np.abs(own[1:] - static[1:]).max(axis=(1, 2, 3)).min() > 1e-4
    # The second frame alone, with the first result as its prior, is the second result.
    grid = find_method("ddos-unet").parameters().on(beating_disc.grid)
    first = ImageSequence(own[:1], grid.ijk_to_ras, [0.0])
    alone = run(beating_disc.with_frames([1]), "ddos-unet", first).frames[0]
    assert np.abs(alone - own[1]).max() < 0.05 * np.abs(own[1]).max()  # up to the scale of its prior


@pytest.mark.parametrize("key", ["ddos-unet", "stenhance-sr"])
def test_slices_thinner_than_those_of_the_images_are_averaged(key):
    """A checkerboard across slices: what a single thin slice holds must not stand for a thick one."""
    k, j, i = np.indices((48, 40, 48))
    bright = 5 + np.cos(2 * np.pi * j / 40) + np.sin(2 * np.pi * i / 48)
    board = (bright + 2 * (-1) ** (k + j // 4 + i // 4))[None].astype(np.float32)
    below = np.eye(4) - 8 * np.eye(4, k=1) * [0, 0, 0, 1]
    thin = ImageSequence(board, below, [0.0])
    low = sequence_of(centre_crop.crop(bright[None, :4].astype(np.float32), (20, 24)), np.diag([2.0, 2.0, 8.0, 1.0]))

    found, notes = prepared(thin, low, find_method(key).parameters().on(low.grid))

    assert np.abs(found - bright[:4]).max() < 0.05
    assert any("interpolated onto the grid of the result, averaged over its voxels." in note for note in notes)


@pytest.mark.parametrize("order", [(0, 1, 2), (2, 0, 1), (1, 2, 0)])
def test_a_thick_slice_holds_the_mean_of_the_thin_ones_within_it_whichever_axis_they_lie_along(order, oblique_matrix):
    voxels = np.random.default_rng(4).random((24, 20, 28)).astype(np.float32) + 1
    in_mm = oblique_matrix.copy()
    in_mm[:3, :3] /= np.linalg.norm(in_mm[:3, :3], axis=0)  # 1 mm, oblique
    axes = np.eye(4)[:, [*(2 - np.array(order)[::-1]), 3]]  # the new axes (i, j, k) in terms of the old ones
    prior = ImageSequence(np.ascontiguousarray(voxels.transpose(order))[None], in_mm @ axes, [0.0])
    thick = np.diag([2.0, 2.0, 8.0, 1.0])
    thick[2, 3] = 3.5
    low = sequence_of(centre_crop.crop(voxels[None, :3], (10, 14)), in_mm @ thick)

    found, _notes = prepared(prior, low, find_method("stenhance-sr").parameters().on(low.grid))

    expected = voxels.reshape(3, 8, 20, 28).mean(axis=1)
    assert np.abs(found / found.mean() - expected / expected.mean()).max() < 1e-4


@pytest.mark.parametrize("spacing_mm", [(1.0, 1.0, 8.0), (1.0, 1.5, 8.0), (1.2, 1.1, 10.0)])
def test_voxels_as_large_as_those_of_the_result_or_larger_are_only_interpolated(spacing_mm):
    voxels = np.random.default_rng(5).random((4, 40, 40)).astype(np.float32) + 1
    prior = ImageSequence(voxels[None], np.diag([*spacing_mm, 1.0]), [0.0])
    low = sequence_of(voxels[None, :3, :18, :18], np.diag([2.0, 2.0, 8.0, 1.0]) + np.eye(4, k=3) * 0.4)
    grid = find_method("stenhance-sr").parameters().on(low.grid)

    found, notes = prepared(prior, low, grid)

    to_prior = (np.linalg.inv(prior.ijk_to_ras) @ grid.ijk_to_ras)[2::-1]
    expected = ndimage.affine_transform(
        voxels, np.diag(np.diag(to_prior[:, 2::-1])), to_prior[:, 3], grid.shape, order=3, mode="nearest"
    )
    assert np.abs(found / found.mean() - expected / expected.mean()).max() < 1e-5
    assert not any("averaged" in note for note in notes)
