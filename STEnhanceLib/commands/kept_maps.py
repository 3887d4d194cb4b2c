"""The maps of a whole result on their way into files: `out.spread.seq.nrrd` beside `out.seq.nrrd`."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path

import numpy as np

from STEnhanceLib import files
from STEnhanceLib.files.displacements import Displacements
from STEnhanceLib.methods import Enhancement, SideMap
from STEnhanceLib.methods.declaration import UNSUPPORTED
from STEnhanceLib.sequence import Grid, ImageSequence

MAP_FILES = "STEnhance.MapFiles"  # attribute of a result: the names of the files beside it
NO_DISPLACEMENTS = (
    "The map {!r} holds displacements, which NIfTI files do not; write a .seq.nrrd or an .mrb file to keep it."
)


class KeptMaps:
    """What a method yields beside the frames, kept until they all are there.

    Attributes:
        values: (T, K, J, I), or (T, 3, K, J, I) of vector maps, by map.
        paths: the file of each map beside the result; empty where the result is a scene, which holds its maps.
        notes: what cannot be kept, one sentence each.
    """

    def __init__(self, output: Path):
        """Prepare to keep what the file of a result can go with."""
        self.values: dict[SideMap, np.ndarray] = {}
        self.paths: dict[SideMap, Path] = {}
        self.notes: tuple[str, ...] = ()
        self._output = output
        self._grid: Grid | None = None
        self._count = 0

    def plan(self, enhancement: Enhancement) -> None:
        """Reserve memory for all frames."""
        grid = self._grid = enhancement.grid
        for side_map in enhancement.maps:
            if side_map.vector and not files.holds_displacements(self._output):
                self.notes += (NO_DISPLACEMENTS.format(side_map.key),)
                continue
            self.values[side_map] = np.empty((len(grid), *side_map.shape(grid)), np.float32)
            if self._output.suffix != ".mrb":
                self.paths[side_map] = files.beside(self._output, side_map.key)

    def keep(self, maps: Mapping[str, np.ndarray]) -> None:
        """Copy the maps of the next frame."""
        for side_map, values in self.values.items():
            values[self._count] = maps[side_map.key]
        self._count += 1

    def attributes(self) -> dict[str, str]:
        """What the result says about the files beside it."""
        return {MAP_FILES: "; ".join(path.name for path in self.paths.values())} if self.paths else {}

    def pictured(self, result: ImageSequence) -> list[ImageSequence]:
        """The finished maps that a page can show; that of support has a place of its own there."""
        return [self.sequence(each, result) for each in self.values if not each.vector and each != UNSUPPORTED]

    def sequence(self, side_map: SideMap, result: ImageSequence) -> ImageSequence | Displacements:
        """A finished map with the provenance of its result."""
        name = f"{result.name} ({side_map.title})"
        attributes = {**result.attributes, **side_map.attributes}
        if side_map.vector:
            return Displacements(self.values[side_map], self._grid, name, attributes)
        return ImageSequence.from_frames(
            self.values[side_map],
            self._grid,
            name=name,
            attributes=attributes,
            frame_attributes=result.frame_attributes,
        )
