"""The order of DICOM images in time, whether all are there, and when the frames were taken."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np

from STEnhanceLib.assumed import NO_TIMES, NOT_A_CYCLE, numbered_times
from STEnhanceLib.errors import STEnhanceError
from STEnhanceLib.files.dicom_slices import Image

KEYS = ("TriggerTime", "TemporalPositionIdentifier", "AcquisitionTime", "InstanceNumber")
"""What orders the frames of a slice; the first that tells them all apart is taken."""

GAP = 1.5
"""A step between frames longer than this many median steps is where a frame is missing."""


@dataclass(frozen=True)
class Phases:
    """Images ordered by slice and time, and (T,) times in ms."""

    slices: list[list[Image]]
    times_ms: np.ndarray
    periodic: bool
    notes: tuple[str, ...]


def phases_of(slices: list[list[Image]]) -> Phases:
    """Order the images of each slice in time.

    Raises:
        STEnhanceError: nothing tells the frames of a slice apart, there is one frame only, or images are missing; the
            message names phase, slice and the files beside the gap.
    """
    key = _ordering_key(slices)
    slices = [sorted(images, key=lambda image: _moment(image, key)) for images in slices]
    moments = [np.array([_moment(image, key) for image in images]) for images in slices]
    announced = _announced(slices)
    _check_every_slice(slices, moments, key, announced)
    if len(slices[0]) == 1:
        raise STEnhanceError(
            f"it holds one image for each of {len(slices)} slices, a volume without time; expected a 4D sequence."
        )
    _check_no_phase_missing_everywhere(slices, moments, key, announced)
    times, notes = _times_ms(slices, np.array(moments), key, announced)
    periodic, why = _is_cycle(times, slices, announced)
    return Phases(slices, times, periodic, (*notes, why))


def _ordering_key(slices: list[list[Image]]) -> str:
    for key in KEYS:
        if all(_all_differ([_moment(image, key) for image in images]) for images in slices):
            return key
    crowded = max(slices, key=len)
    raise STEnhanceError(
        f"nothing tells the {len(crowded)} images at the position of {crowded[0].path.name} apart in time; expected "
        f"different values of {', '.join(KEYS)}. Other images may be mixed in."
    )


def _moment(image: Image, key: str) -> float | None:
    value = image.header.get(key)
    try:
        if key == "AcquisitionTime":
            digits = str(value).replace(":", "")
            return 1e3 * (3600 * int(digits[:2]) + 60 * int(digits[2:4]) + float(digits[4:]))
        return float(value)
    except (TypeError, ValueError):
        return None


def _all_differ(values: list[float | None]) -> bool:
    return None not in values and len(set(values)) == len(values)


def _announced(slices: list[list[Image]]) -> int | None:
    """How many phases the headers say there are."""
    for key in ("CardiacNumberOfImages", "NumberOfTemporalPositions"):
        values = {image.header.get(key) for images in slices for image in images}
        if len(values) == 1 and str(value := values.pop()).isdigit():
            return int(value)
    return None


def _check_every_slice(slices: list[list[Image]], moments: list[np.ndarray], key: str, announced: int | None) -> None:
    counts = [len(images) for images in slices]
    if len(set(counts)) == 1:
        return
    # A tie is decided for the larger number: an image is more often lost than added.
    count = announced if announced in counts else max(set(counts), key=lambda n: (counts.count(n), n))
    if max(counts) > count:
        k = counts.index(max(counts))
        raise STEnhanceError(
            f"slice {k + 1} of {len(slices)} (with {slices[k][0].path.name}) has {counts[k]} images, but most "
            f"slices have {count}; expected as many in each. Other images may be mixed in."
        )
    whole = moments[counts.index(count)]
    missing = [
        _gap(slices[k], moments[k], whole, phase, key=key, where=f"slice {k + 1} of {len(slices)}")
        for k in range(len(slices))
        if counts[k] < count
        for phase in _missing_phases(moments[k], whole, key)
    ]
    raise STEnhanceError(_incomplete(missing, len(slices) * count))


def _missing_phases(found: np.ndarray, whole: np.ndarray, key: str) -> list[int]:
    """Phases of a whole slice that fit none of the moments found in another slice."""
    from scipy.optimize import linear_sum_assignment

    if key in ("AcquisitionTime", "InstanceNumber"):  # these go on from slice to slice
        found, whole = found - found[0], whole - whole[0]
    _, matched = linear_sum_assignment(np.abs(found[:, None] - whole[None]))
    return sorted(set(range(len(whole))) - set(matched.tolist()))


def _gap(images: list[Image], found: np.ndarray, whole: np.ndarray, phase: int, *, key: str, where: str) -> str:
    count = len(whole)
    relative = key in ("AcquisitionTime", "InstanceNumber")
    at = whole[phase] + (found[0] - whole[0] if relative else 0)
    after = int(np.searchsorted(found, at))
    beside = [images[n].path.name for n in (after - 1, after) if 0 <= n < len(images)]
    name = f"phase {phase + 1} of {count}"
    if relative and phase == count - 1:
        name = f"the first or the last phase of {count}"
    elif key == "TriggerTime":
        name += f" (near {at:g} ms)"
    return f"{name} of {where}, {'between' if len(beside) == 2 else 'next to'} {' and '.join(beside)}"


def _check_no_phase_missing_everywhere(
    slices: list[list[Image]], moments: list[np.ndarray], key: str, announced: int | None
) -> None:
    """The same phase may be missing in all slices; what the headers announce tells."""
    count = len(slices[0])
    if announced is None or announced <= count:
        return
    interval = _mean(slices, "NominalInterval")
    missing = []
    for k, found in enumerate(moments):
        steps = np.diff(found)
        where = f"slice {k + 1} of {len(slices)}"
        gaps = np.flatnonzero(steps > GAP * np.median(steps))
        missing += [
            f"phase {gap + 2} of {announced} of {where}, between {slices[k][gap].path.name} and "
            f"{slices[k][gap + 1].path.name}"
            for gap in gaps
        ]
        shortfall = interval - count * np.median(steps) if key == "TriggerTime" and interval else 0
        if not len(gaps) and shortfall > 0.5 * np.median(steps):
            missing.append(f"the first or the last phase of {announced} of {where}")
    if missing:
        raise STEnhanceError(_incomplete(missing, len(slices) * announced))


def _incomplete(missing: list[str], expected: int) -> str:
    shown = "; ".join(missing[:6]) + (f"; and {len(missing) - 6} more" if len(missing) > 6 else "")
    return f"the series is incomplete, {len(missing)} of {expected} images are missing: {shown}. Export it again."


def _times_ms(
    slices: list[list[Image]], moments: np.ndarray, key: str, announced: int | None
) -> tuple[np.ndarray, tuple[str, ...]]:
    """(T,) from (K, T) moments."""
    count = moments.shape[1]
    notes = ()
    if key == "AcquisitionTime":
        moments = moments - moments[:, :1]
    elif key != "TriggerTime":
        interval, resolution = _mean(slices, "NominalInterval"), _mean(slices, "TemporalResolution")
        if key == "TemporalPositionIdentifier" and resolution:
            return resolution * (moments[0] - moments[0, 0]), ()
        if interval and announced == count:
            return interval / count * np.arange(count), (
                f"The images give no times; {count} phases were spread over the {interval:g} ms between heart beats.",
            )
        return numbered_times(count), (NO_TIMES,)
    even = _even_steps(moments)
    if even is not None and (even != moments).any():
        moments = even
        notes += (
            f"The headers round frame times to whole milliseconds; even steps of {np.diff(even).mean():.2f} ms, which "
            "agree with all of them to less than 1 ms, were taken.",
        )
    spread = np.ptp(moments, axis=0).max()
    if spread > 0.5:
        notes += (f"Frame times differ between slices by up to {spread:.1f} ms; their mean was taken.",)
    return moments.mean(axis=0), notes


def _even_steps(moments: np.ndarray) -> np.ndarray | None:
    """(K, T) evenly spaced times of each slice that whole milliseconds were rounded from; None where there are none."""
    count = moments.shape[1]
    if count < 3 or np.mod(moments, 1).any():
        return None
    steps = np.arange(count) * np.polyfit(np.arange(count), moments.T, 1)[0][:, None]
    return moments[:, :1] + steps if np.ptp(moments - steps, axis=1).max() < 1 else None


def _is_cycle(times: np.ndarray, slices: list[list[Image]], announced: int | None) -> tuple[bool, str]:
    interval = _mean(slices, "NominalInterval")
    duration = float(np.median(np.diff(times)))
    if interval and announced == len(times) and abs(len(times) * duration - interval) <= 0.5 * duration:
        return True, (
            f"Taken as a full heart cycle: {len(times)} frames of {duration:.1f} ms fill the {interval:g} ms between "
            "heart beats that the headers give."
        )
    return False, NOT_A_CYCLE


def _mean(slices: list[list[Image]], key: str) -> float | None:
    """Of a number that every image gives, above 0."""
    values = [_moment(image, key) for images in slices for image in images]
    return float(np.mean(values)) if None not in values and min(values) > 0 else None
