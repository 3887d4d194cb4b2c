"""A method that yields maps beside its frames, or ones that it should not; run as a script, a worker that has it."""

from __future__ import annotations

import sys
from dataclasses import dataclass
from pathlib import Path

import numpy as np
from standing_still import stand_still

from STEnhanceLib.errors import STEnhanceError
from STEnhanceLib.jobs import worker
from STEnhanceLib.methods import EnhancedFrame, Enhancement, Method, SideMap, Task, all_methods
from STEnhanceLib.methods.declaration import parameter

SPREAD = SideMap("spread", "spread of the samples")
ERROR = SideMap("left-out-error", "error where left out", "%")
MOTION = SideMap("motion", "motion since the first frame", "mm", vector=True)


@dataclass(frozen=True)
class Yield:
    fault: str = parameter("", "What is wrong with the third frame.")
    until: str = parameter("", "A file without which the third frame does not come.")


def spread_of(frame, index):
    """Nothing in the first frame, as where nothing was sampled yet."""
    return (0.1 * index * np.abs(frame)).astype(np.float32)


def motion_of(frame, index):
    k, j, i = np.indices(frame.shape, np.float32)
    return (0.1 * index * np.stack((i, -j, 2 * k + 1))).astype(np.float32)


def maps_of(frame, index):
    return {
        "spread": spread_of(frame, index),
        "left-out-error": np.full(frame.shape, index, np.float32),
        "motion": motion_of(frame, index),
    }


def spoilt(maps, fault):
    match fault:
        case "missing":
            del maps["spread"]
        case "unannounced":
            maps["surprise"] = maps["spread"]
        case "flat":
            maps["motion"] = maps["motion"][0]
        case "infinite":
            maps["spread"][0, 0, 0] = np.inf
        case "double":
            maps["spread"] = maps["spread"].astype(float)
    return maps


def enhance(sequence, parameters):
    def frames():
        for index, frame in enumerate(sequence.frames):
            maps = maps_of(frame, index)
            if index == 2:
                stand_still(parameters.until)
                if parameters.fault == "refuse":
                    raise STEnhanceError("The frames are too dark.")
                maps = spoilt(maps, parameters.fault)
            yield EnhancedFrame(frame, float("nan"), maps)

    twice = (SPREAD,) if parameters.fault == "twice" else ()
    return Enhancement(sequence.grid, frames(), maps=(SPREAD, ERROR, MOTION, *twice))


METHOD = Method(
    key="test-maps",
    title="Maps",
    task=Task.TEMPORAL_INTERPOLATION,
    summary="Copies, and yields maps.",
    parameters=Yield,
    enhance=enhance,
    reference="none",
)


def moved(transform_node, sequence, ijk) -> np.ndarray:
    """By how many mm a transform node moves the centre of a voxel."""
    point = (sequence.ijk_to_ras @ [*ijk, 1])[:3]
    return np.array(transform_node.GetTransformToParent().TransformPoint(point)) - point


if __name__ == "__main__":
    all_methods()[METHOD.key] = METHOD
    worker.main(Path(sys.argv[1]))
