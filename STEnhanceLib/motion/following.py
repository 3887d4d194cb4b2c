"""Where the tissue of the first frame has gone, moment by moment, along the motion between neighbouring frames."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
import torch

from STEnhanceLib.motion import course, fields
from STEnhanceLib.motion.course import Place
from STEnhanceLib.motion.trajectories import MovingFrames


class TissueOfFirstFrame:
    """The displacement of each piece of tissue from its place in the first frame.

    In a cycle it is followed onwards as well as back from the first frame, and the two are weighted by how near they
    are in time, so that all of it has come back when the cycle ends.

    Args:
        moving: the frames.
        places: all of them in the order of time; of a cycle the first one once more at the end.
        ijk_to_ras: (4, 4) of the frames.
    """

    def __init__(self, moving: MovingFrames, places: Sequence[Place], ijk_to_ras: np.ndarray):
        self.moving, self.places = moving, places
        self.closes = places[0].frame == places[-1].frame
        self._directions = ijk_to_ras[:3, :3] / np.linalg.norm(ijk_to_ras[:3, :3], axis=0)
        self._onwards: list[torch.Tensor] = []
        self._back: list[torch.Tensor] = []

    @torch.no_grad()
    def at(self, n: int, fraction: float, path: Sequence[Place]) -> np.ndarray:
        """Where tissue has gone at a fraction of the way from frame n to the next one.

        Args:
            path: as for `MovingFrames.at`; empty where tissue is at the places that it was measured at in frame n.

        Returns:
            (3, K, J, I) float32 in mm along right, anterior and superior, to be added to the places of the voxels in
            the first frame.
        """
        if n == 0 and not path:
            return np.zeros((3, *self.moving.shape), np.float32)
        self._follow(n)
        times = course.times(self.places)
        time_ms = times[n] + fraction * (times[n + 1] - times[n]) if fraction else times[n]
        if self.moving.cycle_ms is not None and not self.moving.through_measured:
            gone = self._fitted(time_ms)
        else:
            gone = self._gone(n, time_ms, self.moving.step(path, time_ms) if fraction else None)
        along = self.moving.fine(gone)[0].flip(0).cpu().numpy()  # (i, j) or (i, j, k)
        return np.tensordot(self._directions[:, : len(along)], along, 1).astype(np.float32)

    def _gone(self, n: int, time_ms: float, step: torch.Tensor | None = None) -> torch.Tensor:
        """On the control grid, a step beyond frame n."""
        spacing = self.moving.control_spacing()

        def stepped(way: torch.Tensor) -> torch.Tensor:
            return way if step is None else fields.composed(step, way, spacing)

        onwards = stepped(self._onwards[n])
        if not self.closes:
            return onwards
        first, last = self.places[0].time_ms, self.places[-1].time_ms
        return onwards + (time_ms - first) / (last - first) * (stepped(self._back[n]) - onwards)

    def _fitted(self, time_ms: float) -> torch.Tensor:
        """By harmonics of the cycle, on the control grid."""
        once = self.places[:-1]
        self._follow(len(once) - 1)
        weights = course.harmonics(once, time_ms, self.moving.cycle_ms)
        return sum(float(weight) * self._gone(n, once[n].time_ms) for n, weight in enumerate(weights))

    def _follow(self, n: int) -> None:
        """Make sure that it is known where tissue is in frame n."""
        ends = course.pairs(self.places)
        self.moving.register(ends if self.closes else ends[: max(n, 1)])
        spacing = self.moving.control_spacing()
        if not self._onwards:
            self._onwards.append(torch.zeros_like(self.moving.way(*ends[0])))
        for first, second in ends[len(self._onwards) - 1 : n]:
            self._onwards.append(fields.composed(self.moving.way(first, second), self._onwards[-1], spacing))
        if self.closes and not self._back:
            self._back.append(torch.zeros_like(self._onwards[0]))
            for first, second in reversed(ends):
                self._back.insert(0, fields.composed(self.moving.way(second, first), self._back[0], spacing))
