"""What the motion engine does on request: fit a cycle, make measured frames anew, keep the motion and the errors."""

from __future__ import annotations

import re
from dataclasses import replace

import numpy as np
import pytest
from test_interpolation_baselines import run, sliding_disc
from test_motion import beating_ring, cycle, gain_db

from STEnhanceLib import progress
from STEnhanceLib.errors import STEnhanceError
from STEnhanceLib.methods import find_method, parse_parameters
from STEnhanceLib.methods.output_times import as_text
from STEnhanceLib.methods.run import GENERATED_FRAMES, enhance
from STEnhanceLib.motion import course
from STEnhanceLib.phantoms.breathing import Breathing
from STEnhanceLib.phantoms.knee import Knee
from STEnhanceLib.sequence import ImageSequence

torch = pytest.importorskip("torch", reason="torch is not installed: no motion engine to test")
pytestmark = pytest.mark.usefixtures("one_thread")

ERROR, MOTION = "left-out-error", "motion"


def frames_of(sequence: ImageSequence, **settings) -> list:
    method = find_method("motion")
    return list(enhance(method, sequence, parse_parameters(method, settings)).frames)


def maps_of(sequence: ImageSequence, key: str, **settings) -> np.ndarray:
    return np.stack([frame.maps[key] for frame in frames_of(sequence, **settings)])


def noisy(sequence: ImageSequence, seed: int, amount: float = 8.0) -> ImageSequence:
    noise = np.random.default_rng(seed).normal(0, amount, sequence.frames.shape)
    return replace(sequence, frames=(sequence.frames + noise).astype(np.float32))


# The whole cycle


@pytest.mark.parametrize("times_ms", [40.0 * np.arange(12), 40.0 * np.arange(12) + np.tile([0, 9, -7], 4)])
def test_harmonics_meet_a_course_of_few_harmonics_exactly_and_close(times_ms):
    def at(moments):
        angle = 2 * np.pi * np.asarray(moments) / 480
        return 3 + 2 * np.cos(angle) - np.sin(angle) + 0.5 * np.sin(2 * angle)

    path = course.path_through(range(-5, 7), times_ms, 480.0)
    places = at([place.time_ms for place in path])
    for moment in (3.0, 17.0, 39.0):
        assert course.harmonics(path, moment, 480.0) @ places == pytest.approx(at(moment))
        later = course.path_through(range(7, 19), times_ms, 480.0)  # the same frames, of the next time around
        assert course.harmonics(later, moment + 480.0, 480.0) @ at([place.time_ms for place in later]) == pytest.approx(
            at(moment)
        )


def test_it_does_not_matter_which_frame_of_a_cycle_is_the_first():
    sequence = noisy(cycle(9), 1)
    turned = replace(sequence, frames=np.roll(sequence.frames, -4, axis=0))
    settings = {"factor": 2, "whole_cycle": True, "keep_measured": False}
    one, other = run(sequence, "motion", **settings), run(turned, "motion", **settings)
    assert np.abs(np.roll(one.frames, -8, axis=0) - other.frames).max() < 0.01


def test_the_whole_cycle_knows_the_course_of_a_beating_ring_better_than_four_frames_do():
    sequence, truth = cycle(8), cycle(16).frames[1::2]
    whole = run(sequence, "motion", whole_cycle=True)
    assert gain_db(whole.frames[1::2], run(sequence, "motion").frames[1::2], truth).mean() > 3
    assert np.array_equal(whole.frames[::2], sequence.frames)


@pytest.mark.parametrize("keep_measured", [True, False])
def test_of_noisy_frames_the_whole_cycle_is_no_worse_than_four_frames(keep_measured):
    sequence, truth = noisy(cycle(12), 2), cycle(24).frames
    whole, four = (run(sequence, "motion", whole_cycle=on, keep_measured=keep_measured).frames for on in (True, False))
    new = slice(1, None, 2) if keep_measured else slice(None)
    assert gain_db(whole[new], four[new], truth[new]).mean() > -0.01


