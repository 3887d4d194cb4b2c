"""Sequences and grids as JSON; their voxels stay in the file they name."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from typing import Any

from STEnhanceLib.jobs import voxels
from STEnhanceLib.sequence import Grid, ImageSequence


def encode_grid(grid: Grid) -> dict[str, Any]:
    """A grid as JSON; floats survive exactly."""
    return {
        "shape": grid.shape,
        "ijk_to_ras": grid.ijk_to_ras.tolist(),
        "times_ms": grid.times_ms.tolist(),
        "periodic": grid.periodic,
    }


def decode_grid(message: dict[str, Any]) -> Grid:
    """The grid that `encode_grid` wrote."""
    return Grid(**message)


def encode_sequence(sequence: ImageSequence, path: Path) -> dict[str, Any]:
    """A sequence whose frames are the content of the file at `path`."""
    return {
        "voxels": str(path),
        "grid": encode_grid(sequence.grid),
        "name": sequence.name,
        "notes": sequence.notes,
        "attributes": dict(sequence.attributes),
    }


def encode_part(frames: Sequence[int], slices: slice) -> dict[str, Any]:
    """Frames and slices, see `Grid.part`."""
    return {"frames": [int(frame) for frame in frames], "slices": [slices.start, slices.stop]}


def decode_sequence(message: dict[str, Any] | None) -> ImageSequence | None:
    """The sequence that `encode_sequence` wrote, on the same file."""
    if message is None:
        return None
    return ImageSequence.from_frames(
        voxels.open_read_only(Path(message["voxels"])),
        decode_grid(message["grid"]),
        name=message["name"],
        notes=message["notes"],
        attributes=message["attributes"],
    )
