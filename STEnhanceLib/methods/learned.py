"""What learned methods share: their model and the intensity scale of networks; what those for super-resolution note."""

from __future__ import annotations

import functools
from collections.abc import Callable
from dataclasses import replace

import numpy as np

from STEnhanceLib.errors import STEnhanceError
from STEnhanceLib.methods.consistency import AUTO, OFF
from STEnhanceLib.methods.declaration import Task, parameter
from STEnhanceLib.methods.target_grid import BLOCK_AVERAGE, FinerGrid, shifted
from STEnhanceLib.models import find_model
from STEnhanceLib.sequence import Grid, ImageSequence

BRIGHT = 99.9  # percentile of the magnitude that networks see as 1
ENOUGH = 2**23  # voxels for a percentile
RECIPE = "stenhance train {}"  # as the metadata of models name what made them
OTHER_RECIPE = (
    "The model {} was made by another recipe ({}) than {}, for this use: {}; whether it is used for the same here "
    "could not be checked."
)
FAR_BELOW_ZERO = 0.25  # of the brightness; what a crop of k-space rings below zero is at most half of that
DARKEST = 0.1  # percentile
ROUNDED = 1.03  # a factor of 5 may become 5.1 when matrices are rounded


def model_parameter(part: str = ""):
    """The parameter `model` of every learned method; `part` says for what, where there are several."""
    return parameter("", f"Name of a model of your own to compute with{part}; empty for what comes with STEnhance.")


def chosen_model(wanted: str, shipped: str, network: str, task: Task = Task.SUPER_RESOLUTION) -> str:
    """The name of the model to compute with.

    Raises:
        STEnhanceError: the user wants one that is not there, or one for another network or task.
    """
    if not wanted:
        return shipped
    its_task = find_model(wanted, network).metadata["task"]
    if its_task != task.value:
        raise STEnhanceError(f"The model {wanted} is for {its_task}; expected one for {task.value}, such as {shipped}.")
    return wanted


def notes_on_training(model: str, shipped: str, other: str) -> list[str]:
    """A note where it is not known whether a model learnt what it is used for, else none.

    Args:
        model: a name that `chosen_model` returned.
        shipped: the model that comes with STEnhance for this; whatever its recipe made is as good.
        other: the one of the same network and task that comes for something else.

    Raises:
        STEnhanceError: the recipe of `other` made the model.
    """
    if model == shipped:
        return []
    metadata = find_model(model).metadata
    recipe, use = metadata["training"]["recipe"], metadata["intended_use"].rstrip(".")
    if recipe == RECIPE.format(other):
        raise STEnhanceError(
            f"The model {model} was trained for something else ({use}); expected one that `{RECIPE.format(shipped)}` "
            "made. Name such a model, or none for what comes with STEnhance."
        )
    return [] if recipe == RECIPE.format(shipped) else [OTHER_RECIPE.format(model, recipe, shipped, use)]


def beyond(most: int, source: Grid, grid: Grid, consequence: str) -> list[str]:
    """A note where a network is used for a larger in-plane factor than it was made for, else none."""
    factor = max(new / old for new, old in zip(grid.shape[1:], source.shape[1:], strict=True))
    if factor <= ROUNDED * most:
        return []
    return [f"Pixels were made {factor:.3g} times finer, more than {most} times; {consequence}."]


def brightness(frames: np.ndarray) -> float:
    """The 99.9th percentile of the magnitude; the maximum where that is 0, and 1 where all is dark."""
    found = float(np.percentile(np.abs(_enough(frames)), BRIGHT))
    return found or float(np.abs(frames).max()) or 1.0


def lifted(sequence: ImageSequence, notes: list[str]) -> tuple[ImageSequence, np.float32]:
    """Images with values far below zero, lifted so that the least are dark, as networks know images; others as given.

    Velocity, phase and real parts have such values, which a network that learnt from magnitudes has never seen.

    Args:
        sequence: the input.
        notes: get one where something is added.

    Returns:
        What networks are to see, and what was added, which the caller takes off its result again.
    """
    lift = np.float32(far_below_zero(sequence.frames))
    if not lift:
        return sequence, lift
    notes.append(
        "The images go far below zero, as velocity and phase do, and networks learnt from magnitudes: they saw "
        f"them with {lift:.4g} added."
    )
    return replace(sequence, frames=sequence.frames + lift), lift


def far_below_zero(frames: np.ndarray) -> float:
    """How far values go below zero, where that is more than the ringing of magnitude images; else 0."""
    least = 0.0 if np.iscomplexobj(frames) else float(np.percentile(_enough(frames), DARKEST))
    return -least if least < -FAR_BELOW_ZERO * brightness(frames) else 0.0


def _enough(frames: np.ndarray) -> np.ndarray:
    voxels = frames.reshape(-1)
    return voxels[:: -(-voxels.size // ENOUGH) | 1]  # an odd step meets all columns


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
        voxels = sequence.frames[t]
        if magnitude and np.iscomplexobj(voxels):  # real ones keep their sign, as ringing below zero is part of them
            voxels = np.abs(voxels)
        return np.array(shifted(voxels, first_sample), order="C")  # a copy, since tensors must be writable

    return frame


def notes_on(parameters: FinerGrid, sequence: ImageSequence, complex_images: str) -> list[str]:
    """How the result relates to the measurement, one sentence each.

    Args:
        parameters: with `sampling` and `data_consistency`, true or false, or one of `consistency`.
        sequence: the input.
        complex_images: what happens to them.
    """
    notes = []
    if np.iscomplexobj(sequence.frames):
        notes.append(f"The images are complex; {complex_images}.")
    if parameters.sampling == BLOCK_AVERAGE:
        notes.append("The images were taken as block averages and moved to the first samples of the finer grid.")
    if parameters.data_consistency == AUTO:
        notes.append("The frequencies of the input were kept as far as noise allows; a network predicted those beyond.")
    elif parameters.data_consistency not in (False, OFF):
        notes.append("The frequencies of the input were kept exactly; a network predicted those beyond.")
    else:
        notes.append("A network changed the frequencies of the input, too; all that deviates from it is unsupported.")
    return notes
