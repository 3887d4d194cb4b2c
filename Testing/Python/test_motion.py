"""Filling in moments along the paths of tissue: registration, what it does to images, and what it says of itself."""

from __future__ import annotations

from dataclasses import replace

import numpy as np
import pytest
from test_interpolation_baselines import run, sliding_disc, two_frames

from STEnhanceLib import files
from STEnhanceLib.errors import STEnhanceError
from STEnhanceLib.methods import Task, find_method, methods_for, parse_parameters
from STEnhanceLib.methods.output_times import as_text
from STEnhanceLib.methods.run import enhance
from STEnhanceLib.sequence import ImageSequence

torch = pytest.importorskip("torch", reason="torch is not installed: no motion engine to test")
pytestmark = pytest.mark.usefixtures("one_thread")


def beating_ring(radii) -> np.ndarray:
    """Tissue that stretches and shrinks with its radius, (T, 1, 64, 64) float32."""
    j, i = np.mgrid[:64, :64]
    distance = np.hypot(j - 31, i - 32)
    frames = [
        100 / (1 + np.exp((distance - radius) / 0.8)) * (1 + 0.4 * np.cos(6 * distance / radius)) for radius in radii
    ]
    return np.stack(frames)[:, None].astype(np.float32)


def cycle(count: int, mean_radius: float = 15.0, stroke: float = 3.0) -> ImageSequence:
    times = 800.0 * np.arange(count) / count
    radii = mean_radius + stroke * np.cos(2 * np.pi * times / 800.0)
    return ImageSequence(beating_ring(radii), np.diag([1.0, 1.0, 6.0, 1.0]), times, periodic=True)


def gain_db(result: np.ndarray, other: np.ndarray, truth: np.ndarray) -> np.ndarray:
    """By how much `result` is nearer to the truth than `other`, frame by frame."""
    errors = [np.square(frames - truth).mean((1, 2, 3)) for frames in (other, result)]
    return 10 * np.log10(errors[0] / errors[1])


# Where tissue is


@pytest.mark.parametrize(
    ("spacing_mm", "slices"),
    [((1.0, 1.0, 6.0), 1), ((1.0, 0.75, 6.0), 3), ((1.0, 1.0, 1.5), 8)],
    ids=["one slice", "uneven voxels", "volume"],
)
def test_a_sliding_disc_is_found_where_it_is_at_that_moment(spacing_mm, slices):
    sequence = two_frames(sliding_disc((-4, 4), spacing_mm, slices), spacing_mm)
    truth = sliding_disc((-2, 0, 2), spacing_mm, slices)
    motion, linear = (run(sequence, key, times_ms="10,20,30").frames for key in ("motion", "linear"))
    assert gain_db(motion, linear, truth).min() > 25


def test_tissue_that_shrinks_moves_evenly_from_one_end_to_the_other():
    truth = beating_ring([15, 14, 13])
    sequence = two_frames(beating_ring([16, 12]))
    motion, linear = (run(sequence, key, times_ms="10,20,30").frames for key in ("motion", "linear"))
    # Following the velocity instead of a straight line would be 0.3 pixels off at the rim, and gain 20 dB.
    assert gain_db(motion, linear, truth).min() > 28


def test_a_beating_ring_is_followed_around_its_turning_points():
    sequence = cycle(8)
    truth = cycle(16).frames
    between = np.arange(16) % 2 > 0
    gains = {
        key: gain_db(
            run(sequence, "motion", factor=2).frames[between],
            run(sequence, key, factor=2).frames[between],
            truth[between],
        )
        for key in ("linear", "fourier", "demons")
    }
    assert gains["linear"].min() > 8
    assert gains["fourier"].mean() > 8
    # Demons takes every gap on its own, so that tissue turns in corners.
    assert gains["demons"].mean() > 4


def test_the_frames_around_a_gap_tell_how_tissue_speeds_up():
    places = 0.02 * np.arange(0.0, 16.0, 4.0) ** 2 - 2
    sequence = ImageSequence(sliding_disc(places), np.diag([1.0, 1.0, 6.0, 1.0]), [0.0, 40.0, 80.0, 120.0])
    truth = sliding_disc([0.02 * 6.0**2 - 2])
    with_neighbours = run(sequence, "motion", times_ms="60").frames
    alone = run(sequence.with_frames([1, 2]), "motion", times_ms="60").frames
    assert gain_db(with_neighbours, alone, truth)[0] > 6


