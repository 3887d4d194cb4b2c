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
