"""What the axes of a NRRD file mean: which is time, where the voxels lie, when the frames were taken."""

from __future__ import annotations

from dataclasses import dataclass
from urllib.parse import unquote

import numpy as np

from STEnhanceLib.assumed import MS_PER_UNIT, NO_TIMES, NO_UNIT_OF_TIME, PERHAPS_NUMBERS, numbered_times
from STEnhanceLib.errors import STEnhanceError
from STEnhanceLib.files.nrrd_header import NrrdHeader

_SIGNS_TO_RAS = {
    **dict.fromkeys(("right-anterior-superior", "ras"), (1, 1, 1)),
    **dict.fromkeys(("left-anterior-superior", "las"), (-1, 1, 1)),
    **dict.fromkeys(("left-posterior-superior", "lps"), (-1, -1, 1)),
}
FRAME_TIME_MS = "STEnhance.TimeMs"
_FRAME_TIMES_MS = (FRAME_TIME_MS, "DICOM.triggerTime")
"""Attributes of single frames that are more exact than the index values, which Slicer rounds."""

_TIME_KINDS = ("list", "time")
_SPACE_KINDS = ("domain", "space", "", "???", "none")


@dataclass(frozen=True)
class Axes:
    """Axis numbers, fastest first: three of space (i, j, k) and one of time, before or after all of them."""

    space: tuple[int, int, int]
    time: int
    is_complex: bool = False
    notes: tuple[str, ...] = ()


def find_axes(header: NrrdHeader) -> Axes:
    """Tell time from space, by kind, by the `none` among the directions, or as ITK writes 4D images.

    Raises:
        STEnhanceError: not 4D, colours or vectors, no or several time axes, or time between two axes of space.
    """
    count = len(header.sizes)
    kinds = [kind.lower() for kind in header.words("kinds") or [""] * count]
    if count == 5 and header.sizes[0] == 2 and _is_complex(header, kinds[0]):
        return Axes((1, 2, 3), 4, is_complex=True)
    # Older programs call the time axis a vector; only the index values or frame labels tell.
    if count == 4 and kinds[0] == "vector" and _has_frame_labels(header):
        kinds[0] = "list"
    components = [kind for kind in kinds if kind not in _TIME_KINDS + _SPACE_KINDS]
    if components:
        raise STEnhanceError(f"its voxels are colours or vectors ({components[0]}); expected one grey value per voxel.")
    if count != 4:
        raise STEnhanceError(f"it has {count} dimensions; expected a 4D sequence: three of space and one of time.")
    directions = _directions(header)
    time = [axis for axis in range(4) if kinds[axis] in _TIME_KINDS]
    time = time or [axis for axis in range(4) if directions[axis] is None]
    time = time or [axis for axis in range(4) if len(directions[axis]) == 4 and not directions[axis][:3].any()]
    notes = ()
    if not time or len(time) == 4:
        time, notes = [3], ("The file does not say which axis is time; the last was taken.",)
    if time not in ([0], [3]):
        raise STEnhanceError(f"its axes {time} (of 0 to 3) are of time; expected one, the first or the last.")
    space = (1, 2, 3) if time == [0] else (0, 1, 2)
    return Axes(space, time[0], notes=notes)


def ijk_to_ras(header: NrrdHeader, axes: Axes) -> tuple[np.ndarray, tuple[str, ...]]:
    """(4, 4) in mm, and what was assumed about it."""
    notes = ()
    space = header.fields.get("space", "").lower().removesuffix("-time")
    if not space:
        space, notes = "lps", ("The file does not name its space; left-posterior-superior was taken.",)
    if space not in _SIGNS_TO_RAS:
        raise STEnhanceError(f"its space is {space!r}; expected a patient space such as left-posterior-superior.")
    units = {*(header.words("units") or [""] * len(header.sizes))[axes.space[0] : axes.space[2] + 1]}
    units |= set((header.words("space units") or [""])[:3])
    if others := units - {"", "mm", "millimeter", "millimetre"}:
        raise STEnhanceError(f"its lengths are in {', '.join(sorted(others))}; expected mm.")
    directions = [_directions(header)[axis] for axis in axes.space]
    origin = (header.vectors("space origin") or [None])[0]
    if any(direction is None for direction in directions):
        spacings = _spacings(header)
        directions = np.diag([spacings[axis] if spacings[axis] > 0 else 1.0 for axis in axes.space])
        notes += ("The file gives no directions; axes along those of the patient were assumed.",)
        if not all(spacings[axis] > 0 for axis in axes.space):
            notes += ("The file gives no voxel size; 1 mm was assumed.",)
    if origin is None:
        origin = np.zeros(3)
        notes += ("The file gives no origin; (0, 0, 0) was assumed.",)
    if any(len(vector) < 3 or vector[3:].any() for vector in directions) or len(origin) < 3:
        raise STEnhanceError("its directions are not three vectors of space with an origin; export it again.")
    matrix = np.eye(4)
    matrix[:3, :3] = np.transpose([vector[:3] for vector in directions])
    matrix[:3, 3] = origin[:3]
    return np.diag([*_SIGNS_TO_RAS[space], 1.0]) @ matrix, notes


