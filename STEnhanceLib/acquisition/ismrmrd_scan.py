"""Opens an ISMRMRD file and sorts its readouts by frame and slice."""

from __future__ import annotations

from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import numpy as np

from STEnhanceLib.errors import STEnhanceError

NOISE = "ACQ_IS_NOISE_MEASUREMENT"
NOT_IMAGING = (
    NOISE, "ACQ_IS_NAVIGATION_DATA", "ACQ_IS_PHASECORR_DATA", "ACQ_IS_HPFEEDBACK_DATA", "ACQ_IS_RTFEEDBACK_DATA",
    "ACQ_IS_DUMMYSCAN_DATA", "ACQ_IS_SURFACECOILCORRECTIONSCAN_DATA",
    "ACQ_IS_PARALLEL_CALIBRATION", "ACQ_IS_PHASE_STABILIZATION_REFERENCE", "ACQ_IS_PHASE_STABILIZATION",
)  # fmt: skip


@dataclass(frozen=True)
class Scan:
    """The readouts of a 2D cine, and what the header says of them.

    Attributes:
        path: named in errors.
        header: of the file, as the package parses it.
        encoding: the part of the header on matrix and field of view.
        readouts: lines or spokes, in the order in which they were measured.
        counter: what tells frames apart: phase or repetition.
        frames: of each readout, from 0 on without gaps.
        slices: likewise.
        noise: readouts without a signal.
        notes: a growing list of what was assumed.
    """

    path: Path
    header: Any
    encoding: Any
    readouts: list
    counter: str
    frames: np.ndarray
    slices: np.ndarray
    noise: list
    notes: list[str] = field(default_factory=list)

    @property
    def shape(self) -> tuple[int, int]:
        """Numbers of frames and slices."""
        return int(self.frames.max()) + 1, int(self.slices.max()) + 1


def opened(path: Path) -> Scan:
    """Open a file, and leave out the readouts that are neither of the images nor of the noise.

    Raises:
        STEnhanceError: the package is missing, no such file, not an ISMRMRD file or damaged, or not 2D cine.
    """
    header, readouts, noise = _parsed(path)
    spaces = {readout.encoding_space_ref for readout in readouts}
    if len(spaces) > 1:
        raise STEnhanceError(f"{path} holds {len(spaces)} scans with matrices of their own; expected one per file.")
    _check_that_it_is_2d_cine(path, readouts)
    counter = _frame_counter(path, readouts)
    frames = _numbered([getattr(readout.idx, counter) for readout in readouts])
    slices = _numbered([readout.idx.slice for readout in readouts])
    return Scan(path, header, header.encoding[spaces.pop()], readouts, counter, frames, slices, noise)


def kept(readout) -> slice:
    """The samples of a readout that are not to be discarded."""
    return slice(readout.discard_pre, readout.number_of_samples - readout.discard_post)


def _parsed(path: Path):
    """The parsed header, the readouts that belong to the images, and those of the noise."""
    try:
        import ismrmrd
    except ImportError:
        raise STEnhanceError(
            f"To read {path}, ISMRM raw data, needs ismrmrd, not installed here; install with `pip install ismrmrd`."
        ) from None
    if not path.is_file():
        raise STEnhanceError(f"There is no k-space file {path}; expected an .npz or ISMRMRD file.")
    try:
        with ismrmrd.File(path, "r") as file:
            name = "dataset" if "dataset" in file else next(iter(file))
            header, readouts = file[name].header, file[name].acquisitions[:]
    except Exception as error:  # what HDF5, XML and number parsers make of foreign bytes has no common base
        raise STEnhanceError(
            f"{path} is not an ISMRMRD file or is damaged ({type(error).__name__}: {error}); expected raw data with an "
            "XML header."
        ) from error
    flags = [getattr(ismrmrd, name) for name in NOT_IMAGING if hasattr(ismrmrd, name)]
    noise = [readout for readout in readouts if readout.is_flag_set(getattr(ismrmrd, NOISE))]
    readouts = [readout for readout in readouts if not any(map(readout.is_flag_set, flags))]
    if not readouts:
        raise STEnhanceError(f"{path} holds no readouts of images; expected lines or spokes of a cine.")
    if any(readout.is_flag_set(ismrmrd.ACQ_IS_REVERSE) for readout in readouts):
        raise STEnhanceError(
            f"{path} has readouts in reverse, as echo-planar scans do; expected them in one direction."
        )
    return header, readouts, noise


def _check_that_it_is_2d_cine(path: Path, readouts: list) -> None:
    for counter, what in (("kspace_encode_step_2", "partitions (3D)"), ("contrast", "echoes"), ("set", "sets")):
        found = len({getattr(readout.idx, counter) for readout in readouts})
        if found > 1:
            raise STEnhanceError(f"{path} holds {found} {what}; expected 2D cine with one. Export one of them alone.")
    shapes = sorted({readout.data[:, kept(readout)].shape for readout in readouts})
    if len(shapes) > 1:
        found = ", ".join(f"{coils} coils × {samples} samples" for coils, samples in shapes)
        raise STEnhanceError(
            f"{path} has readouts of different shape ({found}); expected one number of coils and samples."
        )


def _frame_counter(path: Path, readouts: list) -> str:
    """The name of the counter that tells frames apart."""
    phases, repetitions = (len({getattr(r.idx, name) for r in readouts}) for name in ("phase", "repetition"))
    if min(phases, repetitions) > 1:
        raise STEnhanceError(
            f"{path} holds {repetitions} repetitions of {phases} cardiac phases; expected either one repetition or one "
            "phase. Export one repetition."
        )
    return "phase" if phases > 1 else "repetition"


def _numbered(values: list[int]) -> np.ndarray:
    """Counters to 0, 1, 2, … without gaps."""
    return np.unique(values, return_inverse=True)[1]
