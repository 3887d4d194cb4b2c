"""xt/yt U-Net: removes flickering artefacts of undersampled cines, held to the k-space where there is one."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass, replace
from typing import TYPE_CHECKING

import numpy as np

from STEnhanceLib import device, models, progress
from STEnhanceLib.acquisition import centre_crop
from STEnhanceLib.acquisition.acquired import SHOWN, estimate
from STEnhanceLib.acquisition.kspace import KSpace
from STEnhanceLib.methods import iterative, learned, measured_grid, temporal_tv
from STEnhanceLib.methods.declaration import EnhancedFrame, Enhancement, Method, Need, Task, parameter
from STEnhanceLib.methods.measurement import delays_parameter
from STEnhanceLib.sequence import ImageSequence

if TYPE_CHECKING:
    import torch

    from STEnhanceLib.acquisition.operators import Operator

WITH_KSPACE, IMAGES_ONLY = "2021", "2020"
RESIDUAL, DIRECT = "residual", "image"
CARTESIAN, RADIAL = "xt-yt-cartesian", "xt-yt-radial"
OF_IMAGES = {RESIDUAL: "xt-yt-images", DIRECT: "xt-yt-images-direct"}
CASCADE, UNET = "xt-yt-cascade", "xt-yt-unet"  # networks
NOT_CHECKED = "The result could not be checked against the measurement, because only images were used."
NOT_CONSISTENT = "Data consistency was switched off after the first guess, so nothing held the result to the samples."
NO_SUPPORT = "The map of support was left out, as it needs the k-space."
WITHOUT_KSPACE = "The form of 2020 was used, as that of 2021 needs the k-space."
LED_BACK = (
    "The sequence is not marked as a cycle, so frames were made up between its last and its first one while it was "
    "computed; none of them is in the result."
)
MIXED = "The result is {:.0%} that of temporal total variation, and else that of the network."
NOT_MIXED = "Total variation had no share in the result, as it needs the k-space."
CLOSED = "Time was taken as one closed cycle, which the sequence is not marked as; first and last frames may mix."


@dataclass(frozen=True)
class XtYtParameters:
    """Which form of the network."""

    form: str = parameter(
        WITH_KSPACE,
        "2021: between steps of data consistency, where there is k-space; 2020: on the images alone.",
        choices=(WITH_KSPACE, IMAGES_ONLY),
    )
    learning: str = parameter(
        RESIDUAL,
        "On images alone, what the network predicts: the artefacts, or the image without them.",
        choices=tuple(OF_IMAGES),
    )
    data_consistency: bool = parameter(True, "Hold the result of every block to the measured samples.")
    tv_share: float = parameter(
        0.0,
        "Part of the result that temporal total variation makes, as both err in other places: with 0.3 the heart of "
        "every cine tried came out nearer to the truth than with either, in several times the time.",
        minimum=0.0,
        maximum=1.0,
        label="Share of total variation",
    )
    model: str = learned.model_parameter()
    delays: bool = delays_parameter()
    support: bool = iterative.support_parameter()
    acquired: str = measured_grid.measured_parameter()


def enhance(sequence: ImageSequence, parameters: XtYtParameters, kspace: KSpace | None = None) -> Enhancement:
    """Clean each slice as a whole; all slices are finished before the first frame is yielded.

    Raises:
        STEnhanceError: the k-space is not that of the sequence, or there is no such model.
    """
    notes: list[str] = []
    if kspace is None or parameters.form == IMAGES_ONLY:
        return _of_images(sequence, parameters, notes, SHOWN if kspace else parameters.acquired)
    shipped, other = (CARTESIAN, RADIAL) if kspace.mask is not None else (RADIAL, CARTESIAN)
    model = learned.chosen_model(parameters.model, shipped, CASCADE, Task.ARTEFACT_REDUCTION)
    notes += learned.notes_on_training(model, shipped, other)
    # Parts of a human cycle and of a phantom's gain 0.2 to 1.1 dB in their first and last frames by frames that lead
    # back, from spokes. From interleaved lines all frames lose 0.3 to 0.5 dB: mirrored in time, aliases lie at
    # frequencies of the other sign, which the network does not know.
    closed = sequence.periodic or kspace.mask is not None
    if not sequence.periodic:
        notes.append(CLOSED if closed else LED_BACK)
    if not parameters.data_consistency:
        notes.append(NOT_CONSISTENT)
    share = parameters.tv_share
    if share:
        notes.append(MIXED.format(share))

    def of_slice(operator: Operator, samples: torch.Tensor) -> torch.Tensor:
        scale = learned.brightness(operator.time_average(samples).cpu().numpy())
        network = models.load(model, str(samples.device))
        with device.half_precision(samples.device), progress.part(0, 2 if share else 1):
            told = progress.tell_block
            images = network(operator, samples / scale, parameters.data_consistency, told, closed) * scale
        if share:
            with progress.part(1, 2):
                usual = temporal_tv.TemporalTVParameters()
                still = temporal_tv.reconstruct(operator, samples, usual, sequence.periodic)
            images = images.lerp(still, share)
        return iterative.held_to_samples(kspace, operator, samples, images) if parameters.data_consistency else images

    return iterative.enhancement(
        sequence, kspace, of_slice,
        models=(model,), notes=notes, support=parameters.support, delays=parameters.delays,
    )  # fmt: skip


def _of_images(sequence: ImageSequence, parameters: XtYtParameters, notes: list[str], wanted: str) -> Enhancement:
    model = learned.chosen_model(parameters.model, OF_IMAGES[parameters.learning], UNET, Task.ARTEFACT_REDUCTION)
    if parameters.form == WITH_KSPACE:
        notes.append(WITHOUT_KSPACE)
    notes.append(NOT_CHECKED)
    if parameters.support:
        notes.append(NO_SUPPORT)
    if parameters.tv_share:
        notes.append(NOT_MIXED)
    if np.iscomplexobj(sequence.frames):
        notes.append("The images are complex; their magnitude was cleaned.")
    shown = replace(sequence, frames=sequence.magnitude())
    found = estimate(shown, wanted)
    notes += found.notes
    frames = _cleaned(measured_grid.on_measured_grid(shown, found), model)
    if found.interpolated:
        notes.append(f"The images were cleaned on the grid of the measurement: {found.line()}.")
        pairs = zip(frames, shown.frames, strict=True)
        frames = (
            centre_crop.zero_fill(frame, found.shown_ji) + centre_crop.beyond(given, found.measured_ji)
            for frame, given in pairs
        )
    return Enhancement(sequence.grid, (EnhancedFrame(frame, float("nan")) for frame in frames), notes, (model,))


def _cleaned(sequence: ImageSequence, model: str) -> Iterator[np.ndarray]:
    """(K, J, I) by frame."""
    import torch

    magnitude = sequence.frames
    network, where = models.load(model, device.chosen()), device.chosen()
    slices = []
    count = magnitude.shape[1]
    for index in range(count):
        with progress.part(index, count, "slice"):
            progress.tell("cleaning")
            frames = magnitude[:, index]
            scale = learned.brightness(frames.mean(0))
            with torch.inference_mode(), device.half_precision(where):
                cleaned = network(torch.tensor(frames / scale, device=where)[None], sequence.periodic)[0]
            slices.append(cleaned.float().cpu().numpy() * np.float32(scale))
    for frame in zip(*slices, strict=True):
        yield np.stack(frame)


METHOD = Method(
    key="xt-yt",
    title="xt/yt U-Net",
    task=Task.ARTEFACT_REDUCTION,
    summary="Removes streaks and aliasing that flicker over time, within seconds; checked against k-space if given.",
    parameters=XtYtParameters,
    enhance=enhance,
    reference="Kofler et al.: Spatio-temporal deep learning-based undersampling artefact reduction for 2D radial cine "
    "MRI with limited training data. IEEE Trans Med Imaging 2020; 39:703-717. Kofler et al.: An end-to-end-trainable "
    "iterative network architecture for accelerated radial multi-coil 2D cine MR image reconstruction. Med Phys 2021; "
    "48:2412-2425.",
    uses=(Need.KSPACE,),
    requires=("torch", "safetensors"),
    models=(CARTESIAN, RADIAL, *OF_IMAGES.values()),
    rank=35,
    preview_frames=9,
)