def test_swapping_the_ends_gives_the_same_frames_backwards():
    sequence = two_frames(beating_ring([16, 12]))
    swapped = replace(sequence, frames=sequence.frames[::-1])
    there = run(sequence, "motion", times_ms="10,20,30").frames
    back = run(swapped, "motion", times_ms="10,20,30").frames
    assert np.abs(there - back[::-1]).max() < 0.01


def test_where_the_patient_lies_does_not_matter(beating_disc):
    sequence = beating_disc.with_frames(range(4))
    spacing = sequence.grid.spacing_mm
    straight = replace(sequence, ijk_to_ras=np.diag([*spacing, 1.0]))
    oblique, upright = run(sequence, "motion"), run(straight, "motion")
    assert np.allclose(oblique.frames, upright.frames, atol=1e-3)
    assert np.array_equal(oblique.ijk_to_ras, sequence.ijk_to_ras)


@pytest.mark.parametrize("scale", [1e-25, 1e-4, 1e22])
def test_motion_does_not_depend_on_the_intensity_scale(beating_disc, scale):
    pair = beating_disc.with_frames([0, 2])
    scaled = replace(pair, frames=pair.frames * np.float32(scale))
    expected = run(pair, "motion").frames
    assert np.abs(run(scaled, "motion").frames / scale - expected).max() < 0.01 * expected.max()


# Where nothing moves


def test_a_still_sequence_is_blended_in_place():
    frame = sliding_disc((2,), slices=2)
    brighter = two_frames(np.concatenate([frame, 1.2 * frame]))
    assert np.allclose(run(brighter, "motion", times_ms="10").frames, 1.05 * frame, atol=0.05)
    still = two_frames(np.concatenate([frame, frame]))
    assert np.abs(run(still, "motion").frames[1] - frame[0]).max() < 1e-3


def test_black_frames_stay_black():
    black = two_frames(np.zeros((2, 1, 16, 16), np.float32))
    assert not run(black, "motion").frames.any()


def test_noise_is_not_taken_for_motion():
    disc = sliding_disc((2, 2))
    noisy = disc + np.random.default_rng(5).normal(0, 3, disc.shape).astype(np.float32)
    motion, linear = (run(two_frames(noisy), key).frames[1:2] for key in ("motion", "linear"))
    assert gain_db(motion, linear, disc[:1])[0] > -0.5


# Frames and times


@pytest.mark.parametrize("periodic", [True, False])
def test_measured_frames_stay_bit_for_bit_and_new_ones_fill_each_gap(beating_disc, periodic):
    uneven = replace(beating_disc, times_ms=50 * np.arange(8) + [0, 0.1, -30, 7, 0, 2, -5, 1 / 3], periodic=periodic)
    before = uneven.frames.copy()
    result = run(uneven, "motion", factor=2)
    assert len(result) == (16 if periodic else 15)
    assert np.array_equal(result.frames[::2], before)
    assert np.array_equal(uneven.frames, before)
    assert np.isfinite(result.frames).all()
    enhancement = enhance(find_method("motion"), uneven, parse_parameters(find_method("motion"), {}))
    assert [frame.unsupported for frame in enhancement.frames][:4] == [0.0, 1.0, 0.0, 1.0]


def test_uneven_times_are_met():
    times = np.array([0.0, 100.0, 150.0, 300.0, 330.0, 500.0])
    places = times / 50 - 5
    sequence = ImageSequence(sliding_disc(places), np.diag([1.0, 1.0, 6.0, 1.0]), times)
    wanted = np.array([30.0, 120.0, 210.0, 320.0, 440.0])
    truth = sliding_disc(wanted / 50 - 5)
    motion, linear = (run(sequence, key, times_ms=as_text(wanted)).frames for key in ("motion", "linear"))
    assert gain_db(motion, linear, truth).min() > 15


