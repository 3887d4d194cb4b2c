"""What the header of a scan says about the matrix that was measured.

AcquisitionMatrix (0018,1310) holds frequency rows, frequency columns, phase rows and phase columns, two of them zero;
InPlanePhaseEncodingDirection (0018,1312) says along which side of the picture phases were encoded: ROW along a row.
PercentPhaseFieldOfView (0018,0094) says that the phase matrix spans only a share of the field of view: but vendors
differ in whether their matrix counts that already, as in whether lines that PercentSampling (0018,0093) leaves out
count. All readings are given, most literal first, and the images decide.
"""

from __future__ import annotations

import re
from collections.abc import Mapping
from typing import NamedTuple

MATRIX, DIRECTION = "DICOM.AcquisitionMatrix", "DICOM.InPlanePhaseEncodingDirection"
PHASE_FIELD_OF_VIEW, SAMPLING = "DICOM.PercentPhaseFieldOfView", "DICOM.PercentSampling"


class Reading(NamedTuple):
    """One way to read a header.

    Attributes:
        ji: samples over the shown field of view along rows and columns, (J, I).
        how: the assumption, as the end of a sentence; empty for the plainest reading.
    """

    ji: tuple[float, float]
    how: str


def readings(
    attributes: Mapping[str, str], shown_ji: tuple[int, int], spacing_ji: tuple[float, float]
) -> tuple[list[Reading], tuple[str, ...]]:
    """All ways to read what a header says, and what is wrong with it, as sentences.

    Args:
        attributes: of an `ImageSequence`, `DICOM.<Keyword>` as text.
        shown_ji: matrix of the images.
        spacing_ji: its voxel sizes in mm.
    """
    text = attributes.get(MATRIX, "")
    numbers = [int(word) for word in re.findall(r"\d+", text)]
    if not text:
        return [], ()
    frequency, phase = (max(pair) if pair else 0 for pair in (numbers[:2], numbers[2:4]))
    if len(numbers) != 4 or min(frequency, phase) < 8:
        return [], (f"The header says AcquisitionMatrix {text}, which is no matrix; it was left aside.",)
    if max(frequency, phase) > 4 * max(shown_ji):
        return [], (f"The header says AcquisitionMatrix {text}, far beyond what is shown; it was left aside.",)
    direction = attributes.get(DIRECTION, "").strip().upper()
    axes = {"ROW": [1], "COL": [0], "COLUMN": [0]}.get(direction, [1, 0])  # along which phases were encoded
    field_of_view = [size * mm for size, mm in zip(shown_ji, spacing_ji, strict=True)]
    found: dict[tuple[float, float], str] = {}
    for axis in axes:
        covered = _percent(attributes, PHASE_FIELD_OF_VIEW) * field_of_view[1 - axis] / field_of_view[axis]
        sampled = _percent(attributes, SAMPLING)
        of_field = f"its phase matrix spans {covered:.0%} of the field of view" if covered < 0.995 else ""
        of_lines = f"it counts lines of which {sampled:.0%} were measured"
        ways = [(phase / covered, of_field), (float(phase), "")]
        ways += [(phase * sampled / covered, of_lines), (phase * sampled, of_lines)] if sampled < 0.995 else []
        for along_phase, how in ways:
            ji = (along_phase, float(frequency)) if axis == 0 else (float(frequency), along_phase)
            capped = tuple(min(measured, shown) for measured, shown in zip(ji, shown_ji, strict=True))
            found.setdefault(capped, how)
    return [Reading(ji, how) for ji, how in found.items()], ()


def _percent(attributes: Mapping[str, str], name: str) -> float:
    """A share of 1; 1 where the header says nothing or nonsense."""
    try:
        value = float(attributes.get(name, "100")) / 100
    except ValueError:
        return 1.0
    return value if 0.1 <= value <= 1 else 1.0
