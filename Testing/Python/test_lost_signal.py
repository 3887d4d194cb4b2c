"""A frame whose signal was lost, as by a beat at the wrong time: it must not spoil what its neighbours tell."""

from __future__ import annotations

from dataclasses import replace

import numpy as np
import pytest
from test_interpolation_baselines import run
from test_motion import cycle, gain_db

from STEnhanceLib.methods.motion import LEAP_NOTE
from STEnhanceLib.motion import course, leaps
from STEnhanceLib.sequence import ImageSequence

torch = pytest.importorskip("torch", reason="torch is not installed: no motion engine to test")
pytestmark = pytest.mark.usefixtures("one_thread")

LOST = 4


def with_lost_signal(sequence: ImageSequence) -> ImageSequence:
    frames = sequence.frames.copy()
    frames[LOST] *= 0.1
    return replace(sequence, frames=frames)


def test_a_path_ends_where_the_brightness_of_whole_frames_leaps():
    path = course.path_through(range(-1, 3), 40.0 * np.arange(8), 320.0)
    even = np.full(8, 100.0)
    assert leaps.between_leaps(path, 20.0, even) == path
    bright, dark, black = (np.where(np.arange(8) == n, value, 100.0) for n, value in ((7, 151), (2, 66), (2, 0)))
    assert leaps.between_leaps(path, 20.0, bright) == path[1:]
    assert leaps.between_leaps(path, 20.0, dark) == leaps.between_leaps(path, 20.0, black) == path[:3]
    assert leaps.between_leaps(path, 20.0, np.where(np.arange(8) == 1, 10.0, 100.0)) == path[:3], "the gap itself stays"
    assert leaps.between_leaps(path, 20.0, 0 * even) == path


def test_a_frame_that_is_made_anew_takes_nothing_from_beyond_a_leap():
    path = course.path_through(range(2, 7), 40.0 * np.arange(8), None)
    leap = np.where(np.arange(8) == LOST, 10.0, 100.0)
    assert leaps.between_leaps(path, 120.0, leap) == path[:2]
    assert leaps.between_leaps(path, 160.0, leap) == path[2:4], "its neighbour has no share in it"
    assert leaps.between_leaps(path, 200.0, leap) == path[3:]
    assert leaps.between_leaps(path, 240.0, np.where(np.arange(8) == 6, 10.0, 100.0)) == path[3:]
    lost = with_lost_signal(cycle(8))
    result = run(lost, "motion", keep_measured=False).frames[::2]
    assert np.allclose(result.mean((1, 2, 3)), lost.frames.mean((1, 2, 3)), rtol=0.03)


@pytest.mark.parametrize("settings", [{}, {"check": True}])
def test_moments_between_other_frames_gain_by_motion_as_they_did(settings):
    truth, lost = cycle(24), with_lost_signal(cycle(12))
    assert np.array_equal(lost.times_ms, truth.times_ms[::2])
    result, untouched = (run(sequence, "motion", **settings) for sequence in (lost, cycle(12)))
    blend = run(lost, "linear")
    for gap in (LOST - 2, LOST + 1):
        t = 2 * gap + 1
        assert gain_db(result.frames[[t]], blend.frames[[t]], truth.frames[[t]]) > 10
    assert LEAP_NOTE in result.notes and LEAP_NOTE not in untouched.notes


def test_a_whole_cycle_is_fitted_to_all_frames_whatever_their_brightness():
    assert LEAP_NOTE not in run(with_lost_signal(cycle(8)), "motion", whole_cycle=True).notes
