"""4D NRRD (`.seq.nrrd`, `.nrrd`), the way 3D Slicer keeps a sequence of volumes.

A small reader and writer of our own: ITK reorders or drops the time axis and does not tell truncated files, and the
package pynrrd reads everything before it checks anything. Space is left-posterior-superior, the list axis is time, and
the header keys are those of Slicer's `vtkMRMLVolumeSequenceStorageNode`, which opens what is written here and the other
way round. Voxels are written raw: those of a computed sequence hardly shrink, and raw files open at disk speed.

Complex voxels are written as vectors of two components (real, imaginary), which Slicer opens as a sequence of vector
volumes; the attribute `STEnhance.Voxels` says so.
"""

from __future__ import annotations

import re
from collections.abc import Mapping
from pathlib import Path
from typing import BinaryIO

import numpy as np

from STEnhanceLib.assumed import NOT_A_CYCLE
from STEnhanceLib.errors import STEnhanceError
from STEnhanceLib.files.compressed import Content
from STEnhanceLib.files.nrrd_axes import FRAME_TIME_MS, find_axes, ijk_to_ras, times_ms
from STEnhanceLib.files.nrrd_header import header_bytes, read_header
from STEnhanceLib.files.voxels import LARGEST_DEFLATE_RATIO, check_size, read_frames, write_frames
from STEnhanceLib.sequence import Grid, ImageSequence

NAME, NOTES, PERIODIC, VOXELS = "STEnhance.Name", "STEnhance.Notes", "STEnhance.Periodic", "STEnhance.Voxels"
_ITEM = re.compile(r"axis [03] item (\d+) (STEnhance\..+)")
SMALLEST_STEP_MS = 0.001
"""Slicer takes index values closer than this for the same one."""


def read(path: Path) -> ImageSequence:
    """Read a 4D NRRD file; see `files.read`."""
    with path.open("rb") as stream:
        header = read_header(stream)
        axes = find_axes(header)
        dtype = header.dtype
        if axes.is_complex:
            dtype = np.dtype(f"{dtype.byteorder}c{2 * dtype.itemsize}")
        shape = tuple(header.sizes[axis] for axis in (axes.time, *axes.space[::-1]))
        left = path.stat().st_size - stream.tell()
        check_size(shape, dtype, left * LARGEST_DEFLATE_RATIO if header.compressed else left)
        matrix, geometry_notes = ijk_to_ras(header, axes)
        times, time_notes = times_ms(header, axes.time)
        content = Content(stream, header.compressed)
        frames, voxel_notes = read_frames(content, dtype, shape, time_first=axes.time < axes.space[0])
        voxel_notes += content.finish(nothing_more=True)
    kept = header.attributes
    return ImageSequence(
        frames,
        matrix,
        times,
        periodic=kept.get(PERIODIC) == "yes",
        name=kept.get(NAME, path.name[: -len(".nrrd")].removesuffix(".seq")),
        notes=(
            *filter(None, kept.get(NOTES, "").split("\n")),
            *axes.notes,
            *geometry_notes,
            *time_notes,
            *voxel_notes,
            *(() if PERIODIC in kept else (NOT_A_CYCLE,)),
        ),
        attributes={key: text for key, text in kept.items() if not _is_bookkeeping(key)},
        frame_attributes=_frame_attributes(kept, shape[0]),
    )


def write(sequence: ImageSequence, stream: BinaryIO, compressed: bool = False) -> None:
    """Write an attached, raw, little-endian NRRD file; see `files.write`."""
    is_complex = np.iscomplexobj(sequence.frames)
    attributes = {
        **sequence.attributes,
        "DataNodeClassName": f"vtkMRML{'Vector' if is_complex else 'Scalar'}VolumeNode",
        **index_attributes(sequence.grid),
        **_item_attributes(sequence),
        PERIODIC: "yes" if sequence.periodic else "no",
        VOXELS: "complex" if is_complex else "magnitude",
    }
    if sequence.name:
        attributes[NAME] = sequence.name
    if sequence.notes:
        attributes[NOTES] = "\n".join(sequence.notes)
    stream.write(header_bytes(axis_fields(sequence.grid, 2 if is_complex else 1), attributes))
    write_frames(stream, sequence.frames)


def axis_fields(grid: Grid, components: int) -> dict[str, str]:
    """Type, sizes and geometry of float32 voxels; where a voxel has several components, they are its fastest axis."""
    lps = np.diag([-1.0, -1, 1, 1]) @ grid.ijk_to_ras
    sizes = [*grid.shape[::-1], len(grid)]
    kinds, directions, quoted = ["domain"] * 3 + ["list"], [*map(_vector, lps[:3, :3].T), "none"], ['""'] * 3
    labels, units = [*quoted, '"time"'], [*quoted, '"ms"']
    if components > 1:
        sizes, kinds, directions = [components, *sizes], ["vector", *kinds], ["none", *directions]
        labels, units = ['""', *labels], ['""', *units]
    return {
        "type": "float",
        "dimension": str(len(sizes)),
        "space": "left-posterior-superior",
        "sizes": " ".join(map(str, sizes)),
        "space directions": " ".join(directions),
        "kinds": " ".join(kinds),
        "labels": " ".join(labels),
        "units": " ".join(units),
        "endian": "little",
        "encoding": "raw",
        "space origin": _vector(lps[:3, 3]),
    }


def index_attributes(grid: Grid) -> dict[str, str]:
    """When the frames were taken, as Slicer keeps it.

    Raises:
        STEnhanceError: Slicer would merge frames.
    """
    if len(grid) > 1 and np.diff(grid.times_ms).min() < SMALLEST_STEP_MS:
        raise STEnhanceError(f"frames are less than {SMALLEST_STEP_MS} ms apart, which 3D Slicer cannot tell apart.")
    values = " ".join(repr(float(time)) for time in grid.times_ms)
    return {"axis 3 index type": "numeric", "axis 3 index values": values}


def _item_attributes(sequence: ImageSequence) -> dict[str, str]:
    """What is known of single frames, as Slicer keeps the attributes of their nodes."""
    return {
        f"axis 3 item {index:04d} {name}": text
        for index, (own, time_ms) in enumerate(zip(sequence.frame_attributes, sequence.times_ms, strict=False))
        for name, text in {FRAME_TIME_MS: repr(float(time_ms)), **own}.items()
    }


def _frame_attributes(attributes: Mapping[str, str], count: int) -> list[dict[str, str]]:
    """What `_item_attributes` wrote, or Slicer; the times are those of the sequence."""
    frames: list[dict[str, str]] = [{} for _ in range(count)]
    for key, text in attributes.items():
        found = _ITEM.fullmatch(key)
        if found and int(found[1]) < count and found[2] != FRAME_TIME_MS:
            frames[int(found[1])][found[2]] = text
    return frames


def _is_bookkeeping(key: str) -> bool:
    """Of the file or of single frames, rather than an attribute of the sequence."""
    return key in (NAME, NOTES, PERIODIC, VOXELS, "DataNodeClassName") or bool(
        re.match(r"axis \d+ (index (type|values)|item \d+ )", key)
    )


def _vector(numbers: np.ndarray) -> str:
    return f"({','.join(repr(float(number)) for number in numbers)})"
