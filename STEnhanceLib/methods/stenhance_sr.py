"""STEnhance-SR: finer pixels and thinner slices from a frame, its neighbours and a prior, true to what was measured."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass, replace
from typing import NamedTuple

import numpy as np

from STEnhanceLib.acquisition.thick_slices import fine_slices
from STEnhanceLib.assurance.unsupported import fraction
from STEnhanceLib.errors import STEnhanceError
from STEnhanceLib.methods import align_slices, consistency, in_plane, learned, through_plane
from STEnhanceLib.methods import prior as priors
from STEnhanceLib.methods.consistency import OFF, ON
from STEnhanceLib.methods.declaration import EnhancedFrame, Enhancement, Method, Need, Task, parameter
from STEnhanceLib.methods.measured_grid import FinerThanMeasured, is_filtered
from STEnhanceLib.methods.noise_over_time import noise_over_time
from STEnhanceLib.methods.placement import Placement
from STEnhanceLib.methods.target_grid import KSPACE_CROP, FinerGrid
from STEnhanceLib.sequence import Grid, ImageSequence

IN_PLANE, THROUGH_PLANE = "stenhance-sr", "stenhance-sr-through-plane"
NETWORK = "stenhance-sr"
MOST_TRAINED = 5  # in-plane
LEAST_SLICE_FACTOR = 1.5  # below, slices overlap so much that telling them apart multiplies noise
AS_GOOD_AS_NONE = 0.7  # per cent of the brightness: so much do frames without noise differ from moment to moment
NOISE = "The images flicker by noise of about {:.1f} % of their brightness."
KEPT_NOISE = NOISE[:-1] + (
    ", which data consistency keeps when it is on; in tests with as much of it, results were nearer to the truth with "
    "data_consistency=auto."
)


@dataclass(frozen=True)
class StenhanceSrParameters(FinerThanMeasured):
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
    data_consistency: str = parameter(
        consistency.AUTO,
        "Keep the measured frequencies: auto as far as their noise allows, true exactly as they are, false not at all.",
        choices=(consistency.AUTO, consistency.ON, consistency.OFF),
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
    of_scan: list[str] = []
    found, measured = parameters.measured(sequence, of_scan)
    stack = through_plane.Stack.of(sequence, in_plane_grid.spacing_mm[:2], parameters.position_error_mm)
    finer = thinner = sharp = None
    if in_plane_grid.shape != measured.grid.shape:
        finer = learned.chosen_model(parameters.model, IN_PLANE, NETWORK)
        notes += of_scan
        notes += learned.notes_on_training(finer, IN_PLANE, THROUGH_PLANE)
        notes += learned.beyond(MOST_TRAINED, measured.grid, in_plane_grid, "the network was not trained for that")
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
    window = found.window() if found is not None and is_filtered(found) else None
    scan = _Input(sequence, measured, window)
    frames = _frames(scan, parameters, in_plane_grid.shape[1:], sharp, stack, finer=finer, thinner=thinner, notes=notes)
    return Enhancement(grid, frames, notes, models)


class _Input(NamedTuple):
    """The images as shown and as measured, and the scanner's filter, None for none."""

    shown: ImageSequence
    measured: ImageSequence
    window: np.ndarray | None


def _frames(
    given: _Input,
    parameters: StenhanceSrParameters,
    shape_ji: tuple[int, int],
    sharp: np.ndarray | None,
    stack: through_plane.Stack,
    *,
    finer: str | None,
    thinner: str | None,
    notes: list[str],
) -> Iterator[EnhancedFrame]:
    sequence = given.measured if finer else given.shown
    magnitude = _is_magnitude(given.shown) and parameters.sampling == KSPACE_CROP
    if thinner and parameters.align:
        sequence, magnitude = align_slices.aligned(sequence, notes), False  # what is shown lies elsewhere
    seen, lift = learned.lifted(sequence, notes) if finer or thinner else (sequence, np.float32(0))
    measured = learned.measured_frames(seen, parameters, shape_ji, magnitude=False)
    scale = learned.brightness(seen.frames)
    noise = _noise_percent(sequence, scale, parameters.data_consistency, notes) if finer else 0.0
    placement = Placement(notes)

    def around(t: int) -> tuple[int, int, int]:
        return (t, *_neighbours(t, len(sequence), sequence.periodic)) if parameters.neighbours else (t, t, t)

    def as_measured(t: int) -> np.ndarray:
        return measured(t) / np.float32(scale)

    def estimate(t: int) -> in_plane.Estimate:
        voxels = as_measured(t)
        return in_plane.Estimate(voxels, voxels)

    if finer:
        prior = None if sharp is None else (sharp + lift * _reached(sharp)) / np.float32(scale)
        magnitudes = None
        if magnitude and not lift:

            def magnitudes(t: int) -> np.ndarray:
                return given.shown.frames[t] / np.float32(scale)

        scan = in_plane.Scan(sequence.grid.shape[1:], as_measured, magnitudes, given.window, noise / 100)
        how = parameters.data_consistency
        moments = around if noise else lambda t: (t, t, t)  # without noise, neighbours have nothing that a frame lacks
        estimate = in_plane.finer(scan, moments, shape_ji, prior, model=finer, placement=placement, consistency=how)
    if thinner:
        consistent = parameters.data_consistency != OFF
        estimate = through_plane.thinner(
            estimate, around, parameters.slice_factor, stack, model=thinner, placement=placement, consistent=consistent
        )
    for t in range(len(sequence)):
        fine, supported = estimate(t)
        invented, fine = (fine - supported) * np.float32(scale), fine * np.float32(scale) - lift
        yield EnhancedFrame(np.abs(fine) if np.iscomplexobj(fine) else fine, fraction(invented, fine))


def _noise_percent(sequence: ImageSequence, scale: float, how: str, notes: list[str]) -> float:
    """The noise in per cent of the brightness; 0 where that is no more than frames without noise differ."""
    flicker = 100 * noise_over_time(sequence) / scale
    noise = max(flicker**2 - AS_GOOD_AS_NONE**2, 0.0) ** 0.5 if flicker > 0 else 0.0  # flicker is NaN for few frames
    if noise:
        notes.append((KEPT_NOISE if how == ON else NOISE).format(noise))
    return noise


def _is_magnitude(sequence: ImageSequence) -> bool:
    return not np.iscomplexobj(sequence.frames) and float(sequence.frames.min()) >= 0


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