def times_ms(header: NrrdHeader, time_axis: int) -> tuple[np.ndarray, tuple[str, ...]]:
    """(T,) in ms, and what was assumed about them."""
    count = header.sizes[time_axis]
    for name in _FRAME_TIMES_MS:
        recorded = _frame_attributes(header, name, count)
        if recorded is not None and (np.diff(recorded) > 0).all():
            return recorded, ()
    unit = (header.words("units") or [""] * len(header.sizes))[time_axis]
    values = _index_values(header)
    if values is not None and len(values) != count:
        raise STEnhanceError(f"its header lists {len(values)} index values for {count} frames; expected one each.")
    labels = _numbers(header.attributes.get("MultiVolume.FrameLabels", "").split(","))
    labels_unit = header.attributes.get("MultiVolume.FrameIdentifyingDICOMTagUnits", "")
    if labels is not None and len(labels) == count and labels_unit.lower() in MS_PER_UNIT and not unit:
        # MultiVolumeImporter numbers the index 0, 1, 2 … and keeps the true times here.
        values, unit = labels, labels_unit
    if values is None:
        values = _evenly_spaced(header, time_axis, count)
    scale = MS_PER_UNIT.get(unit.lower())
    if values is None or (scale is None and np.array_equal(values, np.arange(count))):
        return numbered_times(count), (NO_TIMES,) if count > 1 else ()
    if scale is None:
        found = f" ({unit!r})" if unit else ""
        return values, (f"{NO_UNIT_OF_TIME}{found}; milliseconds were assumed.",)
    if count > 2 and scale == 1e3 and np.array_equal(values, np.arange(count)):
        # Slicer numbers frames so where it had no times.
        return scale * values, (PERHAPS_NUMBERS,)
    return scale * values, ()


def _is_complex(header: NrrdHeader, kind: str) -> bool:
    return kind == "complex" or (kind.endswith("vector") and header.attributes.get("STEnhance.Voxels") == "complex")


def _has_frame_labels(header: NrrdHeader) -> bool:
    return "axis 0 index values" in header.attributes or "MultiVolume.FrameLabels" in header.attributes


def _directions(header: NrrdHeader) -> list[np.ndarray | None]:
    count = len(header.sizes)
    directions = header.vectors("space directions") or [None] * count
    if len(directions) != count:
        raise STEnhanceError(f"its header has {len(directions)} space directions for {count} axes; expected one each.")
    return directions


def _spacings(header: NrrdHeader) -> np.ndarray:
    """One per axis, NaN where not given."""
    spacings = _numbers(header.words("spacings") or ["nan"] * len(header.sizes))
    return np.full(len(header.sizes), np.nan) if spacings is None else spacings


def _frame_attributes(header: NrrdHeader, name: str, count: int) -> np.ndarray | None:
    """One number of each frame, where all have it."""
    for axis in (3, 0):
        texts = [header.attributes.get(f"axis {axis} item {frame:04d} {name}", "") for frame in range(count)]
        if all(texts):
            return _numbers(texts)
    return None


def _index_values(header: NrrdHeader) -> np.ndarray | None:
    for axis in (3, 0):
        if text := header.attributes.get(f"axis {axis} index values"):
            return _numbers([unquote(word) for word in text.split()])
    return None


def _evenly_spaced(header: NrrdHeader, time_axis: int, count: int) -> np.ndarray | None:
    direction = _directions(header)[time_axis]
    if direction is not None and len(direction) == 4 and direction[3] > 0:
        origin = (header.vectors("space origin") or [np.zeros(4)])[0]
        return origin[-1] + direction[3] * np.arange(count)
    spacing = _spacings(header)[time_axis]
    return spacing * np.arange(count) if spacing > 0 else None


def _numbers(words: list[str]) -> np.ndarray | None:
    try:
        return np.array([float(word) for word in words])
    except ValueError:
        return None
