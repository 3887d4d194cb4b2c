"""Images on the grid on which they were measured, and results back on the one that is shown.

Scanners show more voxels than they measured. Undoing that zero-fill is exact for the frequencies that were measured.
What magnitude images hold beyond them is what taking the magnitude brought there.
"""

from __future__ import annotations

from dataclasses import replace

import numpy as np

from STEnhanceLib.acquisition import centre_crop
from STEnhanceLib.acquisition.acquired import SHOWN, Acquired, estimate
from STEnhanceLib.methods.declaration import parameter
from STEnhanceLib.sequence import ImageSequence


def measured_parameter():
    """The parameter `acquired` of methods that look at images on the grid on which they were measured."""
    return parameter(
        "",
        "The matrix that was measured, rows x columns such as 224x160, where scanner and images are known to be wrong "
        f"about it; {SHOWN!r} if nothing was interpolated; empty to find out.",
    )


def on_measured_grid(sequence: ImageSequence, wanted: str) -> tuple[Acquired, ImageSequence]:
    """What was measured of a sequence, and the sequence on that grid; as given where nothing was interpolated.

    Args:
        sequence: magnitude, signed or complex images.
        wanted: of the user, see `acquired.estimate`.

    Raises:
        STEnhanceError: `wanted` is no matrix, or larger than what is shown.
    """
    acquired = estimate(sequence, wanted)
    if not acquired.interpolated:
        return acquired, sequence
    grid = sequence.grid.resampled((sequence.grid.shape[0], *acquired.measured_ji))
    frames = np.stack([centre_crop.crop(frame, acquired.measured_ji) for frame in sequence.frames])
    return acquired, replace(sequence, frames=frames, ijk_to_ras=grid.ijk_to_ras)


def back(frame: np.ndarray, shown_ji: tuple[int, int]) -> np.ndarray:
    """(…, J, I) of a result on the measured grid, zero-filled to the shown one."""
    return centre_crop.zero_fill(frame, shown_ji)


def beyond(shown: np.ndarray, measured_ji: tuple[int, int]) -> np.ndarray:
    """What shown frames (…, J, I) hold at frequencies that were not measured."""
    return shown - centre_crop.zero_fill(centre_crop.crop(shown, measured_ji), shown.shape[-2:])
