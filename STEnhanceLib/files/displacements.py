"""Displacements as `.seq.nrrd`, the way 3D Slicer keeps a sequence of grid transforms, and opens it again as one.

In the file the components are those of left, posterior and superior, as its space says.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import BinaryIO

import numpy as np

from STEnhanceLib.files.nrrd import NAME, PERIODIC, VOXELS, axis_fields, index_attributes
from STEnhanceLib.files.nrrd_header import header_bytes
from STEnhanceLib.files.voxels import write_frames
from STEnhanceLib.sequence import Grid

RAS_TO_LPS = np.array([-1, -1, 1], np.float32)


@dataclass(frozen=True, eq=False)
class Displacements:
    """By how much the tissue of every voxel is moved, over time.

    Attributes:
        frames: (T, 3, K, J, I) float32, mm along right, anterior and superior.
        grid: where and when.
        name: what the user calls it.
        attributes: provenance, as of `ImageSequence`.
    """

    frames: np.ndarray
    grid: Grid
    name: str
    attributes: Mapping[str, str]


def write(displacements: Displacements, stream: BinaryIO) -> None:
    """Write an attached, raw, little-endian NRRD file; see `files.write`."""
    grid = displacements.grid
    attributes = {
        **displacements.attributes,
        **index_attributes(grid),
        "displacement field type": "modeling",  # from where a point is to where it is moved to
        "intent_code": "1006",  # NIFTI_INTENT_DISPVECT, by which Slicer knows a transform
        PERIODIC: "yes" if grid.periodic else "no",
        VOXELS: "displacements",
        NAME: displacements.name,
    }
    fields = {**axis_fields(grid, components=3), "measurement frame": "(1,0,0) (0,1,0) (0,0,1)"}
    stream.write(header_bytes(fields, attributes))
    for frame in displacements.frames:
        write_frames(stream, (np.moveaxis(frame, 0, -1) * RAS_TO_LPS)[None])
