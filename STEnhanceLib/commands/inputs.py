"""What commands read, and what they must not write over."""

from __future__ import annotations

import argparse
import dataclasses
from collections.abc import Sequence
from pathlib import Path

from STEnhanceLib import given
from STEnhanceLib.acquisition.kspace import KSpace
from STEnhanceLib.assumed import without_doubts
from STEnhanceLib.errors import STEnhanceError
from STEnhanceLib.sequence import ImageSequence


def add_input(parser: argparse.ArgumentParser, name: str) -> None:
    """A file or folder, and what a user may settle that it leaves open."""
    parser.add_argument(name, type=Path, metavar="IN", help=".seq.nrrd, .nrrd, 4D .nii or .nii.gz, or a DICOM folder")
    parser.add_argument("--series", metavar="N", help="which series of a DICOM folder, by number or UID")
    parser.add_argument(
        "--periodic", action=argparse.BooleanOptionalAction, help="the last frame is followed by the first (a cycle)"
    )


def read_input(
    path: Path, options: argparse.Namespace, kspace: KSpace | None = None, delays: bool = True
) -> ImageSequence:
    """The images of an input, as its options settle what it leaves open; see `given.images`.

    Raises:
        STEnhanceError: as `given.images`.
    """
    sequence = given.images(path, options.series, kspace, delays)
    if options.periodic is not None:
        notes = without_doubts(sequence.notes, cycle=True)
        sequence = dataclasses.replace(sequence, periodic=options.periodic, notes=notes)
    return sequence


def read_if_given(path: Path | None) -> ImageSequence | None:
    """The images of a file that may be left out, such as a reference.

    Raises:
        STEnhanceError: as `given.images`.
    """
    return given.images(path) if path else None


def refuse_overwriting(inputs: Sequence[Path | None], outputs: Sequence[Path | None]) -> None:
    """Stop before anything is computed.

    Raises:
        STEnhanceError: a result would replace a file that was given, or another result.
    """
    taken = [path for path in inputs if path is not None]
    for path in filter(None, outputs):
        for other in taken:
            if _same_place(path, other):
                raise STEnhanceError(f"{path} would replace {other}; expected another name. Write to a new file.")
        taken.append(path)


def _same_place(a: Path, b: Path) -> bool:
    try:
        return a.samefile(b)
    except OSError:  # one of them is not there yet
        return a.resolve() == b.resolve()
