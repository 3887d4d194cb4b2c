"""How long a run still takes, whatever the rhythm in which its method brings frames."""

from __future__ import annotations

import numpy as np
import pytest

from STEnhanceLib.panels.time_left import TimeLeft


class Clock:
    """Goes on when told to."""

    def __init__(self):
        self.now = 100.0

    def __call__(self) -> float:
        return self.now


@pytest.fixture
def clock() -> Clock:
    return Clock()


def estimates(clock, spans, count):
    """Seconds left after each frame, given how long each took."""
    left, found = TimeLeft(clock), []
    left.seconds(0, count, 0.0)
    for done, span in enumerate(spans, start=1):
        clock.now += span
        found.append(left.seconds(done, count, 0.0))
    return left, found


def test_until_the_first_frame_the_share_tells_how_long_it_takes(clock):
    left, _ = estimates(clock, [], 20)
    clock.now += 30
    assert left.seconds(0, 20, 0.25) == pytest.approx(90)
    assert np.isnan(left.seconds(0, 20, 0.01)), "too early to tell"


def test_the_way_to_the_first_frame_is_not_held_against_the_others(clock):
    _, found = estimates(clock, [120, 0.1, 0.1, 0.1], 80)
    assert np.isnan(found[0])
    assert found[3] == pytest.approx(7.6)


def test_frames_that_come_in_bursts_are_not_taken_for_the_end(clock):
    """Four at once after every 10 s: after the first four nothing tells yet, but the share of the fifth does."""
    left, _ = estimates(clock, [10, 0, 0, 0], 16)
    clock.now += 5
    assert left.seconds(4, 16, 0.5) == pytest.approx(5 + 10 / 4 * 11)
    assert left.seconds(4, 16, 0.0) > 10, "and without a share the time that it waits"


def test_time_before_the_plan_does_not_count(clock):
    left = TimeLeft(clock)
    clock.now += 60  # the process starts
    assert np.isnan(left.seconds(0, 0, 0.0))
    clock.now += 10
    assert left.seconds(0, 20, 0.5) == pytest.approx(10)


def test_a_panel_that_was_held_up_does_not_take_the_frame_at_work_for_a_short_one(clock):
    """It sees a frame of 10 s when the next is at 30 %, and from then on what it has seen of that one counts."""
    left, _ = estimates(clock, [10, 10], 6)
    clock.now += 13
    assert left.seconds(3, 6, 0.3) == pytest.approx(3 * 23 / 2), "nothing was seen yet but how long frames took"
    clock.now += 2
    assert left.seconds(3, 6, 0.5) == pytest.approx(5 + 2 * (23 + 10) / 3)


FRAME_S, STEPS = 10.0, 10


def told(clock, spans, shares=True):
    """What is told at every step of the frames after the first: (seconds left, how far off, frames done, share)."""
    left, whole = TimeLeft(clock), sum(spans)
    begin = clock.now
    left.seconds(0, len(spans), 0.0)
    for done, span in enumerate(spans):
        for step in range(STEPS if span else 1):
            share = step / STEPS if shares else 0.0
            seconds = left.seconds(done, len(spans), share)
            if done:
                yield seconds, seconds - (whole - (clock.now - begin)), done, share
            clock.now += span / STEPS if span else 0.0


def test_frames_of_even_steps_are_told_exactly_to_the_end(clock):
    found = [(seconds, off) for seconds, off, done, _share in told(clock, [FRAME_S] * 12) if done > 1]
    assert max(abs(off) for _, off in found) < 1e-6
    assert [seconds for seconds, _ in found] == sorted((seconds for seconds, _ in found), reverse=True)
    assert found[-1][0] == pytest.approx(1), "the last step"


def test_without_shares_too_once_a_frame_has_told_how_long_they_take(clock):
    assert max(abs(off) for _, off, done, _ in told(clock, [FRAME_S] * 12, shares=False) if done > 1) < 1e-6


def test_measured_frames_that_come_at_once_are_not_counted_for_long(clock):
    """As in interpolation by three: one measured frame at once, then two that are computed."""
    whole = 12 * FRAME_S
    found = [(seconds, off, done) for seconds, off, done, _ in told(clock, [0, FRAME_S, FRAME_S] * 6)]
    assert max(abs(off) for _, off, done in found if done >= 5) < 0.2 * whole
    assert max(abs(off) for _, off, done in found if done >= 12) < 0.1 * whole
    assert found[-1][0] < 1.5, "the last step"


def test_a_stall_is_forgotten_while_the_frame_goes_on(clock):
    """A second in the first step of the sixth of twelve frames: what is told is off by less and less."""
    left, _ = estimates(clock, [FRAME_S] * 5, 12)
    clock.now += 1
    off = []
    for step in range(1, STEPS + 1):
        clock.now += FRAME_S / STEPS
        done, share = (5, step / STEPS) if step < STEPS else (6, 0.0)
        off.append(left.seconds(done, 12, share) / (7 * FRAME_S - step) - 1)
    assert off == sorted(off, reverse=True)
    assert off[0] < 0.31 and off[4] < 0.06 and 0 < off[-1] < 0.021