def test_what_is_no_whole_cycle_is_not_fitted_as_one(beating_disc):
    with pytest.raises(STEnhanceError, match="not marked as one full cycle, but whole_cycle fits a full cycle"):
        run(replace(beating_disc, periodic=False), "motion", whole_cycle=True)
    with pytest.raises(STEnhanceError, match="has 4 frames, but whole_cycle fits a full cycle of at least 5"):
        run(beating_disc.with_frames(range(0, 8, 2)), "motion", whole_cycle=True)
    bunched = replace(beating_disc, times_ms=[0, 50, 51, 52, 53, 54, 300, 350])
    with pytest.raises(STEnhanceError, match="whole_cycle would amplify errors"):
        run(bunched, "motion", whole_cycle=True)


def test_a_preview_of_a_fitted_cycle_is_given_all_of_it(host, beating_disc):
    import slicer

    from STEnhanceLib import scene
    from STEnhanceLib.panels import session
    from STEnhanceLib.panels.preview import Preview

    node = scene.add_sequence(beating_disc)
    preview = Preview(session.worker(), node, find_method("motion"), {"whole_cycle": True, "keep_measured": "false"})
    host.wait_until(lambda: preview.poll() or preview.done)
    assert preview.error is None
    whole = run(beating_disc, "motion", whole_cycle=True, keep_measured=False)
    assert np.allclose(slicer.util.arrayFromVolume(preview.volume), whole.frames[1], atol=0.05)


# Measured frames made anew


def test_all_frames_come_with_equally_little_noise_when_measured_ones_are_made_anew():
    sequence, truth = noisy(cycle(12), 3), cycle(24).frames
    made = run(sequence, "motion", keep_measured=False).frames
    noise = np.sqrt(np.square(made - truth).mean((1, 2, 3)))
    assert noise[::2].max() < 0.75 * 8.0
    assert noise[::2].mean() == pytest.approx(noise[1::2].mean(), rel=0.1)


@pytest.mark.parametrize("periodic", [True, False])
def test_frames_do_not_flicker_when_measured_ones_are_made_anew(periodic):
    sequence = replace(noisy(cycle(12), 3), periodic=periodic)
    off = {}
    for keep_measured in (True, False):
        frames = run(sequence, "motion", keep_measured=keep_measured, factor=4).frames
        between_neighbours = np.abs(frames[1:-1] - (frames[:-2] + frames[2:]) / 2).mean((1, 2, 3))
        off[keep_measured] = between_neighbours.max()
    assert off[False] < 0.6 * off[True]


@pytest.mark.parametrize("count", [2, 3, 4, 6])
def test_without_noise_what_was_made_anew_is_what_was_measured(count):
    frames = beating_ring(15 - 0.5 * np.arange(count) ** 1.2)
    sequence = ImageSequence(frames, np.diag([1.0, 1.0, 6.0, 1.0]), 40.0 * np.arange(count))
    made = run(sequence, "motion", keep_measured=False, factor=2).frames[::2]
    assert np.sqrt(np.square(made - frames).mean()) < 1.0
    closed = run(replace(sequence, periodic=True), "motion", keep_measured=False, factor=2)
    assert len(closed) == 2 * count and np.isfinite(closed.frames).all()


def test_frames_made_anew_are_marked_as_generated_whatever_their_times(beating_disc):
    frames = frames_of(beating_disc, keep_measured=False, factor=2)
    assert [frame.unsupported for frame in frames] == [1.0] * 16
    result = run(beating_disc, "motion", keep_measured=False, factor=2)
    assert result.attributes[GENERATED_FRAMES] == "16 of 16"
    assert any("none is left as measured" in note for note in result.notes)
    assert run(beating_disc, "motion").attributes[GENERATED_FRAMES] == "8 of 16"


def test_in_the_scene_they_are_generated_too(mrml_scene, beating_disc):
    from STEnhanceLib.publication import Publication
    from STEnhanceLib.scene import add_sequence

    attributes = {GENERATED_FRAMES: "0 of 8"}
    publication = Publication(add_sequence(beating_disc), beating_disc.grid, "result", attributes)
    for frame in frames_of(beating_disc, keep_measured=False, times_ms=as_text(beating_disc.times_ms)):
        publication.add_frame(frame.voxels, frame.unsupported)
    publication.finish(attributes)
    said = [publication.sequence.GetNthDataNode(n).GetAttribute("STEnhance.Generated") for n in range(8)]
    assert said == ["yes"] * 8
    assert publication.sequence.GetAttribute(GENERATED_FRAMES) == "8 of 8"


