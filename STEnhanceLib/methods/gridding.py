"""Gridding: each frame straight from its own k-space samples. Fast, and with all the streaks of undersampling."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass

from STEnhanceLib import device
from STEnhanceLib.acquisition.kspace import KSpace
from STEnhanceLib.methods.declaration import EnhancedFrame, Enhancement, Method, Need, Task
from STEnhanceLib.methods.measurement import check_that_they_belong_together, delays_parameter, spokes_in_place
from STEnhanceLib.sequence import ImageSequence


@dataclass(frozen=True)
class GriddingParameters:
    """Where the samples lie."""

    delays: bool = delays_parameter()


def enhance(sequence: ImageSequence, parameters: GriddingParameters, kspace: KSpace) -> Enhancement:
    """Density-compensated adjoint of radial, zero-filled inverse transform of Cartesian samples; coils combined.

    Raises:
        STEnhanceError: the k-space is not that of the sequence.
    """
    check_that_they_belong_together(sequence, kspace)
    notes = list(kspace.notes)
    return Enhancement(sequence.grid, _frames(kspace, parameters.delays, notes), notes)


def _frames(kspace: KSpace, delays: bool, notes: list[str]) -> Iterator[EnhancedFrame]:
    from STEnhanceLib.acquisition.gridded_images import gridded_frame

    kspace = spokes_in_place(kspace, delays, notes)
    for index in range(len(kspace.grid)):
        yield EnhancedFrame(gridded_frame(kspace, index, device.chosen()), 0.0)


METHOD = Method(
    key="gridding",
    title="Gridding",
    task=Task.ARTEFACT_REDUCTION,
    summary="The plain reconstruction of the measurement, with its artefacts. The baseline to beat.",
    parameters=GriddingParameters,
    enhance=enhance,
    reference="Jackson et al.: Selection of a convolution function for Fourier inversion using gridding. IEEE Trans "
    "Med Imaging 1991; 10:473-478. Roemer et al.: The NMR phased array. Magn Reson Med 1990; 16:192-225.",
    needs=(Need.KSPACE,),
    requires=("torch", "torchkbnufft"),
    baseline=True,
    rank=10,
)
