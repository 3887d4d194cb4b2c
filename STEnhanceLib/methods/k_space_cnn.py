"""K-space CNN: completes the lines that a Cartesian scan left out; static slices and cines, one coil or several."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING

from STEnhanceLib import device, models, progress
from STEnhanceLib.acquisition.kspace import KSpace
from STEnhanceLib.acquisition.kspace_kind import radial_refused
from STEnhanceLib.methods import iterative, learned
from STEnhanceLib.methods.declaration import Enhancement, Method, Need, Task, parameter
from STEnhanceLib.sequence import ImageSequence

if TYPE_CHECKING:
    import torch

    from STEnhanceLib.acquisition.operators import Operator

WORKING, PUBLISHED = "working", "published"
MODELS = {WORKING: "k-space-cnn", PUBLISHED: "k-space-cnn-published"}  # networks are called like them
NOTES = {
    WORKING: "Measured samples were put back after every step of the network, with one coil exactly; a network "
    "predicted the lines that were not measured, from those of the frame and of its neighbours.",
    PUBLISHED: "A network completed the k-space of every coil and frame alone; as published, measured samples were not "
    "put back.",
}


@dataclass(frozen=True)
class KSpaceCnnParameters:
    """Which form of the network."""

    form: str = parameter(
        WORKING,
        "Working keeps what was measured and uses neighbouring frames; published does neither, for comparison.",
        choices=(WORKING, PUBLISHED),
    )
    model: str = learned.model_parameter()
    support: bool = iterative.support_parameter()


def enhance(sequence: ImageSequence, parameters: KSpaceCnnParameters, kspace: KSpace) -> Enhancement:
    """Complete the k-space of each slice.

    Raises:
        STEnhanceError: the k-space is radial or not that of the sequence, or there is no such model.
    """
    if kspace.mask is None:
        raise radial_refused(METHOD.key)
    kind = MODELS[parameters.form]
    model = learned.chosen_model(parameters.model, kind, kind, Task.ARTEFACT_REDUCTION)

    def of_slice(operator: Operator, samples: torch.Tensor) -> torch.Tensor:
        from STEnhanceLib.networks.kspace_cnn import neighbours

        scale = learned.brightness(operator.adjoint(samples).cpu().numpy())
        around = neighbours(len(samples), sequence.periodic).to(samples.device)
        return models.load(model, device.chosen())(operator, samples / scale, around, progress.tell_block) * scale

    return iterative.enhancement(
        sequence, kspace, of_slice, models=(model,), notes=(NOTES[parameters.form],), support=parameters.support
    )


METHOD = Method(
    key="k-space-cnn",
    title="K-space CNN",
    task=Task.ARTEFACT_REDUCTION,
    summary="Fills in the lines of k-space that a Cartesian scan left out, and keeps those that it measured.",
    parameters=KSpaceCnnParameters,
    enhance=enhance,
    reference="After Petrimoulx (2025) and Hyun et al.: Deep learning for undersampled MRI reconstruction. Phys Med "
    "Biol 2018; 63:135007. Eo et al.: KIKI-net: cross-domain convolutional neural networks for reconstructing "
    "undersampled magnetic resonance images. Magn Reson Med 2018; 80:2188-2201.",
    needs=(Need.KSPACE,),
    requires=("torch", "safetensors"),
    models=tuple(MODELS.values()),
    cartesian_only=True,
    rank=50,
    preview_frames=iterative.PREVIEW_FRAMES,
)
