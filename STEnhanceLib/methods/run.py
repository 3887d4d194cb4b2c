"""Runs a method: checks what it needs, watches over what it yields, and writes down where the result came from."""

from __future__ import annotations

import dataclasses
import json
from collections.abc import Callable, Iterator, Mapping
from typing import Any

import numpy as np

import STEnhanceLib
from STEnhanceLib.errors import STEnhanceError
from STEnhanceLib.methods.declaration import UNSUPPORTED, EnhancedFrame, Enhancement, Method, Need
from STEnhanceLib.models import find_model
from STEnhanceLib.origin import GENERATED_FRAMES, Lineage, generated_text, origins_of
from STEnhanceLib.sequence import Grid, ImageSequence

NOT_FOR_CLINICAL_USE = "Research software: not for clinical use."


def enhance(method: Method, sequence: ImageSequence, parameters: Any, **inputs: Any) -> Enhancement:
    """Start a method on a sequence; nothing heavy runs until the frames are iterated.

    Args:
        method: see `methods.find_method`.
        sequence: stays untouched.
        parameters: see `parse_parameters`.
        inputs: `prior` and `kspace`; what the method does not take is left aside, None counts as absent.

    Raises:
        STEnhanceError: a package, an input or the file of a model is missing or damaged, or the method refuses the
            sequence.
    """
    missing = method.missing_packages()
    if missing:
        raise STEnhanceError(
            f"{method.key} needs {' and '.join(missing)}, not installed here; install with "
            f"`pip install {' '.join(missing)}`, or pick a method that needs less (`stenhance methods` lists them)."
        )
    taken = {need.value: inputs.get(need.value) for need in method.takes}
    for name in (need.value for need in method.needs):
        if taken[name] is None:
            raise STEnhanceError(f"{method.key} needs a {name} beside the images and got none: add --{name} FILE.")
    started = method.enhance(sequence, parameters, **taken)
    keys = [side_map.key for side_map in started.maps]
    if len(set(keys)) < len(keys):
        raise STEnhanceError(
            f"{method.key} announced maps with the keys {', '.join(keys)}; expected each of them once. This is a fault "
            "of the method; please report it."
        )
    for name in started.models:
        find_model(name).checked_weights()
    return dataclasses.replace(started, frames=_watched(method, started, lineage(method, sequence, started)))


def lineage(method: Method, sequence: ImageSequence, enhancement: Enhancement) -> Lineage:
    """What becomes of the origins of the input's frames in the result."""
    return Lineage(origins_of(sequence), sequence.times_ms, enhancement.grid, method.key)


def provenance(method: Method, parameters: Any, sequence: ImageSequence, enhancement: Enhancement) -> Mapping[str, str]:
    """How a result was made, and from what, as attributes for file headers and nodes."""
    made = {
        "STEnhance.Method": method.key,
        "STEnhance.MethodTitle": method.title,
        "STEnhance.Task": method.task.value,
        "STEnhance.Version": STEnhanceLib.__version__,
        "STEnhance.Parameters": json.dumps(dataclasses.asdict(parameters), sort_keys=True),
        "STEnhance.Reference": method.reference,
        "STEnhance.Generative": "yes" if method.generative else "no",
        "STEnhance.Assumed": " ".join((*sequence.notes, *enhancement.notes)),
        "STEnhance.Notice": NOT_FOR_CLINICAL_USE,
        "STEnhance.Input": sequence.name,
        GENERATED_FRAMES: generated_text(~lineage(method, sequence, enhancement).measured),
    }
    if enhancement.models:
        made["STEnhance.Model"] = "; ".join(find_model(name).identity() for name in enhancement.models)
    return made


def announcement(method: Method, grid: Grid, parameters: Any, has_kspace: bool = False) -> Enhancement:
    """What a method would announce, found without any voxels and in milliseconds; only without the frames.

    A method that works on k-space keeps the grid, and has a map where its parameter `support` asks for one.

    Args:
        has_kspace: the method will be given k-space if it takes it.

    Raises:
        STEnhanceError: the method refuses such a sequence, or a model of its is not there.
    """
    if Need.KSPACE in (method.takes if has_kspace else method.needs):
        maps = (UNSUPPORTED,) if getattr(parameters, "support", False) else ()
        return Enhancement(grid, iter(()), maps=maps)
    blank = np.broadcast_to(np.float32(0), (len(grid), *grid.shape))
    sequence = ImageSequence(blank, grid.ijk_to_ras, grid.times_ms, grid.periodic)
    started = method.enhance(sequence, parameters, **{need.value: None for need in method.takes})
    for name in started.models:
        find_model(name)
    return started


