"""Sequences, grids and side maps as JSON; their voxels stay in the files they name."""

from __future__ import annotations

import dataclasses
from collections.abc import Iterable, Sequence
from pathlib import Path
from typing import Any

from STEnhanceLib.jobs import voxels
from STEnhanceLib.methods import SideMap
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
        "frame_attributes": [dict(each) for each in sequence.frame_attributes],
    }


def encode_part(frames: Sequence[int], slices: slice) -> dict[str, Any]:
    """Frames and slices, see `Grid.part`."""
    return {"frames": [int(frame) for frame in frames], "slices": [slices.start, slices.stop]}


def encode_maps(maps: Iterable[SideMap]) -> list[dict[str, Any]]:
    """What a method announces beside the voxels; the files are those of `map_path`."""
    return [dataclasses.asdict(side_map) for side_map in maps]


def decode_maps(message: list[dict[str, Any]]) -> tuple[SideMap, ...]:
    """The maps that `encode_maps` wrote."""
    return tuple(SideMap(**fields) for fields in message)


def map_path(start: str, key: str) -> Path:
    """The file of one map among those of a job, which all start alike."""
    return Path(f"{start}-{key}.npy")


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
        frame_attributes=message["frame_attributes"],
    )
