"""Images on the grid on which they were measured, and results back on the one that is shown.

Scanners show more voxels than they measured. Undoing that zero-fill is exact for the frequencies that were measured,
and their filter can be undone as far as it left something. What magnitude images hold beyond the measured frequencies
is what taking the magnitude brought there.
"""

from __future__ import annotations

from dataclasses import dataclass, replace

import numpy as np

from STEnhanceLib.acquisition import acquired as facts
from STEnhanceLib.acquisition import centre_crop, windows
from STEnhanceLib.acquisition.acquired import Acquired
from STEnhanceLib.methods.declaration import parameter
from STEnhanceLib.methods.target_grid import KSPACE_CROP, FinerGrid
from STEnhanceLib.sequence import ImageSequence

LOWEST = 0.1  # of a filter: beyond, its inverse would multiply what is not signal by more than ten


def measured_parameter():
    """The parameter `acquired` of every method that sees images on their measured grid."""
    return parameter(
        "",
        "The matrix that the scanner measured, rows × columns such as 224x160, where you know better than what was "
        "found; 'shown' where it interpolated nothing.",
        label="Measured matrix",
    )


@dataclass(frozen=True)
class FinerThanMeasured(FinerGrid):
    """How fine, counted from the grid that is shown, and what of that was measured."""

    acquired: str = measured_parameter()

    def measured(self, sequence: ImageSequence, notes: list[str]) -> tuple[Acquired | None, ImageSequence]:
        """What is known of the scan, and the images on the grid on which they were measured.

        Args:
            sequence: as shown.
            notes: get what was found, where that differs from what is shown.

        Returns:
            None and the sequence itself for block averages, which no scanner measures.

        Raises:
            STEnhanceError: `acquired` is no matrix that could have been measured.
        """
        if self.sampling != KSPACE_CROP:
            return None, sequence
        found = facts.estimate(sequence, self.acquired)
        notes += found.notes
        if found.interpolated or is_filtered(found):
            notes.append(f"The images were taken back to what was measured: {found.line()}.")
        return found, unfiltered(on_measured_grid(sequence, found), found)


def on_measured_grid(sequence: ImageSequence, found: Acquired) -> ImageSequence:
    """The same field of view on the matrix that was measured; exact for a zero-fill. The sequence itself if native."""
    if not found.interpolated:
        return sequence
    grid = sequence.grid.resampled((sequence.grid.shape[0], *found.measured_ji))
    frames = np.stack([centre_crop.crop(frame, found.measured_ji) for frame in sequence.frames])
    return replace(sequence, frames=frames, ijk_to_ras=grid.ijk_to_ras)


def unfiltered(measured: ImageSequence, found: Acquired) -> ImageSequence:
    """Images on the measured grid with the scanner's filter undone."""
    if not is_filtered(found):
        return measured
    return replace(
        measured, frames=windows.filtered(measured.frames, inverse(found.window())).astype(measured.frames.dtype)
    )


def is_filtered(found: Acquired) -> bool:
    """Whether the scanner lowered some of the frequencies that it measured."""
    return bool((found.window() != 1).any())


def inverse(window: np.ndarray) -> np.ndarray:
    """(j, i) float32: what undoes a filter; 0 where it left less than a tenth, as in corners that were cut."""
    return np.where(window >= LOWEST, 1 / np.maximum(window, LOWEST), 0).astype(np.float32)
