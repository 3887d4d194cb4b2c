"""Slices that lie beside their neighbours are found and moved back: planted errors on a real cine and on phantoms."""

from __future__ import annotations

from dataclasses import replace

import numpy as np
import pytest
from scipy import ndimage

from STEnhanceLib import files
from STEnhanceLib.methods import find_method, parse_parameters
from STEnhanceLib.methods.run import enhance, enhance_all
from STEnhanceLib.motion import slice_alignment
from STEnhanceLib.sequence import ImageSequence

METHOD = find_method("align-slices")


def run(sequence: ImageSequence, **settings) -> ImageSequence:
    return enhance_all(METHOD, sequence, parse_parameters(METHOD, settings))


def rms(values: np.ndarray) -> float:
    return float(np.sqrt(np.mean(np.square(values))))


def displaced(frames: np.ndarray, shifts: np.ndarray) -> np.ndarray:
    moved = [slice_alignment.moved(frames[:, k], shift) for k, shift in enumerate(shifts)]
    return np.stack(moved, axis=1).astype(np.float32)


@pytest.fixture
def cone(oblique_matrix) -> ImageSequence:
    """A tapering, beating heart in a still body, without any error: (5, 8, 64, 72)."""
    j, i = np.mgrid[:64, :72]
    distance = np.hypot(j - 31.0, i - 37.0)
    radii = 8 + 1.2 * np.arange(8) + 2 * np.cos(2 * np.pi * np.arange(5) / 5)[:, None]
    heart = 1 / (1 + np.exp((distance - radii[..., None, None]) / 1.5))
    body = 0.3 / (1 + np.exp((distance - 28) / 1.5))
    return ImageSequence((100 * (heart + body)).astype(np.float32), oblique_matrix, 50.0 * np.arange(5), periodic=True)


@pytest.mark.parametrize("case", ["scd0000301", "preclinical"])
def test_planted_shifts_of_a_real_cine_are_found_within_a_third_of_a_pixel(case, stenhance_data):
    good = files.read(stenhance_data / "cine" / f"{case}_sax.nii.gz")
    frames = good.frames[::5, :, 48:208, 48:208]
    planted = np.random.default_rng(1).uniform(-3, 3, (frames.shape[1], 2)) / good.grid.spacing_mm[0]  # ±3 mm
    before = slice_alignment.find(frames).shifts  # its own
    found = slice_alignment.find(displaced(frames, planted)).shifts - before
    expected = slice_alignment.beyond_smooth(planted)
    assert rms(expected) > 0.8
    assert rms(found - expected) < 0.3
    assert np.abs(found - expected).max() < 0.8


def test_planted_delays_and_brightness_of_a_real_cine_are_found(stenhance_data):
    good = files.read(stenhance_data / "cine" / "scd0000301_sax.nii.gz")
    frames = good.frames[::2, :, 64:192, 64:192]
    rng = np.random.default_rng(2)
    delays, gains = rng.uniform(-0.6, 0.6, frames.shape[1]), np.exp(rng.uniform(-0.15, 0.15, frames.shape[1]))
    spoilt = [slice_alignment.earlier(frames[:, k], -delay, True) for k, delay in enumerate(delays)]
    spoilt = np.stack(spoilt, axis=1) * gains[:, None, None].astype(np.float32)
    both = {"brightness": True, "phase": True, "periodic": True}
    before, found = slice_alignment.find(frames, **both), slice_alignment.find(spoilt, **both)
    late = found.delays - before.delays - slice_alignment.beyond_smooth(delays)
    bright = np.log(found.gains / before.gains) - slice_alignment.beyond_smooth(np.log(gains))
    assert rms(late) < 0.15 < rms(slice_alignment.beyond_smooth(delays))
    assert rms(bright) < 0.02 < rms(slice_alignment.beyond_smooth(np.log(gains)))


def test_a_stack_without_errors_is_left_as_it_is(cone):
    assert np.abs(slice_alignment.find(cone.frames).shifts).max() < 0.05
    result = run(cone)
    assert np.array_equal(result.frames, cone.frames)
    assert any("nothing was corrected" in note for note in result.notes)


def test_a_displaced_slice_comes_back_and_the_note_says_which_and_where(cone):
    shifts = np.zeros((8, 2))
    shifts[4] = 0, 3  # along i, by 3 pixels of 1.25 mm
    spoilt = replace(cone, frames=displaced(cone.frames, shifts))
    result = run(spoilt)
    assert rms(result.frames - cone.frames) < 0.5 * rms(spoilt.frames - cone.frames)
    assert np.array_equal(result.ijk_to_ras, cone.ijk_to_ras)
    note = next(note for note in result.notes if note.startswith("Moved: slice 5 by "))
    length = float(note.split(" by ")[1].split(" mm")[0])
    assert length == pytest.approx(1.25 * abs(slice_alignment.beyond_smooth(shifts)[4, 1]), rel=0.1)
    assert length > 2.5
    towards = -cone.ijk_to_ras[:3, 0]
    main = int(np.abs(towards).argmax())
    side = (("right", "left"), ("anterior", "posterior"), ("superior", "inferior"))[main][int(towards[main] < 0)]
    assert note.split("(")[1].split()[1].strip(",).") == side


def test_what_comes_from_beyond_the_edge_is_marked(cone):
    shifts = np.zeros((8, 2))
    shifts[3] = -4, 0
    frame = next(enhance(METHOD, replace(cone, frames=displaced(cone.frames, shifts)), METHOD.parameters()).frames)
    lost = frame.unsupported[3].all(axis=1)
    assert 2 <= lost.sum() <= 4 and lost[: lost.sum()].all(), "content moves down again, so the top rows are new"
    assert not frame.unsupported[[0, 7]].any()


def test_brightness_and_beat_are_corrected_on_request_only(cone):
    frames = cone.frames.copy()
    frames[:, 3] *= 1.2
    frames[:, 5] = slice_alignment.earlier(frames[:, 5], -1, True)
    spoilt = replace(cone, frames=frames)
    plain, both = run(spoilt), run(spoilt, brightness=True, phase=True)
    assert np.array_equal(plain.frames, frames)
    assert rms(both.frames - cone.frames) < 0.5 * rms(frames - cone.frames)
    bright = next(note for note in both.notes if note.startswith("Made brighter or darker: slice 4 by -"))
    assert "%" in bright
    assert any(note.startswith("Shifted in time: slice 6 by ") and "ms earlier" in note for note in both.notes)


def test_signed_and_complex_images_and_stacks_of_two_slices(cone):
    shifts = np.zeros((8, 2))
    shifts[4] = 2, -2
    spoilt = displaced(cone.frames, shifts)
    signed = run(replace(cone, frames=spoilt - np.float32(60)))
    assert rms(signed.frames + 60 - cone.frames) < 0.5 * rms(spoilt - cone.frames)
    turned = run(replace(cone, frames=spoilt * np.complex64(np.exp(0.7j))))
    assert np.abs(turned.frames - run(replace(cone, frames=spoilt)).frames).max() < 1e-3
    assert any("complex" in note for note in turned.notes)
    two = run(cone.part(range(5), slice(0, 2)))
    assert np.array_equal(two.frames, cone.frames[:, :2])
    assert any("Nothing was aligned" in note and "there are 2 slices" in note for note in two.notes)


def test_edges_are_repeated_not_wrapped():
    image = np.zeros((4, 6), np.float32)
    image[:, 0] = 1
    assert np.allclose(slice_alignment.moved(image, (0, 2))[:, :3], 1, atol=1e-6)
    assert ndimage.center_of_mass(slice_alignment.moved(image, (0, 2)))[1] < 2
