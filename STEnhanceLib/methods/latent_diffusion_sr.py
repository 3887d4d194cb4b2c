"""Joint space-time diffusion for the measured frames alone: finer pixels, drawn several times."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass

from STEnhanceLib.assurance.unsupported import fraction
from STEnhanceLib.methods import drawn_moments, learned
from STEnhanceLib.methods.declaration import EnhancedFrame, Enhancement, Method, Task, parameter
from STEnhanceLib.methods.drawn_moments import Draws, Wanted
from STEnhanceLib.methods.measured_grid import FinerThanMeasured
from STEnhanceLib.methods.sampling import SPREAD
from STEnhanceLib.sequence import Grid, ImageSequence


@dataclass(frozen=True)
class LatentDiffusionSrParameters(Draws, FinerThanMeasured):
    """How fine, what may help, and how samples are drawn."""

    data_consistency: bool = parameter(True, "Keep the frequencies that were measured exactly as they are.")
    neighbours: bool = parameter(True, "Use the frames before and after each one, registered to it.")
    model: str = learned.model_parameter()


def enhance(sequence: ImageSequence, parameters: LatentDiffusionSrParameters) -> Enhancement:
    """Draw each frame on a finer grid, with the help of its neighbours.

    Raises:
        STEnhanceError: the target spacing cannot be reached, or no such model, or one of another autoencoder.
    """
    fine = parameters.on(sequence.grid)
    model = drawn_moments.chosen_model(parameters.model)
    notes = learned.notes_on(parameters, sequence, "their magnitude was sharpened")
    _, sequence = parameters.measured(sequence, notes)
    notes += learned.beyond(drawn_moments.MOST_TRAINED, sequence.grid, fine, "the network was hardly trained for that")
    notes += parameters.notes
    frames = _frames(sequence, fine, parameters, model, notes)
    return Enhancement(fine, frames, notes, (model, drawn_moments.AUTOENCODER), parameters.maps)


def _frames(
    sequence: ImageSequence, fine: Grid, parameters: LatentDiffusionSrParameters, model: str, notes: list[str]
) -> Iterator[EnhancedFrame]:
    sequence, lift = learned.lifted(sequence, notes)
    results = drawn_moments.drawn(
        learned.measured_frames(sequence, parameters, fine.shape[1:], magnitude=True),
        learned.brightness(sequence.frames),
        fine,
        [_wanted(sequence.grid, n, parameters.neighbours) for n in range(len(sequence))],
        parameters,
        model,
        notes,
        consistent=parameters.data_consistency,
    )
    for drawn, spread, zero_filled in results:
        maps = {SPREAD.key: spread} if parameters.maps else {}
        voxels = drawn - lift
        yield EnhancedFrame(voxels, fraction(drawn - zero_filled, voxels), maps)


def _wanted(grid: Grid, n: int, neighbours: bool) -> Wanted:
    frames = (n - 1, n, n + 1) if neighbours and len(grid) > 1 else (n,)
    return drawn_moments.wanted_at(grid, frames, float(grid.times_ms[n]), 0.0)


METHOD = Method(
    key="latent-diffusion-sr",
    title="Latent diffusion",
    task=Task.SUPER_RESOLUTION,
    summary="Draws finer pixels several times over, and shows where the draws differ: plausible, not measured.",
    parameters=LatentDiffusionSrParameters,
    enhance=enhance,
    reference=drawn_moments.REFERENCE,
    requires=("torch", "safetensors"),
    models=drawn_moments.MODELS,
    generative=True,
    preview_frames=3,
    rank=80,
)
