"""EDSR: every frame sharpened by itself with the residual network published for the MRI-Linac."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass

import numpy as np

from STEnhanceLib.assurance.unsupported import fraction
from STEnhanceLib.methods import learned
from STEnhanceLib.methods.declaration import EnhancedFrame, Enhancement, Method, Task, parameter
from STEnhanceLib.methods.measured_grid import FinerThanMeasured
from STEnhanceLib.methods.placement import Placement
from STEnhanceLib.methods.tiles import chunks, in_tiles
from STEnhanceLib.models import find_model
from STEnhanceLib.sequence import ImageSequence


@dataclass(frozen=True)
class EdsrParameters(FinerThanMeasured):
    """How fine, and by which network."""

    data_consistency: bool = parameter(
        False, "Put the measured frequencies of the input back in place; the published method does not."
    )
    model: str = learned.model_parameter()


def enhance(sequence: ImageSequence, parameters: EdsrParameters) -> Enhancement:
    """Sharpen each slice by 2 or 4, and bring it to the matrix asked for by a crop or zero-filling of its k-space.

    Raises:
        STEnhanceError: no such model.
    """
    grid = parameters.on(sequence.grid)
    notes = learned.notes_on(parameters, sequence, "their magnitude was sharpened")
    _, sequence = parameters.measured(sequence, notes)
    largest = max(new / old for new, old in zip(grid.shape[1:], sequence.grid.shape[1:], strict=True))
    model = learned.chosen_model(parameters.model, "edsr-x2" if largest <= 2 else "edsr-x4", "edsr")
    scale = find_model(model).architecture["configuration"].get("scale", 4)
    if isinstance(scale, int):  # else the network cannot be built, and whoever loads it says so
        notes += learned.beyond(scale, sequence.grid, grid, "what the network made was zero-filled to that")
    return Enhancement(grid, _frames(sequence, parameters, grid.shape[1:], model, notes), notes, (model,))


def _frames(
    sequence: ImageSequence, parameters: EdsrParameters, shape_ji: tuple[int, int], model: str, notes: list[str]
) -> Iterator[EnhancedFrame]:
    import torch

    from STEnhanceLib.acquisition.centre_crop_torch import replace_centre, resample

    sequence, lift = learned.lifted(sequence, notes)
    measured = learned.measured_frames(sequence, parameters, shape_ji, magnitude=True)
    scale = learned.brightness(sequence.frames)
    placement = Placement(notes)

    def sharpened(network, device, largest) -> tuple[np.ndarray, np.ndarray]:
        """The slices of `low`, and how they deviate from what was measured."""
        results, deviations = [], []
        for part in chunks(len(low), network.scale**2 * low[0].size, largest):
            slices = torch.from_numpy(low[part, None]).to(device)
            fine = in_tiles(network, slices / scale, network.radius, scale=network.scale, largest=largest)
            fine = resample(fine, shape_ji) * scale
            if parameters.data_consistency:
                fine = replace_centre(fine, slices)
            results.append(fine[:, 0].cpu() - float(lift))
            deviations.append((fine - resample(slices, shape_ji))[:, 0].cpu())
        return torch.cat(results).numpy(), torch.cat(deviations).numpy()

    for t in range(len(sequence)):
        low = measured(t)
        fine, invented = placement.run(model, sharpened)
        yield EnhancedFrame(fine, fraction(invented, fine))


METHOD = Method(
    key="edsr",
    title="EDSR",
    task=Task.SUPER_RESOLUTION,
    summary="Sharpens every frame by itself with a published network, as real-time imaging needs it.",
    parameters=EdsrParameters,
    enhance=enhance,
    reference="Grover et al.: Super-resolution neural networks improve the spatiotemporal resolution of adaptive "
    "MRI-guided radiation therapy. Commun Med 2024, s43856-024-00489-9. Lim et al.: Enhanced deep residual networks "
    "for single image super-resolution. CVPR Workshops 2017.",
    requires=("torch", "safetensors"),
    models=("edsr-x2", "edsr-x4"),
    rank=40,
)
