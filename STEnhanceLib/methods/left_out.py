"""How well measured frames come back from their neighbours: each is left out once and made from the others."""

from __future__ import annotations

from collections.abc import Callable

import numpy as np

from STEnhanceLib import progress
from STEnhanceLib.errors import STEnhanceError
from STEnhanceLib.methods.declaration import SideMap, parameter
from STEnhanceLib.methods.output_times import Moment, path_through
from STEnhanceLib.sequence import Grid

FEWEST = 3
CLEARLY = 0.85  # times the error: noise, and frames twice as far apart as they are, favour a blend by up to a tenth
ERROR_MAP = SideMap("left-out-error", "error when left out")


def check_parameter():
    """The parameter `check` of methods that can be tested so."""
    return parameter(
        False,
        "Also leave out each measured frame in turn, interpolate it from its neighbours, and keep by how much that is "
        "off, as a map beside each frame and as a note: between frames half as far apart it will be better.",
        label="Test on measured frames",
    )


def refuse_too_few(grid: Grid) -> None:
    """Of what is to be tested.

    Raises:
        STEnhanceError: there are fewer than three frames.
    """
    if len(grid) < FEWEST:
        raise STEnhanceError(
            f"The sequence has {len(grid)} frames; expected at least {FEWEST} to leave one out and interpolate it from "
            "its neighbours. Switch check off."
        )


def with_neighbours(grid: Grid) -> range:
    """The frames that have others on both sides."""
    return range(len(grid)) if grid.periodic else range(1, len(grid) - 1)


class LeftOut:
    """Measured frames made from the others, each when it is first asked for.

    Args:
        frames: (T, K, J, I) float32.
        grid: when they were taken.
        remade: one of these made from the others, (K, J, I), by its number.
    """

    def __init__(self, frames: np.ndarray, grid: Grid, remade: Callable[[int], np.ndarray]):
        self.frames, self.grid, self.remade = frames, grid, remade
        self.numbers = with_neighbours(grid)
        self._maps: dict[int, np.ndarray] = {}

    def numbers_for(self, moment: Moment) -> list[int]:
        """Of the frames whose errors tell about a moment."""
        return list(dict.fromkeys(self._around(moment)))

    def map_at(self, moment: Moment) -> np.ndarray:
        """(K, J, I) float32, the absolute error on the intensity scale of the frames.

        At a measured moment that of its frame, between two moments theirs weighted by time; at the ends of what is no
        cycle that of the nearest frame that has one.
        """
        before, after = (self._map(n) for n in self._around(moment))
        return before + np.float32(moment.fraction) * (after - before)

    def notes(self) -> list[str]:
        """Of all frames, those that were not asked for included."""
        scale = float(np.percentile(self.frames, 99.9)) or 1.0
        errors, blended = [], []
        for done, n in enumerate(self.numbers):
            if n not in self._maps:
                progress.tell(f"testing frame {n + 1}", done / len(self.numbers))
            for found, error in ((errors, self._map(n)), (blended, self._blend(n) - self.frames[n])):
                found.append(100 * float(np.sqrt(np.mean(np.square(error)))) / scale)
        worst = self.numbers[int(np.argmax(errors))]
        notes = [
            "Measured frames that were left out in turn came back from their neighbours with root mean square errors "
            f"of {np.mean(errors):.2f} % of the 99.9th percentile, at most {max(errors):.2f} % in frame {worst + 1}; "
            f"frames {self.numbers[0] + 1} to {self.numbers[-1] + 1}: {' '.join(f'{error:.2f}' for error in errors)} %."
        ]
        if np.mean(blended) < CLEARLY * np.mean(errors):
            notes.insert(
                0,
                f"A linear blend of the same neighbours came closer, with {np.mean(blended):.2f} %: over that time the "
                "motion in these images was not followed rightly, and linear may be the better method for them.",
            )
        if len(self.numbers) < len(self.frames):
            notes.insert(
                0,
                "The first and the last frame have a neighbour on one side only: their error maps are those of the "
                "next frame.",
            )
        return notes

    def _around(self, moment: Moment) -> tuple[int, int]:
        first, last = self.numbers[0], self.numbers[-1]
        after = moment.before if moment.fraction == 0 else moment.after
        return tuple(min(max(n, first), last) for n in (moment.before, after))

    def _blend(self, n: int) -> np.ndarray:
        before, itself, after = path_through((n - 1, n, n + 1), self.grid)
        fraction = (itself.time_ms - before.time_ms) / (after.time_ms - before.time_ms)
        first, last = self.frames[before.frame], self.frames[after.frame]
        return first + np.float32(fraction) * (last - first)

    def _map(self, n: int) -> np.ndarray:
        if n not in self._maps:
            self._maps[n] = np.abs(self.remade(n) - self.frames[n])
        return self._maps[n]
