"""`Comparison`: a sequence before and after enhancement, brought onto one grid, one time axis, and scored."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, replace
from functools import cached_property

import numpy as np

from STEnhanceLib.errors import STEnhanceError
from STEnhanceLib.evaluation.alignment import common_times, frames_at, interpolated
from STEnhanceLib.evaluation.metrics import Scores, heart_box, score
from STEnhanceLib.origin import origins_of
from STEnhanceLib.sequence import Grid, ImageSequence


@dataclass(frozen=True, eq=False)
class Comparison:
    """What one section of a report shows.

    Attributes:
        title: of the section.
        before: the input, at any resolution in space and time.
        results: one per method, in the order of the columns.
        reference: the truth; on the grid of the results. None where there is none.
        heart_centre_xy: (i, j) voxel index in the reference (without one: the first result) of the heart box.
        unsupported: for every result, on its grid, how much of each voxel the measurement does not support, 0 measured
            … 1 invented; None where nobody computed it; empty where that holds for all.
        maps: for every result, what else its method maps, with `SideMap.attributes`; empty where none does.

    Raises:
        STEnhanceError: there is no result, or the centre lies outside of the image.
    """

    title: str
    before: ImageSequence
    results: Sequence[ImageSequence]
    reference: ImageSequence | None = None
    heart_centre_xy: tuple[float, float] | None = None
    unsupported: Sequence[ImageSequence | None] = ()
    maps: Sequence[Sequence[ImageSequence]] = ()

    def __post_init__(self):
        if not self.results:
            raise STEnhanceError(f"The comparison {self.title!r} has no result; expected at least one.")
        object.__setattr__(self, "results", tuple(self.results))
        object.__setattr__(self, "unsupported", tuple(self.unsupported) or (None,) * len(self.results))
        self.box  # noqa: B018  a centre outside of the image is told at once

    @property
    def display(self) -> ImageSequence:
        """The sequence whose grid the pictures share: the reference, or else the first result."""
        return self.reference or self.results[0]

    @cached_property
    def box(self) -> tuple[slice, slice] | None:
        """Rows and columns of the heart box on the grid of `display`."""
        return heart_box(self.heart_centre_xy, self.display.grid.shape) if self.heart_centre_xy is not None else None

    @cached_property
    def labels(self) -> tuple[str, ...]:
        """What to call each result: its method, or its own name where the method is unknown or taken twice."""
        titles = [result.attributes.get("STEnhance.MethodTitle") or result.name for result in self.results]
        names = (r.name if titles.count(title) > 1 else title for title, r in zip(titles, self.results, strict=True))
        return tuple(name or f"Result {number}" for number, name in enumerate(names, start=1))

    @cached_property
    def times_ms(self) -> np.ndarray:
        """The common time axis: every moment at which any sequence has a frame."""
        sequences = (self.before, *self.results, *([self.reference] if self.reference else []))
        return common_times(sequence.grid for sequence in sequences)

    @cached_property
    def measured(self) -> np.ndarray:
        """Whether `before` has a frame that was measured, at each time of the common axis."""
        index = frames_at(self.before.grid, self.times_ms)
        generated = np.array([origin.generated for origin in origins_of(self.before)])
        return (index >= 0) & ~generated[index]

    def interpolated_before(self, grid: Grid) -> np.ndarray:
        """`before` at the voxels and times of `grid`, what no method at all would give; (T, K, J, I) float32."""
        return interpolated(self.before, grid)

    @cached_property
    def scored_frames(self) -> np.ndarray:
        """Indices of the frames of the reference that count.

        Those that every result has; where the results fill in frames that `before` lacks, only the filled-in ones,
        for copying what was measured is no merit.
        """
        everywhere = np.all([frames_at(r.grid, self.reference.times_ms) >= 0 for r in self.results], axis=0)
        filled_in = everywhere & (frames_at(self.before.grid, self.reference.times_ms) < 0)
        return np.flatnonzero(filled_in if filled_in.any() else everywhere)

    @cached_property
    def scores(self) -> tuple[Scores, ...]:
        """Of the linearly interpolated input first, then of every result; empty without a reference.

        Raises:
            STEnhanceError: a result is not on the reference's grid, or they have no moment in common.
        """
        if self.reference is None:
            return ()
        if not len(self.scored_frames):
            raise STEnhanceError(
                f"In {self.title!r}, no moment has a frame in the reference and in every result; expected common "
                "times. Enhance to the times of the reference, or give the reference that belongs to the results."
            )
        baseline = replace(self.reference, frames=self.interpolated_before(self.reference.grid))
        candidates = [baseline, *(self._at_reference_times(result) for result in self.results)]
        return tuple(score(candidate, self.reference, self.box, self.scored_frames) for candidate in candidates)

    def _at_reference_times(self, result: ImageSequence) -> ImageSequence:
        """The result with one frame per frame of the reference; where it has none the reference's, never scored."""
        if result.grid.shape != self.reference.grid.shape:
            return result  # `score` refuses it in clear words
        index = frames_at(result.grid, self.reference.times_ms)
        frames = np.where((index >= 0)[:, None, None, None], result.magnitude()[index], self.reference.magnitude())
        return replace(self.reference, frames=frames, ijk_to_ras=result.ijk_to_ras)
