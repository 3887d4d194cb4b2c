"""DDoS-UNet: each volume sharpened with the help of a sharp earlier one, in the end of its own last result."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass

import numpy as np

from STEnhanceLib.assurance.unsupported import fraction
from STEnhanceLib.methods import learned
from STEnhanceLib.methods import prior as priors
from STEnhanceLib.methods.declaration import EnhancedFrame, Enhancement, Method, Need, Task, parameter
from STEnhanceLib.methods.measured_grid import FinerThanMeasured
from STEnhanceLib.methods.placement import Placement
from STEnhanceLib.methods.tiles import in_tiles
from STEnhanceLib.sequence import ImageSequence

MODEL = "ddos-unet"


@dataclass(frozen=True)
class DdosUnetParameters(FinerThanMeasured):
    """How fine, and what serves as the sharp earlier volume."""

    propagate: bool = parameter(
        True, "Sharpen each frame with the last result, as published; else each with the planning scan."
    )
    data_consistency: bool = parameter(
        False, "Put the measured frequencies of the input back in place; the published method does not."
    )
    model: str = learned.model_parameter()


def enhance(sequence: ImageSequence, parameters: DdosUnetParameters, prior: ImageSequence | None) -> Enhancement:
    """Sharpen each volume as a whole, the first one with the prior, later ones with the result before.

    Raises:
        STEnhanceError: the prior lies elsewhere, or there is no such model.
    """
    grid = parameters.on(sequence.grid)
    model = learned.chosen_model(parameters.model, MODEL, "ddos-unet")
    notes = learned.notes_on(parameters, sequence, "their magnitude was sharpened")
    _, sequence = parameters.measured(sequence, notes)
    sharp = None
    if prior is not None:  # it is when only the grid of the result is of interest
        sharp, of_prior = priors.prepared(prior, sequence, grid)
        notes += of_prior
    return Enhancement(grid, _frames(sequence, parameters, sharp, model, notes), notes, (model,))


def _frames(
    sequence: ImageSequence, parameters: DdosUnetParameters, sharp: np.ndarray, model: str, notes: list[str]
) -> Iterator[EnhancedFrame]:
    import torch

    from STEnhanceLib.acquisition.centre_crop_torch import replace_centre, resample
    from STEnhanceLib.networks.ddos_unet import MULTIPLE, interpolated

    shape_ji = sharp.shape[1:]
    sequence, lift = learned.lifted(sequence, notes)
    measured = learned.measured_frames(sequence, parameters, shape_ji, magnitude=True)
    scale = learned.brightness(sequence.frames)
    placement = Placement(notes)

    def sharpened(network, device, largest) -> tuple[np.ndarray, np.ndarray]:
        """The volume `low`, and how it deviates from what was measured."""
        volume = torch.from_numpy(low).to(device)
        both = torch.stack([torch.from_numpy(earlier).to(device), interpolated(volume, shape_ji)])[None] / scale
        fine = in_tiles(network, both, network.radius, multiple=MULTIPLE, largest=largest)[0, 0] * scale
        if parameters.data_consistency:
            fine = replace_centre(fine, volume)
        return fine.cpu().numpy(), (fine - resample(volume, shape_ji)).cpu().numpy()

    earlier = sharp + lift
    for t in range(len(sequence)):
        low = measured(t)
        fine, invented = placement.run(model, sharpened)
        voxels = fine - lift
        yield EnhancedFrame(voxels, fraction(invented, voxels))
        if parameters.propagate:
            earlier = fine


METHOD = Method(
    key="ddos-unet",
    title="DDoS-UNet",
    task=Task.SUPER_RESOLUTION,
    summary="Sharpens volumes of very low resolution with the help of a sharp planning scan of the same region.",
    parameters=DdosUnetParameters,
    enhance=enhance,
    reference="Chatterjee et al.: DDoS-UNet: incorporating temporal information using dynamic dual-channel UNet for "
    "enhancing super-resolution of dynamic MRI. IEEE Access 2024; arXiv 2202.05355.",
    needs=(Need.PRIOR,),
    requires=("torch", "safetensors"),
    models=(MODEL,),
    rank=50,
    preview_frames=None,  # each result is the prior of the next
)
