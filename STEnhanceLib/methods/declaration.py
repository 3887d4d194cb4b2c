"""What a method says about itself, so that panel and command line build themselves from it.

A method is one file in this package with one `METHOD = Method(...)`. Its parameters are a frozen dataclass whose
fields are made with `parameter`; its `enhance` function returns an `Enhancement` that yields frames in order.
"""

from __future__ import annotations

import dataclasses
import enum
import importlib.util
import math
import re
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from types import MappingProxyType
from typing import Any, NamedTuple, get_type_hints

import numpy as np

from STEnhanceLib.errors import STEnhanceError
from STEnhanceLib.sequence import Grid

# Attributes of the node or file of a side map.
MAP_KEY = "STEnhance.Map"
MAP_TITLE = "STEnhance.MapTitle"
MAP_UNIT = "STEnhance.MapUnit"
INTENSITY = "intensity of the images"  # where a map is on their scale


class Task(str, enum.Enum):
    """The three modules."""

    SUPER_RESOLUTION = "super-resolution"
    ARTEFACT_REDUCTION = "artefact reduction"
    TEMPORAL_INTERPOLATION = "temporal interpolation"


class Need(str, enum.Enum):
    """What a method needs, or uses when given, beside the sequence; named like the arguments of its `enhance`."""

    PRIOR = "prior"  # an ImageSequence of one frame, for example a planning scan
    KSPACE = "kspace"  # an acquisition.kspace.KSpace


@dataclass(frozen=True)
class SideMap:
    """A map that a method yields beside the voxels of every frame, on the grid of its result.

    Attributes:
        key: lower-case letters, digits and hyphens, for `EnhancedFrame.maps` and for names of files: "left-out-error".
        title: the words behind the name of the result in the scene: "spread of the samples".
        unit: of its values: "mm", "%"; empty for the intensity scale of the images.
        vector: (3, K, J, I) displacements along right, anterior and superior in mm, to be added to the place of a
            voxel; else (K, J, I) values.
    """

    key: str
    title: str
    unit: str = ""
    vector: bool = False

    def __post_init__(self):
        if not re.fullmatch("[a-z0-9]+(-[a-z0-9]+)*", self.key):
            raise STEnhanceError(
                f"A map was announced with the key {self.key!r}; expected lower-case letters, digits and hyphens, for "
                "it becomes part of the names of files. This is a fault of the method; please report it."
            )

    def shape(self, grid: Grid) -> tuple[int, ...]:
        """Of the map of one frame."""
        return (3, *grid.shape) if self.vector else grid.shape

    @property
    def attributes(self) -> dict[str, str]:
        """What nodes and files say about it."""
        return {MAP_KEY: self.key, MAP_TITLE: self.title, MAP_UNIT: self.unit or INTENSITY}


UNSUPPORTED = SideMap("unsupported", "not supported by the measurement", "fraction")
"""`EnhancedFrame.unsupported` voxel by voxel, of methods that compute it because the user asked for it."""


class EnhancedFrame(NamedTuple):
    """One finished frame.

    Attributes:
        voxels: (K, J, I) float32 on the intensity scale of the input.
        unsupported: the fraction of each voxel that the measurement does not support, 0 measured … 1 invented;
            (K, J, I), or one number for the whole frame. NaN where there was no measurement to check against.
        maps: float32 by `SideMap.key`, all that the `Enhancement` announces and nothing else.
    """

    voxels: np.ndarray
    unsupported: np.ndarray | float
    maps: Mapping[str, np.ndarray] = MappingProxyType({})


@dataclass(frozen=True)
class Enhancement:
    """A result in the making.

    Attributes:
        grid: where and when the result lies, known before the first frame is computed.
        frames: yields one `EnhancedFrame` per time of `grid`, in order; computing happens while iterating.
        notes: what was assumed or could not be checked, one sentence each; a list may grow while frames are computed.
        models: names of the bundles whose networks compute it, see `models.find_model`.
        maps: what every frame brings beside its voxels.
    """

    grid: Grid
    frames: Iterator[EnhancedFrame]
    notes: Sequence[str] = ()
    models: tuple[str, ...] = ()
    maps: tuple[SideMap, ...] = ()


