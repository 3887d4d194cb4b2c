"""What a job tells its caller: `Planned`, now and then `Working`, `FrameReady` for every frame, then one ending."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field

import numpy as np

from STEnhanceLib.methods import SideMap
from STEnhanceLib.sequence import Grid


@dataclass(frozen=True, eq=False)
class Planned:
    """The method accepted the input; nothing is computed yet.

    Attributes:
        grid: where and when the result will lie.
        notes: what the method assumed, one sentence each.
        attributes: provenance of the result, see `methods.run.provenance`.
        maps: what every frame brings beside its voxels.
    """

    grid: Grid
    notes: tuple[str, ...]
    attributes: Mapping[str, str]
    maps: tuple[SideMap, ...] = ()


@dataclass(frozen=True)
class Working:
    """What is computed before the next frame comes; some methods finish all slices before the first.

    Attributes:
        text: a few words, such as "slice 2 of 10, step 3 of at most 30".
        share: of the way to the next frame, 0 … 1.
    """

    text: str
    share: float


@dataclass(frozen=True, eq=False)
class FrameReady:
    """One frame of the result.

    Attributes:
        index: its place in the result, from 0.
        count: frames of the whole result.
        voxels: (K, J, I) float32, a read-only view of the job's file, not a copy.
        unsupported: as in `methods.EnhancedFrame`; a read-only view where it is a map.
        maps: what was announced beside the voxels, by `SideMap.key`; read-only views, too.
    """

    index: int
    count: int
    voxels: np.ndarray
    unsupported: np.ndarray | float
    maps: Mapping[str, np.ndarray] = field(default_factory=dict)


@dataclass(frozen=True)
class Finished:
    """All frames are there.

    Attributes:
        notes: what else came up while they were computed, one sentence each.
        attributes: provenance with these notes; empty where there are none.
    """

    notes: tuple[str, ...] = ()
    attributes: Mapping[str, str] = field(default_factory=dict)


@dataclass(frozen=True)
class Failed:
    """There will be no result; `message` is one sentence or two for the user."""

    message: str


@dataclass(frozen=True)
class Cancelled:
    """The caller gave the job up."""


Event = Planned | Working | FrameReady | Finished | Failed | Cancelled