def enhance_all(
    method: Method,
    sequence: ImageSequence,
    parameters: Any,
    on_frame: Callable[[int, int], None] = lambda done, total: None,
    *,
    on_unsupported: Callable[[np.ndarray | float], None] = lambda fraction: None,
    on_planned: Callable[[Enhancement], None] = lambda enhancement: None,
    on_maps: Callable[[Mapping[str, np.ndarray]], None] = lambda maps: None,
    **inputs: Any,
) -> ImageSequence:
    """Enhance every frame and return the finished sequence with its provenance; arguments as `enhance`.

    Args:
        on_frame: called with the number of finished frames and the total, from 0 on.
        on_unsupported: called with the unsupported fraction of every frame, see `EnhancedFrame`.
        on_planned: called before the first frame is computed.
        on_maps: called with the maps of every frame, see `EnhancedFrame`.
    """
    enhancement = enhance(method, sequence, parameters, **inputs)
    on_planned(enhancement)
    grid = enhancement.grid
    frames = np.empty((len(grid), *grid.shape), np.float32)
    origins, origin_of = [], lineage(method, sequence, enhancement).origin
    on_frame(0, len(grid))
    for index, frame in enumerate(enhancement.frames):
        frames[index] = frame.voxels
        origins.append(origin_of(index, frame.unsupported))
        on_unsupported(frame.unsupported)
        on_maps(frame.maps)
        on_frame(index + 1, len(grid))
    generated = generated_text([origin.generated for origin in origins])
    return ImageSequence(
        frames,
        grid.ijk_to_ras,
        grid.times_ms,
        grid.periodic,
        name=f"{sequence.name} ({method.title})",
        notes=enhancement.notes,
        attributes={**provenance(method, parameters, sequence, enhancement), GENERATED_FRAMES: generated},
        frame_attributes=tuple(origin.attributes() for origin in origins),
    )


def _watched(method: Method, started: Enhancement, origins: Lineage) -> Iterator[EnhancedFrame]:
    count = 0
    for count, frame in enumerate(started.frames, start=1):
        if frame.voxels.shape != started.grid.shape or not np.isfinite(frame.voxels).all():
            raise STEnhanceError(
                f"{method.key} made frame {count} with shape {frame.voxels.shape} or with NaN voxels; expected finite "
                f"{started.grid.shape}. This is a fault of the method; please report it with your parameters."
            )
        _check_maps(method, started, count, frame)
        yield _inheriting(frame, count - 1, origins)
    if count != len(started.grid):
        raise STEnhanceError(
            f"{method.key} made {count} of {len(started.grid)} frames. This is a fault of the method; please report it."
        )


def _inheriting(frame: EnhancedFrame, index: int, origins: Lineage) -> EnhancedFrame:
    """What a generated frame is made of was never measured, which a method that sees only its voxels cannot know."""
    maps = frame.maps
    if UNSUPPORTED.key in maps:
        maps = {**maps, UNSUPPORTED.key: origins.inherited(index, maps[UNSUPPORTED.key])}
    return EnhancedFrame(frame.voxels, origins.inherited(index, frame.unsupported), maps)


def _check_maps(method: Method, started: Enhancement, count: int, frame: EnhancedFrame) -> None:
    announced = [side_map.key for side_map in started.maps]
    if sorted(frame.maps) != sorted(announced):
        made, expected = (", ".join(sorted(keys)) or "none" for keys in (frame.maps, announced))
        raise STEnhanceError(
            f"{method.key} made frame {count} with these maps: {made}; expected: {expected}. This is a fault of the "
            "method; please report it."
        )
    for side_map in started.maps:
        values = frame.maps[side_map.key]
        shape = side_map.shape(started.grid)
        if values.shape != shape or values.dtype != np.float32 or not np.isfinite(values).all():
            raise STEnhanceError(
                f"{method.key} made the map {side_map.key!r} of frame {count} with shape {values.shape} of "
                f"{values.dtype} or with NaN voxels; expected finite {shape} of float32. This is a fault of the "
                "method; please report it with your parameters."
            )
