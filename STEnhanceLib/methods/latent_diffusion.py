"""Joint space-time diffusion: frames between measured ones, with finer pixels where wanted, drawn several times."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass

import numpy as np

from STEnhanceLib.assurance.unsupported import fraction
from STEnhanceLib.methods import drawn_moments, learned, output_times
from STEnhanceLib.methods.declaration import EnhancedFrame, Enhancement, Method, Task, parameter
from STEnhanceLib.methods.drawn_moments import Draws, Wanted
from STEnhanceLib.methods.measured_grid import FinerThanMeasured, measured_parameter
from STEnhanceLib.methods.output_times import Moment, OutputTimes
from STEnhanceLib.methods.sampling import SPREAD
from STEnhanceLib.methods.target_grid import FinerGrid
from STEnhanceLib.sequence import Grid, ImageSequence


@dataclass(frozen=True)
class LatentDiffusionParameters(Draws, OutputTimes):
    """The moments to fill in, how fine, and how samples are drawn."""

    enlarge: float = parameter(
        1.0,
        "How many voxels replace one along each in-plane axis; 1 keeps them, and measured frames as they are.",
        minimum=1.0,
        maximum=float(drawn_moments.MOST_TRAINED),
        label="Finer pixels",
    )
    data_consistency: bool = parameter(True, "Keep the frequencies of measured frames exactly as they are.")
    acquired: str = measured_parameter()
    model: str = learned.model_parameter()


def enhance(sequence: ImageSequence, parameters: LatentDiffusionParameters) -> Enhancement:
    """Bring neighbouring frames to each moment, and draw what is sharper than they are.

    Raises:
        STEnhanceError: fewer than two frames, or no such model, or one of another autoencoder.
    """
    moments = parameters.moments(sequence.grid)
    model = drawn_moments.chosen_model(parameters.model)
    fine = FinerGrid(factor=parameters.enlarge).on(sequence.grid)
    notes = [*output_times.notes_on(parameters, sequence, moments), *parameters.notes]
    if parameters.enlarge > 1:
        finer = FinerThanMeasured(factor=parameters.enlarge, acquired=parameters.acquired)
        _, sequence = finer.measured(sequence, notes)
    frames = _frames(sequence, fine, moments, parameters, model, notes)
    models = (model, drawn_moments.AUTOENCODER)
    return Enhancement(output_times.grid_at(moments, fine), frames, notes, models, parameters.maps)


def _frames(  # noqa: PLR0917
    sequence: ImageSequence, fine: Grid, moments: list[Moment], parameters, model: str, notes: list[str]
) -> Iterator[EnhancedFrame]:
    as_measured, measured = fine.shape == sequence.grid.shape, sequence.magnitude()
    finer = FinerGrid(factor=parameters.enlarge)
    wanted = [_wanted(sequence.grid, moment) for moment in moments if moment.fraction > 0 or not as_measured]
    seen, lift = learned.lifted(sequence, notes) if wanted else (sequence, np.float32(0))
    results = drawn_moments.drawn(
        learned.measured_frames(seen, finer, fine.shape[1:], magnitude=True),
        learned.brightness(seen.frames),
        fine,
        wanted,
        parameters,
        model,
        notes,
        consistent=parameters.data_consistency,
    )
    for moment in moments:
        if moment.fraction == 0 and as_measured:
            voxels, spread, unsupported = measured[moment.before], np.zeros(fine.shape, np.float32), 0.0
        else:
            drawn, spread, zero_filled = next(results)
            voxels = drawn - lift
            if as_measured:  # finer pixels undershoot at edges, as what was measured of them does
                voxels = voxels.clip(min=min(measured[n].min() for n in (moment.before, moment.after)))
            unsupported = fraction(drawn - zero_filled, voxels) if moment.fraction == 0 else 1.0
        yield EnhancedFrame(voxels, unsupported, {SPREAD.key: spread} if parameters.maps else {})
    next(results, None)  # lets it say how far samples are spread


def _wanted(grid: Grid, moment: Moment) -> Wanted:
    n = moment.before
    if moment.fraction == 0:
        return drawn_moments.wanted_at(grid, range(n - 1, n + 2), float(grid.times_ms[n]), 0.0)
    return drawn_moments.wanted_at(grid, range(n - 1, n + 3), moment.time_ms, moment.fraction)


METHOD = Method(
    key="latent-diffusion",
    title="Latent diffusion",
    task=Task.TEMPORAL_INTERPOLATION,
    summary="Draws frames and finer pixels together, several times over, and shows where the draws differ.",
    parameters=LatentDiffusionParameters,
    enhance=enhance,
    reference=drawn_moments.REFERENCE,
    requires=("torch", "safetensors"),
    models=drawn_moments.MODELS,
    generative=True,
    preview_frames=4,
    rank=80,
)
