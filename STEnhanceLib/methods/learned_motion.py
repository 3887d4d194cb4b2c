"""Learned motion: a network finds in one pass how tissue goes from frame to frame, and can adapt to the patient first.

It was trained on pairs of frames alone, without any frame between them (`networks.flow`, `motion.cycle`), and so it can
practise on the very sequence that it is to fill in (`methods.adaptation`).
"""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from typing import TYPE_CHECKING

import numpy as np

from STEnhanceLib import device, models
from STEnhanceLib.methods import learned, left_out, output_times
from STEnhanceLib.methods.adaptation import adapted, gap_around
from STEnhanceLib.methods.declaration import EnhancedFrame, Enhancement, Method, Task, parameter
from STEnhanceLib.methods.left_out import ERROR_MAP, LeftOut
from STEnhanceLib.methods.output_times import Moment, OutputTimes
from STEnhanceLib.methods.placement import Placement
from STEnhanceLib.methods.tiles import LARGEST, chunks
from STEnhanceLib.sequence import ImageSequence

if TYPE_CHECKING:
    import torch

MODEL = "learned-motion"


@dataclass(frozen=True)
class LearnedMotionParameters(OutputTimes):
    """The moments to fill in, how long to adapt to the patient before, and whether to test it on measured frames."""

    adapt_minutes: float = parameter(
        0.0,
        "Minutes to adapt to this patient before the first frame; 0 for none.",
        minimum=0.0,
        unit="min",
        label="Adapt to this patient",
        preview=0.0,
    )
    refine: bool = parameter(
        False,
        "Let a small network sharpen what motion leaves blurred, as published; it did not help on hearts.",
    )
    check: bool = left_out.check_parameter()
    model: str = learned.model_parameter()


def enhance(sequence: ImageSequence, parameters: LearnedMotionParameters) -> Enhancement:
    """Adapt to the sequence if wanted, then fill in the moments; measured frames stay as they are, bit for bit.

    Raises:
        STEnhanceError: fewer than two frames, or than three where one is to be left out, or there is no such model.
    """
    moments = parameters.moments(sequence.grid)
    if parameters.check:
        left_out.refuse_too_few(sequence.grid)
    model = learned.chosen_model(parameters.model, MODEL, "flow", Task.TEMPORAL_INTERPOLATION)
    notes = list(output_times.notes_on(parameters, sequence, moments))
    frames = _frames(sequence, moments, parameters, model, notes)
    maps = (ERROR_MAP,) if parameters.check else ()
    return Enhancement(output_times.grid_at(moments, sequence.grid), frames, notes, (model,), maps)


def _frames(
    sequence: ImageSequence, moments: list[Moment], parameters: LearnedMotionParameters, model: str, notes: list[str]
) -> Iterator[EnhancedFrame]:
    measured, grid, placement = sequence.magnitude(), sequence.grid, Placement(notes)
    if learned.far_below_zero(measured):
        notes.append(output_times.NOT_BRIGHTNESS_NOTE)
    scale, own, least_volume = np.float32(learned.brightness(measured)), None, 1.0
    if parameters.adapt_minutes > 0:

        def interpolate(network, first: np.ndarray, second: np.ndarray, fraction: float) -> np.ndarray:
            return _between(network, first, second, [fraction], parameters.refine)[0][0]

        shipped = models.load(model, placement.device)
        own, note = adapted(shipped, measured / scale, grid, parameters.adapt_minutes, interpolate)
        notes.append(note)

    def between(first: np.ndarray, second: np.ndarray, fractions: list[float]) -> tuple[np.ndarray, float]:
        def step(network, where, largest):
            network = network if own is None else own.to(where)
            return _between(network, first / scale, second / scale, fractions, parameters.refine, largest)

        found, volume = placement.run(model, step)
        return (found * scale).clip(min(first.min(), second.min())), volume

    def remade(n: int) -> np.ndarray:
        gap = gap_around(grid, n)
        return between(measured[gap.first], measured[gap.second], [gap.fraction])[0][0]

    tested = LeftOut(measured, grid, remade) if parameters.check else None
    for gap in output_times.by_gap(moments):
        first, second, made = measured[gap[0].before], measured[gap[0].after], iter(())
        fractions = [moment.fraction for moment in gap if moment.fraction]
        if fractions:
            found, volume = between(first, second, fractions)
            least_volume, made = min(least_volume, volume), iter(found)
        for moment in gap:
            maps = {ERROR_MAP.key: tested.map_at(moment)} if tested else {}
            yield EnhancedFrame(next(made) if moment.fraction else first, moment.unsupported, maps)
    if least_volume < 1:
        folded = "Nothing is folded" if least_volume > 0 else "Some of the motion is folded"
        notes.append(f"{folded} (smallest Jacobian determinant {least_volume:.2f}).")
    if tested:
        notes.extend(tested.notes())
        if own is not None:
            notes.append("The network had practised on the frames that were left out, as ends of pairs: it knew them.")


def _between(  # noqa: PLR0917  (as `Placement` and `adapted` hand them over)
    network: torch.nn.Module,
    first: np.ndarray,
    second: np.ndarray,
    fractions: list[float],
    refine: bool,
    largest: int = LARGEST,
) -> tuple[np.ndarray, float]:
    """(F, K, J, I) frames between two (K, J, I), a few slices at once, and the smallest Jacobian determinant."""
    import torch

    where = device.of(network)
    parts, least = [], 1.0
    for some in chunks(len(first), len(fractions) * first[0].size, largest):
        ends = (torch.tensor(end[None, some], device=where) for end in (first, second))
        with torch.inference_mode(), device.half_precision(where):
            between = network(*ends, fractions, refine, unfold=True)
        parts.append(torch.cat(between.frames).cpu().numpy())
        least = min(least, float(between.volume.min()))
    return np.concatenate(parts, axis=1), least


METHOD = Method(
    key="learned-motion",
    title="Learned motion",
    task=Task.TEMPORAL_INTERPOLATION,
    summary="Follows the tissue by a trained network, quickly; it can adapt to the patient at hand first.",
    parameters=LearnedMotionParameters,
    enhance=enhance,
    reference="Kim et al.: Data-efficient unsupervised interpolation without any intermediate frame for 4D medical "
    "images (UVI-Net). CVPR 2024. Implemented and trained anew, with the flow of Sun et al.: PWC-Net. CVPR 2018.",
    requires=("torch", "safetensors"),
    models=(MODEL,),
    preview_frames=4,
    rank=6,
)