# The motion


def test_a_disc_that_slides_is_found_at_its_place_along_the_axes_of_the_patient(oblique_matrix):
    matrix = oblique_matrix @ np.diag([0.8, 0.8, 0.8, 1.0])  # 1 mm wide along i
    spacing = np.linalg.norm(matrix[:3, :3], axis=0)
    sequence = ImageSequence(sliding_disc([-3, 0, 3], spacing), matrix, [0.0, 40.0, 80.0])
    fields = maps_of(sequence, MOTION, motion_field=True)
    assert fields.shape == (5, 3, 1, 64, 64) and fields.dtype == np.float32
    assert not fields[0].any()
    along_i = matrix[:3, 0] / spacing[0]
    inside = np.s_[:, 0, 24:40, 22:34]  # of the disc in the first frame, 29 mm along i
    for field, moved in zip(fields, (0.0, 1.5, 3.0, 4.5, 6.0), strict=True):
        found = np.median(field[inside], axis=(1, 2))
        assert np.linalg.norm(found - moved * along_i) < 0.3


KNEE, BREATH = Knee(seed=3, flexion_deg=8, thickness_mm=0), Breathing(seed=3, depth_mm=15, thickness_mm=0)


@pytest.mark.parametrize(("phantom", "whole_cycle"), [(KNEE, False), (BREATH, False), (BREATH, True)])
def test_the_motion_of_phantoms_is_known_to_a_pixel(phantom, whole_cycle):
    sequence = phantom.cine(frames=8, matrix=112)
    wanted = sequence.times_ms[[0, 2, 5, 7]] + [0.0, 20.0, 0.0, 0.0]
    fields = maps_of(sequence, MOTION, motion_field=True, whole_cycle=whole_cycle, times_ms=as_text(wanted))
    tissue = sequence.frames[0] > 100
    truths = [phantom.displacement(sequence.grid, 0.0, time_ms)[:, tissue] for time_ms in wanted]
    width = sequence.grid.spacing_mm[0]
    assert np.percentile(np.linalg.norm(truths[2], axis=0), 70) > 2 * width, "it moves by more than the tolerance"
    for field, truth in zip(fields, truths, strict=True):
        off = np.linalg.norm((field[:, tissue] - truth)[1:], axis=0) / width  # across the slice it is not seen
        assert np.median(off) < 0.5 and np.mean(off < 1) > 0.7


@pytest.mark.parametrize("whole_cycle", [False, True])
def test_at_the_end_of_a_cycle_all_tissue_has_come_back(whole_cycle):
    sequence = noisy(cycle(8), 4)
    wanted = as_text([400.0, 799.999, 800.0])
    half, end, start = maps_of(sequence, MOTION, motion_field=True, whole_cycle=whole_cycle, times_ms=wanted)
    assert np.abs(half).max() > 3
    assert np.abs(end).max() < 0.05 and not start.any()


def test_the_motion_fitted_to_a_noisy_cycle_is_smooth_and_goes_on_where_it_began():
    sequence = noisy(cycle(12), 2)
    on = {"motion_field": True, "factor": 4}
    fitted = maps_of(sequence, MOTION, whole_cycle=True, keep_measured=False, **on)
    followed = maps_of(sequence, MOTION, **on)

    def unsteadiness(fields):
        return np.square(np.diff(np.concatenate([fields, fields[:2]]), 2, axis=0)).mean()

    assert unsteadiness(fitted) < 0.75 * unsteadiness(followed)
    around = {"whole_cycle": True, "keep_measured": False, "motion_field": True}
    start, end = maps_of(sequence, MOTION, times_ms="0,799.999", **around)
    assert np.abs(end - start).max() < 1e-3


def test_the_motion_is_kept_to_the_last_frame_when_measured_ones_are_made_anew_and_time_is_no_cycle():
    sequence = noisy(replace(cycle(6), periodic=False), 3)
    anew, kept = (maps_of(sequence, MOTION, motion_field=True, keep_measured=on) for on in (False, True))
    assert np.allclose(anew, kept, atol=1e-5), "tissue is at the places that it was measured at"


