"""How long a run still takes, from what it has done so far."""

from __future__ import annotations

import math
import time
from collections.abc import Callable

LEAST_SHARE = 0.02  # of the way to a frame, before it tells how long that way is


class TimeLeft:
    """Follows one run.

    Methods differ: some compute everything before the first frame, some frame by frame, some in bursts, and measured
    frames come at once. So until the first frame only the way to it can be told; from then on frames take as long as
    they took on average since, and the one at work as long as its share tells.

    Args:
        clock: seconds.
    """

    def __init__(self, clock: Callable[[], float] = time.monotonic):
        self._clock = clock
        self._first = self._last = clock()
        self._done = self._done_at_first = 0
        self._share_at_last = 0.0

    def seconds(self, done: int, count: int, share: float) -> float:
        """Until the first frame where there is none yet, else until the last one; NaN while unknown.

        Args:
            done: frames that are finished; to be told in order, as they come.
            count: of all; 0 until the method has planned them.
            share: of the way to the next frame, 0 … 1; 0 where the method does not tell.
        """
        now = self._clock()
        if not count:
            self._last = now  # nothing is computed yet
            return math.nan
        if done != self._done:
            if not self._done:
                self._first, self._done_at_first = now, done
            self._done, self._last, self._share_at_last = done, now, share
        waited, part = now - self._last, share - self._share_at_last  # seen: a frame may come late, the next begun
        whole = waited / part if part >= LEAST_SHARE else math.nan  # of the frame at work
        rest = whole * (1 - share)
        if not done:
            return rest
        took, since_first = self._last - self._first, done - self._done_at_first
        if math.isfinite(whole):
            typical = (took + whole) / (since_first + 1)
            return rest + typical * (count - done - 1)
        if not since_first:
            return math.nan
        typical = max(took / since_first, (took + waited) / (since_first + 1))  # a long wait counts too
        return typical * (count - done) - min(waited, typical)