@pytest.mark.parametrize("shape", [(1, 1, 9), (2, 9, 7), (40, 8, 8), (1, 33, 70)])
@pytest.mark.parametrize("periodic", [True, False])
def test_volumes_of_any_shape_are_taken(shape, periodic):
    frames = np.random.default_rng(3).random((2, *shape)).astype(np.float32)
    result = run(replace(two_frames(frames, (1.0, 1.0, 1.0)), periodic=periodic), "motion")
    assert result.frames.shape == (4 if periodic else 3, *shape)
    assert np.isfinite(result.frames).all()


def test_one_frame_has_no_time_between(beating_disc):
    with pytest.raises(STEnhanceError, match="1 frame; expected at least 2"):
        run(beating_disc.with_frames([0]), "motion")


# What it says of itself


def test_it_says_how_far_tissue_moved_and_that_nothing_is_folded():
    notes = " ".join(run(two_frames(sliding_disc((-3, 3))), "motion").notes)
    assert "Tissue moved by up to 6" in notes
    assert "Nothing is folded" in notes


def test_folds_are_seen():
    from STEnhanceLib.motion.fields import smallest_volume

    field = torch.zeros(1, 2, 1, 8, 8)
    assert smallest_volume(field, (6.0, 1.0, 1.0)).min() == 1
    field[0, 1, 0, :, 4:] = -1.5  # the right half goes more than one voxel to the left, over the left half
    assert smallest_volume(field, (6.0, 1.0, 1.0)).min() == pytest.approx(-0.5)
    volume = torch.zeros(1, 3, 4, 8, 8)
    volume[0, 0, 2:] = -9.0
    assert smallest_volume(volume, (6.0, 1.0, 1.0)).min() == pytest.approx(-0.5)


def test_a_velocity_and_its_opposite_undo_each_other():
    from STEnhanceLib.motion.fields import composed, exponential

    j, i = torch.meshgrid(torch.arange(32.0), torch.arange(32.0), indexing="ij")
    bump = 4 * torch.exp(-((j - 16) ** 2 + (i - 16) ** 2) / 50)
    velocity = torch.stack([bump, -bump])[None, :, None]
    spacing = (6.0, 1.0, 1.0)
    there, back = exponential(velocity, spacing), exponential(-velocity, spacing)
    assert there.abs().max() > 3
    assert composed(back, there, spacing).abs().max() < 0.2


def test_each_measured_frame_can_be_tested_by_its_neighbours():
    sequence = cycle(12)
    note = run(sequence, "motion", check=True).notes[-1]
    errors = [float(word) for word in note.split(":")[-1].rstrip(" %.").split()]
    assert "frames 1 to 12" in note and len(errors) == 12
    assert max(errors) < 2
    moved = replace(
        sequence, frames=sequence.frames[[0, 1, 5, *range(3, 12)]]
    )  # frame 3 is not what its neighbours expect
    note = run(moved, "motion", check=True).notes[-1]
    assert max(float(word) for word in note.split(":")[-1].rstrip(" %.").split()) > 2 * max(errors)
    once = run(replace(sequence, periodic=False), "motion", check=True).notes[-1]
    assert "frames 2 to 11" in once


def test_two_frames_cannot_be_tested_on_each_other(beating_disc):
    with pytest.raises(STEnhanceError, match="2 frames; expected at least 3 to leave one out"):
        run(beating_disc.with_frames([0, 1]), "motion", check=True)


def test_it_is_the_first_choice_for_filling_in_time():
    assert methods_for(Task.TEMPORAL_INTERPOLATION)[0].key == "motion"


# On real hearts


def test_on_a_real_heart_it_beats_simple_interpolation(stenhance_data):
    cine = files.read(stenhance_data / "cine" / "scd0000301_sax.nii.gz")
    good = replace(cine, frames=cine.frames[:, 4:5, 67:179, 76:188].copy(), periodic=True)
    kept = good.with_frames(np.arange(0, 20, 2))
    missing = np.arange(1, 20, 2)
    truth = good.frames[missing]
    results = {
        key: run(kept, key, times_ms=as_text(good.times_ms)).frames[missing] for key in ("linear", "fourier", "motion")
    }
    for key in ("linear", "fourier"):
        assert gain_db(results["motion"], results[key], truth).mean() > 0.5, key
