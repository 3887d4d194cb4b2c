"""Files and DICOM folders ⇄ `ImageSequence`.

    sequence = files.read("cine.seq.nrrd")
    files.write(sequence, "copy.nii.gz")

| what | read | written | kept |
|---|---|---|---|
| `.seq.nrrd`, `.nrrd` | yes | yes, as 3D Slicer does | everything, exactly |
| `.nii`, `.nii.gz` | yes | yes, if frames are evenly spaced | everything; other programs see geometry in float32 |
| folder of DICOM | yes | no | |

Voxels become float32 (complex64 where they are complex). Whatever a file leaves open is assumed and written down in
`ImageSequence.notes`. Displacements are only written, as the sequence of grid transforms that 3D Slicer opens.
"""

from __future__ import annotations

import contextlib
from collections.abc import Mapping
from pathlib import Path

from STEnhanceLib.errors import STEnhanceError, refused
from STEnhanceLib.files import dicom, displacements, nifti, nrrd
from STEnhanceLib.files.displacements import Displacements
from STEnhanceLib.files.replace import refuse_irregular, refuse_protected, replaced_when_complete, try_to_write_into
from STEnhanceLib.sequence import Grid, ImageSequence

KNOWN = ".seq.nrrd, .nrrd, .nii, .nii.gz"


def read(path: str | Path, series: str | int | None = None) -> ImageSequence:
    """Read a 4D file or a folder of DICOM files.

    Args:
        path: a file or folder, see the module.
        series: which DICOM series of the folder, by SeriesInstanceUID or SeriesNumber; needed where it holds several.

    Raises:
        STEnhanceError: nothing there, unknown format, damaged, incomplete, not a 4D sequence of grey values.
    """
    path = Path(path).expanduser()
    if not path.exists():
        raise STEnhanceError(f"{path} does not exist; expected a file ({KNOWN}) or a folder of DICOM files.")
    try:
        if path.is_dir():
            with refused("its headers cannot be understood", "a file is damaged. Copy or export it again."):
                return dicom.read(path, series)
        if series is not None:
            raise STEnhanceError("it is a file; expected a folder of DICOM files, since a series was chosen.")
        if not path.is_file():
            raise STEnhanceError("it is a device, a pipe or a socket; expected a file. Copy it into one first.")
        form = _format_of(path, KNOWN + " or a DICOM folder", "Give the folder of the DICOM files, not one")
        with refused("its header cannot be understood", "it is damaged. Copy or export it again."):
            return form.read(path)
    except STEnhanceError as error:
        raise STEnhanceError(f"Cannot read {path}: {error}") from error
    except MemoryError as error:
        raise STEnhanceError(f"Cannot read {path}: not enough memory to hold its voxels; free some.") from error
    except OSError as error:
        raise STEnhanceError(f"Cannot read {path}: {error.strerror or error}.") from error


def write(sequence: ImageSequence, path: str | Path) -> None:
    """Write a 4D file. A file of that name is replaced only when the new one is complete on the disk.

    Raises:
        STEnhanceError: unknown format, a sequence that the format cannot hold, no space left, no permission.
    """
    write_together({Path(path): sequence})


def write_together(contents: Mapping[Path, ImageSequence | Displacements]) -> None:
    """Write 4D files that belong together; those of their names are replaced only when all new ones are complete.

    The first one comes to its place last.

    Raises:
        STEnhanceError: as `write`, of one of them; then none is there.
    """
    with contextlib.ExitStack() as unfinished:
        for name, sequence in contents.items():
            path = Path(name).expanduser()
            with _told(path):
                form = _format_of(path)
                stream = unfinished.enter_context(replaced_when_complete(path))
                if isinstance(sequence, Displacements):
                    displacements.write(sequence, stream)
                else:
                    form.write(sequence, stream, compressed=path.name.lower().endswith(".gz"))
        with _told(path):
            unfinished.close()  # now, so that what fails here is told, too


def refuse_unwritable(path: Path, ending: str | None = None) -> None:
    """Stop before anything is computed for a file that could not be written.

    Args:
        path: of the file.
        ending: of its name, where it is no 4D file: .mrb, .npz; empty for any.

    Raises:
        STEnhanceError: unknown format, another ending, a folder, a device or a write-protected file of that name, or
            no folder that it can be put in.
    """
    with _told(path):
        if ending is None:
            _format_of(path)
        elif not path.name.lower().endswith(ending):
            raise STEnhanceError(f"its name ends in {path.suffix or 'nothing'}; expected {ending}. Rename it.")
        if path.expanduser().is_dir():
            raise STEnhanceError("it is a folder; expected the name of a file. Choose another one.")
        if not path.expanduser().parent.is_dir():
            raise STEnhanceError(f"there is no folder {path.parent}; expected one. Make it first.")
        refuse_irregular(path.expanduser())
        refuse_protected(path.expanduser())
        try_to_write_into(path.expanduser().resolve().parent)  # of what a symbolic link points to


def refuse_grid(grid: Grid, path: Path) -> None:
    """Stop before anything is computed for what the format of this file could not hold; scenes hold everything.

    Raises:
        STEnhanceError: frames that are not evenly spaced in time, for NIfTI.
    """
    if path.name.lower().endswith((".nii", ".nii.gz")):
        with _told(path):
            nifti.refuse(grid)


def holds_displacements(path: Path) -> bool:
    """Whether the format of this file, or the scene, can hold displacements."""
    return path.name.lower().endswith((".nrrd", ".mrb"))


def beside(path: Path, key: str) -> Path:
    """The name of a file with another part of the same result: `out.spread.seq.nrrd` for `out.seq.nrrd`."""
    name = path.name
    known = (".seq.nrrd", ".nii.gz", path.suffix)
    suffix = next(name[len(name) - len(ending) :] for ending in known if name.lower().endswith(ending.lower()))
    return path.with_name(f"{name.removesuffix(suffix)}.{key}{suffix}")


@contextlib.contextmanager
def _told(path: Path):
    """Errors name the file that is written."""
    try:
        yield
    except STEnhanceError as error:
        raise STEnhanceError(f"Cannot write {path}: {error}") from error
    except OSError as error:
        raise STEnhanceError(f"Cannot write {path}: {error.strerror or error}. What was there is unchanged.") from error


def _format_of(path: Path, expected: str = KNOWN, of_dicom: str = "DICOM is read only"):
    name = path.name.lower()
    if name.endswith(".nrrd"):
        return nrrd
    if name.endswith((".nii", ".nii.gz")):
        return nifti
    hint = ""
    if name.endswith(".mrb"):
        hint = " A scene (.mrb) is opened and saved by 3D Slicer or as the result of `stenhance enhance`."
    elif name.endswith(".nhdr"):
        hint = " A detached header is not supported: save it as .seq.nrrd."
    elif name.endswith((".dcm", ".ima")):
        hint = f" {of_dicom}."
    raise STEnhanceError(f"its name ends in {path.suffix or 'nothing'}; expected {expected}.{hint}")
