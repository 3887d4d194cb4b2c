"""Phantoms as cases of the benchmark: large motion whose truth is known, where registration is expected to fail."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from pathlib import Path

from STEnhanceLib.errors import STEnhanceError
from STEnhanceLib.evaluation.cases import Case, find_cases
from STEnhanceLib.phantoms.breathing import Breathing
from STEnhanceLib.phantoms.knee import Knee

PATIENT = 100  # a seed that trains nothing
MATRIX, SLICES = 192, 3
KNEE_FRAMES, BREATH_FRAMES = 12, 20


def knee() -> Case:
    """0 to 80° in 12 frames, not a cycle; the box is around the joint."""
    make = lambda: Knee(PATIENT).cine(KNEE_FRAMES, MATRIX, SLICES)  # noqa: E731
    return Case(
        "knee",
        make,
        {
            "heart_centre_xy": (76, 84),
            "end_systole_frame": KNEE_FRAMES - 1,
            "periodic": False,
            "remark": "A phantom that bends by 80°, not a cycle: t6 keeps its first and last frame. The box is around "
            "the joint.",
        },
    )


def breathing() -> Case:
    """A deep breath of 30 mm in 20 frames, with sliding at the pleura; the box is around the diaphragm."""
    make = lambda: Breathing(PATIENT).cine(BREATH_FRAMES, MATRIX, SLICES)  # noqa: E731
    return Case(
        "breathing",
        make,
        {
            "heart_centre_xy": (66, 92),
            "end_systole_frame": BREATH_FRAMES // 2,
            "remark": "A phantom that breathes by 30 mm, one cycle: t6 keeps the ends of expiration and of "
            "inspiration. The box is around the right half of the diaphragm.",
        },
    )


PHANTOMS: Mapping[str, Callable[[], Case]] = {"knee": knee, "breathing": breathing}


def all_cases(data_dir: Path | str | None, names: Sequence[str] | None, phantoms: Sequence[str]) -> list[Case]:
    """The cases of a folder, all or the named ones, then phantoms.

    Raises:
        STEnhanceError: there is neither folder nor phantom, or as `find_cases` and `phantom_cases`.
    """
    made = phantom_cases(phantoms)
    if data_dir is None and (names or not made):
        raise STEnhanceError("No folder of 4D files was given; name one by --data, or phantoms alone by --phantoms.")
    return [*(find_cases(Path(data_dir), names) if data_dir is not None else ()), *made]


def phantom_cases(names: Sequence[str]) -> list[Case]:
    """The phantoms of these names, in this order.

    Raises:
        STEnhanceError: there is no such phantom.
    """
    for name in names:
        if name not in PHANTOMS:
            raise STEnhanceError(f"There is no phantom {name!r}; there are: {', '.join(PHANTOMS)}.")
    return [PHANTOMS[name]() for name in dict.fromkeys(names)]
