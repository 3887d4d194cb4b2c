"""How well measured frames come back from their neighbours: each is left out once and made along the paths."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import TYPE_CHECKING

import numpy as np

from STEnhanceLib import progress
from STEnhanceLib.methods.declaration import SideMap
from STEnhanceLib.methods.output_times import Moment

if TYPE_CHECKING:
    from STEnhanceLib.motion.course import Place
    from STEnhanceLib.motion.trajectories import MovingFrames

ERROR_MAP = SideMap("left-out-error", "error when left out")


class LeftOut:
    """Measured frames made from the others, each when it is first asked for.

    Args:
        moving: the frames.
        paths: of each frame that has neighbours on both sides, by its index in the order of time, the path along them.
        times_ms: of all frames.
    """

    def __init__(self, moving: MovingFrames, paths: Mapping[int, Sequence[Place]], times_ms: np.ndarray):
        self.moving, self.paths, self.times_ms = moving, paths, times_ms
        self._maps: dict[int, np.ndarray] = {}

    def paths_for(self, moment: Moment) -> list[Sequence[Place]]:
        """Of the frames whose errors tell about a moment."""
        return [self.paths[n] for n in dict.fromkeys(self._frames(moment))]

    def map_at(self, moment: Moment) -> np.ndarray:
        """(K, J, I) float32, the absolute error on the intensity scale of the frames.

        At a measured moment that of its frame, between two moments theirs weighted by time; at the ends of what is no
        cycle that of the nearest frame that has one.
        """
        before, after = (self._map(n) for n in self._frames(moment))
        return before + np.float32(moment.fraction) * (after - before)

    def notes(self) -> list[str]:
        """Of all frames, those that were not asked for included."""
        scale = float(np.percentile(self.moving.frames, 99.9)) or 1.0
        errors = []
        for done, n in enumerate(self.paths):
            if n not in self._maps:
                progress.tell(f"testing frame {n + 1}", done / len(self.paths))
            errors.append(100 * float(np.sqrt(np.mean(np.square(self._map(n))))) / scale)
        left_out = list(self.paths)
        worst = left_out[int(np.argmax(errors))]
        notes = [
            "Measured frames that were left out in turn came back from their neighbours with root mean square errors "
            f"of {np.mean(errors):.2f} % of the 99.9th percentile, at most {max(errors):.2f} % in frame {worst + 1}; "
            f"frames {left_out[0] + 1} to {left_out[-1] + 1}: {' '.join(f'{error:.2f}' for error in errors)} %."
        ]
        if len(left_out) < len(self.times_ms):
            notes.insert(
                0,
                "The first and the last frame have a neighbour on one side only: their error maps are those of the "
                "next frame.",
            )
        return notes

    def _frames(self, moment: Moment) -> tuple[int, int]:
        first, last = min(self.paths), max(self.paths)
        after = moment.before if moment.fraction == 0 else moment.after
        return tuple(min(max(n, first), last) for n in (moment.before, after))

    def _map(self, n: int) -> np.ndarray:
        if n not in self._maps:
            remade = self.moving.at(self.paths[n], self.times_ms[n]).voxels
            self._maps[n] = np.abs(remade - self.moving.frames[n])
        return self._maps[n]
