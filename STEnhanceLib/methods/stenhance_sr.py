"""STEnhance-SR: finer pixels and thinner slices from a frame, its neighbours and a prior, true to what was measured."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass, replace

import numpy as np

from STEnhanceLib.acquisition.thick_slices import fine_slices
from STEnhanceLib.assurance.unsupported import fraction
from STEnhanceLib.errors import STEnhanceError
from STEnhanceLib.methods import align_slices, in_plane, learned, through_plane
from STEnhanceLib.methods import prior as priors
from STEnhanceLib.methods.declaration import EnhancedFrame, Enhancement, Method, Need, Task, parameter
from STEnhanceLib.methods.noise_over_time import noise_over_time
from STEnhanceLib.methods.placement import Placement
from STEnhanceLib.methods.target_grid import FinerGrid
from STEnhanceLib.sequence import Grid, ImageSequence

IN_PLANE, THROUGH_PLANE = "stenhance-sr", "stenhance-sr-through-plane"
NETWORK = "stenhance-sr"
MOST_TRAINED = 5  # in-plane
LEAST_SLICE_FACTOR = 1.5  # below, slices overlap so much that telling them apart multiplies noise
NOISY = 1.5  # per cent of the brightness; at 1 the heart is as good either way, at 2 it is better without
KEPT_NOISE = (
    "The images flicker by noise of about {:.1f} % of their brightness, which data consistency keeps; in tests with "
    "as much of it, results without data consistency were nearer to the truth."
)


@dataclass(frozen=True)
class StenhanceSrParameters(FinerGrid):
    """How fine, and what may help."""

    slice_factor: float = parameter(
        1.0,
        "How many thin slices replace a thick one: 1 keeps the slices, else from 1.5. For display rather than for "
        "detail: against measured planes, thinner slices showed hardly more than interpolation.",
        minimum=1.0,
        maximum=4.0,
    )
    position_error_mm: float = parameter(
        through_plane.POSITION_ERROR_MM,
        "How far slices lie from where they should, because each was measured in a breath-hold of its own; larger adds "
        "less detail across slices, 0 is for stacks that were measured at once.",
        minimum=0.0,
        maximum=20.0,
        unit="mm",
        label="Slices lie off by",
    )
    align: bool = parameter(
        False,
        "Move slices that lie beside their neighbours back within their planes before they are made thinner.",
        label="Align slices first",
    )
    data_consistency: bool = parameter(
        True,
        "Keep the frequencies that were measured exactly as they are, with their noise; images with 2 % noise or more, "
        "and filtered ones, come out better without.",
    )
    neighbours: bool = parameter(True, "Use the frames before and after each one, aligned to it.")
    model: str = learned.model_parameter(" (the pixels, or the slices where pixels stay as they are)")

    def on(self, source: Grid) -> Grid:
        """The grid of the result; the first slices coincide.

        Raises:
            STEnhanceError: as for the in-plane grid, or slices that cannot be made thinner.
        """
        grid, thick, factor = super().on(source), source.shape[0], self.slice_factor
        if factor == 1:
            return grid
        if factor < LEAST_SLICE_FACTOR or thick < 2:
            raise STEnhanceError(
                f"A slice factor of {factor:g} was given for {thick} slice{'s' if thick > 1 else ''}; expected 1, or "
                f"from {LEAST_SLICE_FACTOR:g} to 4 for at least 2 slices."
            )
        matrix = grid.ijk_to_ras @ np.diag([1.0, 1.0, 1 / factor, 1.0])
        return replace(grid, shape=(fine_slices(thick, factor), *grid.shape[1:]), ijk_to_ras=matrix)


def enhance(
    sequence: ImageSequence, parameters: StenhanceSrParameters, prior: ImageSequence | None = None
) -> Enhancement:
    """Sharpen each slice in-plane, then the stack across slices; what was measured is put back after both.

    Of complex images the networks see the magnitude, as in their training. Their results get the phase of the
    interpolated images before the measured real and imaginary parts are put in place; the magnitude is returned.

    Raises:
        STEnhanceError: the slices cannot be made thinner, the prior lies elsewhere, or there is no such model.
    """
    grid, in_plane_grid = parameters.on(sequence.grid), FinerGrid.on(parameters, sequence.grid)
    notes = learned.notes_on(parameters, sequence, "their magnitude was sharpened and got the interpolated phase")
    stack = through_plane.Stack.of(sequence, in_plane_grid.spacing_mm[:2], parameters.position_error_mm)
    finer = thinner = sharp = None
    if in_plane_grid.shape != sequence.grid.shape:
        finer = learned.chosen_model(parameters.model, IN_PLANE, NETWORK)
        notes += learned.notes_on_training(finer, IN_PLANE, THROUGH_PLANE)
        notes += learned.beyond(MOST_TRAINED, sequence.grid, in_plane_grid, "the network was not trained for that")
        if prior is not None:
            sharp, of_prior = priors.prepared(prior, sequence, in_plane_grid)
            notes += of_prior
    elif prior is not None:
        notes.append("The prior was not used, because the pixels stay as they are.")
    if parameters.slice_factor != 1:
        thinner = learned.chosen_model("" if finer else parameters.model, THROUGH_PLANE, NETWORK)
        notes += learned.notes_on_training(thinner, THROUGH_PLANE, IN_PLANE)
        notes += stack.notes()
    models = tuple(model for model in (finer, thinner) if model)
    if not models:
        notes = ["Neither finer pixels nor thinner slices were asked for, so the images are as they were."]
    frames = _frames(
        sequence, parameters, in_plane_grid.shape[1:], sharp, stack, finer=finer, thinner=thinner, notes=notes
    )
    return Enhancement(grid, frames, notes, models)


def _frames(
    sequence: ImageSequence,
    parameters: StenhanceSrParameters,
    shape_ji: tuple[int, int],
    sharp: np.ndarray | None,
    stack: through_plane.Stack,
    *,
    finer: str | None,
    thinner: str | None,
    notes: list[str],
) -> Iterator[EnhancedFrame]:
    if thinner and parameters.align:
        sequence = align_slices.aligned(sequence, notes)
    seen, lift = learned.lifted(sequence, notes) if finer or thinner else (sequence, np.float32(0))
    measured = learned.measured_frames(seen, parameters, shape_ji, magnitude=False)
    scale = learned.brightness(seen.frames)
    if finer and parameters.data_consistency and (noise := 100 * noise_over_time(sequence) / scale) >= NOISY:
        notes.append(KEPT_NOISE.format(noise))
    shared = {"placement": Placement(notes), "consistent": parameters.data_consistency}

    def around(t: int) -> tuple[int, int, int]:
        return (t, *_neighbours(t, len(sequence), sequence.periodic)) if parameters.neighbours else (t, t, t)

    def as_measured(t: int) -> in_plane.Estimate:
        voxels = measured(t) / np.float32(scale)
        return in_plane.Estimate(voxels, voxels)

    estimate = as_measured
    if finer:
        prior = None if sharp is None else (sharp + lift * _reached(sharp)) / np.float32(scale)
        estimate = in_plane.finer(estimate, around, shape_ji, prior, model=finer, **shared)
    if thinner:
        estimate = through_plane.thinner(estimate, around, parameters.slice_factor, stack, model=thinner, **shared)
    for t in range(len(sequence)):
        fine, supported = estimate(t)
        invented, fine = (fine - supported) * np.float32(scale), fine * np.float32(scale) - lift
        yield EnhancedFrame(np.abs(fine) if np.iscomplexobj(fine) else fine, fraction(invented, fine))


def _reached(prior: np.ndarray) -> np.ndarray:
    """(K, 1, 1) of (K, J, I): slices that a prior does not reach are 0, by which the network knows them."""
    return prior.any(axis=(1, 2), keepdims=True)


def _neighbours(t: int, count: int, periodic: bool) -> tuple[int, int]:
    """The frames before and after; at the ends of a sequence that is no cycle, the frame itself."""
    if periodic:
        return (t - 1) % count, (t + 1) % count
    return max(t - 1, 0), min(t + 1, count - 1)


METHOD = Method(
    key="stenhance-sr",
    title="STEnhance-SR",
    task=Task.SUPER_RESOLUTION,
    summary="Finer pixels and slices with the help of neighbouring frames; keeps all that was measured.",
    parameters=StenhanceSrParameters,
    enhance=enhance,
    reference="Of this project (2026), after Shi et al.: Real-time single image and video super-resolution using an "
    "efficient sub-pixel convolutional neural network. CVPR 2016. Schlemper et al.: A deep cascade of convolutional "
    "neural networks for dynamic MR image reconstruction. IEEE Trans Med Imaging 2018; 37:491-503.",
    uses=(Need.PRIOR,),
    requires=("torch", "safetensors"),
    models=(IN_PLANE, THROUGH_PLANE),
    rank=30,
    preview_frames=3,
)
