"""When the frames of a sequence node were taken, as what loaded them says it in indices or attributes."""

from __future__ import annotations

import numpy as np

from STEnhanceLib.assumed import MS_PER_UNIT, NO_TIMES, PERHAPS_NUMBERS, numbered_times

FRAME_TIME_MS = "STEnhance.TimeMs"  # attribute of a frame

_TIME_TAGS = ("TriggerTime", "AcquisitionTime", "SeriesTime", "ContentTime")


def frame_times(sequence_node, frame_duration_ms: float | None = None) -> tuple[np.ndarray, tuple[str, ...]]:
    """When each frame of a sequence node was taken, in ms, and what had to be assumed about it."""
    count = sequence_node.GetNumberOfDataNodes()
    if frame_duration_ms is not None:
        return frame_duration_ms * np.arange(count), ()
    for recorded in (
        frame_attributes(sequence_node, FRAME_TIME_MS),
        frame_attributes(sequence_node, "DICOM.triggerTime"),
        _index_times(sequence_node),
        _multi_volume_times(sequence_node),
    ):
        if recorded is not None and len(recorded) == count and (np.diff(recorded) > 0).all():
            return recorded, _doubts(sequence_node, recorded)
    return numbered_times(count), (NO_TIMES,)


def index_values(sequence_node) -> list[str]:
    """The index values of a sequence node as it stores them: text."""
    return [sequence_node.GetNthIndexValue(index) for index in range(sequence_node.GetNumberOfDataNodes())]


def frame_attributes(sequence_node, name: str) -> np.ndarray | None:
    """(T,) numbers that all frames of a sequence node have in an attribute; None where one has none."""
    volumes = (sequence_node.GetNthDataNode(index) for index in range(sequence_node.GetNumberOfDataNodes()))
    return _numbers(volume.GetAttribute(name) if volume is not None else None for volume in volumes)


def _numbers(texts) -> np.ndarray | None:
    try:
        return np.array([float(text) for text in texts])
    except (TypeError, ValueError):
        return None


def _index_times(sequence_node) -> np.ndarray | None:
    scale = MS_PER_UNIT.get(sequence_node.GetIndexUnit().strip().lower())
    values = _numbers(index_values(sequence_node))
    return None if scale is None or values is None else scale * values


def _multi_volume_times(sequence_node) -> np.ndarray | None:
    """MultiVolumeImporter numbers the frames and keeps the true times, comma-separated, in attributes."""
    if sequence_node.GetAttribute("MultiVolume.FrameIdentifyingDICOMTagName") not in _TIME_TAGS:
        return None
    labels = _numbers((sequence_node.GetAttribute("MultiVolume.FrameLabels") or "").split(","))
    unit = sequence_node.GetAttribute("MultiVolume.FrameIdentifyingDICOMTagUnits") or "ms"
    return None if labels is None else MS_PER_UNIT.get(unit, 1.0) * labels


def _doubts(sequence_node, times_ms: np.ndarray) -> tuple[str, ...]:
    # Slicer writes 0, 1, 2, ... s where a file had no times (4D NIfTI), in silence.
    if len(times_ms) > 2 and np.array_equal(times_ms, 1000.0 * np.arange(len(times_ms))):
        return (PERHAPS_NUMBERS,)
    return ()