@dataclass(frozen=True)
class Method:
    """A way to enhance a sequence that a user can pick.

    Attributes:
        key: the name on the command line, for example `zero-fill`.
        title: the name in the panel.
        task: the module that offers it.
        summary: one line that tells a radiologist when to use it.
        parameters: a frozen dataclass made of `parameter` fields.
        enhance: `enhance(sequence, parameters, **inputs) -> Enhancement`; raises STEnhanceError before the first
            frame when the input does not suit it.
        reference: the source paper or textbook.
        needs: what else it must be given; passed by the names of `Need`.
        uses: what else it takes when it is given; passed by the names of `Need`, else None.
        requires: Python packages that must be installed.
        models: names of the bundles that it may load, see `models.find_model`.
        generative: it invents content that no measurement supports, and the user is told.
        cartesian_only: of a measurement, it completes lines of k-space, and refuses spokes.
        baseline: a training-free method that every table holds for comparison.
        rank: its place in menus, small numbers first.
        preview_frames: neighbouring frames it needs for a preview of one; None for the whole sequence.
    """

    key: str
    title: str
    task: Task
    summary: str
    parameters: type
    enhance: Callable[..., Enhancement]
    reference: str
    needs: tuple[Need, ...] = ()
    uses: tuple[Need, ...] = ()
    requires: tuple[str, ...] = ()
    models: tuple[str, ...] = ()
    generative: bool = False
    cartesian_only: bool = False
    baseline: bool = False
    rank: int = 100
    preview_frames: int | None = 1

    @property
    def takes(self) -> tuple[Need, ...]:
        """What it needs, and what it uses when it is given."""
        return self.needs + self.uses

    def missing_packages(self) -> tuple[str, ...]:
        """The required packages that are not installed here; empty when the method can run."""
        return tuple(name for name in self.requires if importlib.util.find_spec(name) is None)


def parameter(
    default, help: str, *, minimum=None, maximum=None, choices=None, unit: str = "", label: str = "", preview=None
):
    """A dataclass field that panel and command line can show.

    Args:
        default: also fixes what "unset" means where the type allows None.
        help: one sentence; what a larger value does, in the user's words.
        minimum, maximum: inclusive range of numbers.
        choices: allowed values, for a drop-down.
        unit: shown behind the number.
        label: in the panel, where the name of the field would not do.
        preview: what a preview takes instead, where it could not wait for what the user chose; None to take that.
    """
    limits = {"minimum": minimum, "maximum": maximum, "choices": choices}
    metadata = {"help": help, **limits, "unit": unit, "label": label, "preview": preview}
    return dataclasses.field(default=default, metadata=metadata)


def parse_parameters(method: Method, settings: Mapping[str, Any]) -> Any:
    """Turn names and values, as text or as typed values, into the method's checked parameters.

    Raises:
        STEnhanceError: unknown name, value of the wrong type, out of range, or not among the choices.
    """
    fields = {field.name: field for field in dataclasses.fields(method.parameters)}
    types = get_type_hints(method.parameters)
    unknown = sorted(set(settings) - set(fields))
    if unknown:
        known = ", ".join(fields) or "none"
        raise STEnhanceError(f"{method.key} has no parameter {unknown[0]!r}; it has: {known}.")
    values = {name: _parse(method.key, fields[name], types[name], value) for name, value in settings.items()}
    return method.parameters(**values)


def _parse(key: str, field: dataclasses.Field, wanted: Any, value: Any) -> Any:
    optional = type(None) in getattr(wanted, "__args__", ())
    kind = next(k for k in getattr(wanted, "__args__", (wanted,)) if k is not type(None))
    if optional and (value is None or str(value).lower() in ("", "none")):
        return None
    limits = field.metadata
    if kind is str and limits["choices"] is not None:  # True and "TRUE" mean the choice "true"
        value = next((choice for choice in limits["choices"] if choice.lower() == str(value).lower()), value)
    expected = _expected(kind, limits)
    try:
        parsed = _TRUTH[str(value).lower()] if kind is bool else kind(value)
    except (ValueError, TypeError, KeyError, OverflowError):
        raise STEnhanceError(f"{key}: {field.name}={value!r} was given; expected {expected}.") from None
    rounded = kind is int and isinstance(value, float) and parsed != value
    endless = kind is float and not math.isfinite(parsed)
    too_low = limits["minimum"] is not None and not parsed >= limits["minimum"]
    too_high = limits["maximum"] is not None and not parsed <= limits["maximum"]
    if rounded or endless or too_low or too_high or (limits["choices"] is not None and parsed not in limits["choices"]):
        raise STEnhanceError(f"{key}: {field.name}={value!r} was given; expected {expected}.")
    return parsed


def _expected(kind: type, limits: Mapping[str, Any]) -> str:
    if limits["choices"] is not None:
        return "one of " + ", ".join(map(str, limits["choices"]))
    words = {bool: "true or false", int: "a whole number", float: "a number", str: "text"}[kind]
    low, high, unit = limits["minimum"], limits["maximum"], limits["unit"]
    if low is not None and high is not None:
        words += f" from {low} to {high}"
    elif low is not None:
        words += f" of at least {low}"
    elif high is not None:
        words += f" of at most {high}"
    return f"{words} {unit}".rstrip()


_TRUTH = {"true": True, "yes": True, "on": True, "1": True, "false": False, "no": False, "off": False, "0": False}