def test_velocities_add_up_along_their_own_paths():
    from STEnhanceLib.motion.fields import composed, exponential

    j, i = torch.meshgrid(torch.arange(32.0), torch.arange(32.0), indexing="ij")
    bump = 4 * torch.exp(-((j - 16) ** 2 + (i - 16) ** 2) / 50)
    velocity = torch.stack([bump, -0.5 * bump])[None, :, None]
    spacing = (6.0, 1.0, 1.0)
    first, rest = exponential(0.3 * velocity, spacing), exponential(0.7 * velocity, spacing)
    assert (composed(rest, first, spacing) - exponential(velocity, spacing)).abs().max() < 0.1


# The errors of measured frames


def test_the_error_of_a_measured_frame_is_how_far_off_it_is_when_only_its_neighbours_are_known():
    sequence = replace(noisy(cycle(6), 5), periodic=False)
    maps = maps_of(sequence, ERROR, check=True)
    assert maps.shape == (11, *sequence.grid.shape)
    for n in (1, 2, 4):
        others = sequence.with_frames([m for m in range(max(0, n - 2), min(6, n + 3)) if m != n])
        remade = run(others, "motion", times_ms=as_text([sequence.times_ms[n]])).frames[0]
        assert np.allclose(maps[2 * n], np.abs(remade - sequence.frames[n]), atol=0.3)


def test_between_measured_frames_their_errors_are_weighted_by_time_and_the_ends_have_those_of_their_neighbours():
    sequence = noisy(cycle(6), 6)
    closed = maps_of(sequence, ERROR, check=True, factor=4)
    assert np.allclose(closed[1], 0.75 * closed[0] + 0.25 * closed[4], atol=1e-3)
    assert np.allclose(closed[-1], 0.25 * closed[-4] + 0.75 * closed[0], atol=1e-3)
    once = replace(sequence, periodic=False)
    result = maps_of(once, ERROR, check=True)
    assert all(np.array_equal(result[0], result[n]) for n in (1, 2))
    assert np.array_equal(result[-1], result[-3])
    assert any("their error maps are those of the next" in note for note in run(once, "motion", check=True).notes)


def test_the_whole_cycle_is_tested_by_all_the_other_frames():
    sequence = noisy(cycle(10), 7)
    whole, four = (run(sequence, "motion", check=True, whole_cycle=on).notes[-1] for on in (True, False))
    assert "frames 1 to 10" in whole and whole != four
    errors = [float(re.search(r"errors of ([\d.]+) %", note)[1]) for note in (whole, four)]
    assert errors[0] < 1.1 * errors[1]


def test_nothing_beside_the_frames_is_yielded_unless_it_was_asked_for(beating_disc):
    assert all(not frame.maps for frame in frames_of(beating_disc.with_frames([0, 1, 2])))


def test_the_first_frame_does_not_wait_for_the_errors_of_all(monkeypatch):
    monkeypatch.setattr("STEnhanceLib.motion.trajectories.VOXELS_AT_ONCE", 1)
    method, told = find_method("motion"), []
    sequence = replace(cycle(8), periodic=False).with_frames(range(5))
    frames = enhance(method, sequence, parse_parameters(method, {"check": True})).frames
    with progress.heard_by(lambda text, share: told.append(text), pause_s=0.0):
        next(frames)
        at_first = len(told)
        list(frames)
    assert 0 < at_first <= 3 and len(told) >= 7  # 4 pairs of neighbours, and 3 around a frame that is left out


# What cannot be interpolated


def test_frames_of_nan_and_times_that_stand_still_are_refused_before_any_method_sees_them(beating_disc):
    broken = beating_disc.frames.copy()
    broken[3] = np.nan
    with pytest.raises(STEnhanceError, match="Frame 4 of 8 has 5760 voxels that are NaN or infinite"):
        run(replace(beating_disc, frames=broken), "motion")
    with pytest.raises(STEnhanceError, match="strictly increasing"):
        run(replace(beating_disc, times_ms=[0, 50, 50, 100, 150, 200, 250, 300]), "motion")
