"""Opens an ISMRMRD file and sorts its readouts by frame and slice."""

from __future__ import annotations

import math
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import numpy as np

from STEnhanceLib.errors import STEnhanceError, refused

NOISE = "ACQ_IS_NOISE_MEASUREMENT"
NOT_IMAGING = (
    NOISE, "ACQ_IS_NAVIGATION_DATA", "ACQ_IS_PHASECORR_DATA", "ACQ_IS_HPFEEDBACK_DATA", "ACQ_IS_RTFEEDBACK_DATA",
    "ACQ_IS_DUMMYSCAN_DATA", "ACQ_IS_SURFACECOILCORRECTIONSCAN_DATA",
    "ACQ_IS_PARALLEL_CALIBRATION", "ACQ_IS_PHASE_STABILIZATION_REFERENCE", "ACQ_IS_PHASE_STABILIZATION",
)  # fmt: skip

LARGEST_SIDE = 4  # times a readout; an asymmetric echo has at least a quarter
LARGEST_SPARSITY = 64  # times as many samples as were measured


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
    encoding = _checked_encoding(path, header.encoding, spaces.pop())
    return Scan(path, header, encoding, readouts, counter, frames, slices, noise)


def trajectory_kind(encoding) -> str:
    """`cartesian`, `radial`, `goldenangle` or another one; the package keeps a word outside the schema as text."""
    word = encoding.trajectory
    return str(getattr(word, "value", word)).lower().replace(" ", "")


def refuse_if_too_large(scan: Scan, shape_ji: tuple[int, int]) -> None:
    """Stop before room is made for a matrix that the readouts cannot have filled.

    Raises:
        STEnhanceError: one side is many times a readout, or the whole many times all readouts together.
    """
    readout = scan.readouts[0]
    measured = len(scan.readouts) * readout.number_of_samples
    claimed = scan.shape[0] * scan.shape[1] * shape_ji[0] * shape_ji[1]
    if shape_ji[1] > LARGEST_SIDE * readout.number_of_samples or claimed > LARGEST_SPARSITY * measured:
        raise STEnhanceError(
            f"{scan.path} claims a matrix of {shape_ji[1]}×{shape_ji[0]}, and its {len(scan.readouts)} readouts of "
            f"{readout.number_of_samples} samples are far too few for that; expected the matrix that was measured. "
            "Its header is damaged: export it again."
        )


def _checked_encoding(path: Path, encodings: list, index: int):
    """The part of the header that the readouts refer to, of which every number that is used is one."""
    if index >= len(encodings):
        raise STEnhanceError(
            f"{path} has readouts of encoding {index}, and its header describes {len(encodings)}; expected one for "
            "each. Export it again."
        )
    encoding = encodings[index]
    for name in ("encodedSpace", "reconSpace"):
        space = getattr(encoding, name)
        if space is None or space.matrixSize is None or space.fieldOfView_mm is None:
            raise STEnhanceError(f"{path} says nothing of its {name}; expected matrix and field of view.")
        size, field_mm = space.matrixSize, space.fieldOfView_mm
        numbers = [size.x, size.y, size.z, field_mm.x, field_mm.y, field_mm.z]
        if not all(isinstance(number, int | float) and 0 < number < math.inf for number in numbers):
            raise STEnhanceError(
                f"{path} gives {numbers[:3]} as matrix and {numbers[3:]} mm as field of view of its {name}; expected "
                "numbers above 0. Export it again."
            )
    return encoding


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
    with refused(f"{path} is not an ISMRMRD file or is damaged", "expected raw data with an XML header."):
        _refuse_links_out_of_the_file(path)
        with ismrmrd.File(path, "r") as file:
            name = "dataset" if "dataset" in file else next(iter(file))
            header, readouts = file[name].header, file[name].acquisitions[:]
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


def _refuse_links_out_of_the_file(path: Path) -> None:
    """HDF5 can take data from any other file that its author names."""
    import h5py

    def look(group) -> None:
        for name in group:
            link = group.get(name, getlink=True)
            if isinstance(link, h5py.ExternalLink):
                raise STEnhanceError(_LINKED.format(path, link.filename))
            if not isinstance(link, h5py.HardLink):
                continue  # to a place that is looked at by its own name
            found = group.get(name)
            if isinstance(found, h5py.Group) and hash(found) not in seen:
                seen.add(hash(found))
                look(found)
            elif isinstance(found, h5py.Dataset) and (found.external or found.is_virtual):
                raise STEnhanceError(_LINKED.format(path, "another file"))

    with h5py.File(path, "r") as file:
        seen = {hash(file["/"])}
        look(file)


_LINKED = "{} takes data from {}, which is not followed; expected one file that holds all. Export it again."
