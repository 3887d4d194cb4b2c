"""What the learned super-resolution methods share: their model, the intensity scale of networks, and what they note."""

from __future__ import annotations

import functools
from collections.abc import Callable

import numpy as np

from STEnhanceLib.methods.declaration import parameter
from STEnhanceLib.methods.target_grid import BLOCK_AVERAGE, FinerGrid, shifted
from STEnhanceLib.models import find_model
from STEnhanceLib.sequence import ImageSequence

BRIGHT = 99.9  # percentile of the magnitude that networks see as 1
ENOUGH = 2**23  # voxels for a percentile


def model_parameter():
    """The parameter `model` of every learned method."""
    return parameter("", "Name of a model of your own to compute with; empty for the one that comes with STEnhance.")


def chosen_model(wanted: str, shipped: str, network: str) -> str:
    """The name of the model to compute with.

    Raises:
        STEnhanceError: the user wants one that is not there, or one for another network.
    """
    return find_model(wanted, network).name if wanted else shipped


def brightness(frames: np.ndarray) -> float:
    """The 99.9th percentile of the magnitude; the maximum where that is 0, and 1 where all is dark."""
    voxels = frames.reshape(-1)
    magnitude = np.abs(voxels[:: -(-voxels.size // ENOUGH) | 1])  # an odd step meets all columns
    found = float(np.percentile(magnitude, BRIGHT))
    return found or float(np.abs(frames).max()) or 1.0


def measured_frames(
    sequence: ImageSequence, parameters: FinerGrid, shape_ji: tuple[int, int], *, magnitude: bool
) -> Callable[[int], np.ndarray]:
    """The frames of the input where the samples of a k-space crop would lie: (K, J, I) by index, the last three kept.

    Args:
        sequence: the input.
        parameters: tell how it was sampled.
        shape_ji: the in-plane matrix of the result.
        magnitude: of complex images.
    """
    first_sample = parameters.first_sample(sequence.grid.shape[1:], shape_ji)

    @functools.lru_cache(maxsize=3)
    def frame(t: int) -> np.ndarray:
        voxels = np.abs(sequence.frames[t]) if magnitude else sequence.frames[t]
        return np.ascontiguousarray(shifted(voxels, first_sample))

    return frame


def notes_on(parameters: FinerGrid, sequence: ImageSequence, complex_images: str) -> list[str]:
    """How the result relates to the measurement, one sentence each.

    Args:
        parameters: with `sampling` and `data_consistency`.
        sequence: the input.
        complex_images: what happens to them.
    """
    notes = []
    if np.iscomplexobj(sequence.frames):
        notes.append(f"The images are complex; {complex_images}.")
    if parameters.sampling == BLOCK_AVERAGE:
        notes.append("The images were taken as block averages and moved to the first samples of the finer grid.")
    if parameters.data_consistency:
        notes.append("The frequencies of the input were kept exactly; a network predicted those beyond.")
    else:
        notes.append("A network changed the frequencies of the input, too; all that deviates from it is unsupported.")
    return notes
