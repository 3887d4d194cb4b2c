"""Writing that never leaves half a file."""

from __future__ import annotations

import os
import stat
import tempfile
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from pathlib import Path
from typing import BinaryIO
from uuid import uuid4

from STEnhanceLib.errors import STEnhanceError


@contextmanager
def replaced_when_complete(path: Path) -> Iterator[BinaryIO]:
    """A binary stream that becomes `path` when the block ends well, and nothing otherwise.

    The stream is a hidden file in the same folder, so the last step is one atomic rename. Who may read a file that is
    replaced may read the new one, and nobody else; a new file is as the umask says.

    Raises:
        STEnhanceError: the folder is missing, or `path` is a folder, a device, a pipe, or write-protected.
        OSError: as the system says it (no space left, no permission); `path` is as it was.
    """
    path = Path(os.path.realpath(path))  # keeps a symbolic link and replaces what it points to
    if path.is_dir():
        raise STEnhanceError("it is a folder; expected the name of a file.")
    if not path.parent.is_dir():
        raise STEnhanceError(f"the folder {path.parent} does not exist; make it first.")
    refuse_irregular(path)
    refuse_protected(path)
    partial = path.with_name(f".{uuid4().hex}.part")
    stream = partial.open("xb")
    try:
        keep_mode(path, partial)
        yield stream
        stream.flush()
        os.fsync(stream.fileno())
        stream.close()
        partial.replace(path)
    finally:
        with suppress(OSError):  # what is left in the buffer of a full disk; the first fault is the one to tell
            stream.close()
        partial.unlink(missing_ok=True)


def refuse_irregular(path: Path) -> None:
    """Stop where something is that no file may take the place of, be it through a link.

    Raises:
        STEnhanceError: `path` is a device, a pipe or a socket.
    """
    if path.exists() and not path.is_dir() and not path.is_file():
        raise STEnhanceError(
            "it is no file but a device, a pipe or a socket, which a result must not replace. Choose another name."
        )


def keep_mode(path: Path, successor: Path) -> None:
    """Let the file that will replace another be read and written by the same people."""
    if path.exists():
        successor.chmod(stat.S_IMODE(path.stat().st_mode))


def refuse_protected(path: Path) -> None:
    """Stop where a file must not be changed: to put another one in its place, the system asks the folder alone.

    Raises:
        STEnhanceError: `path` is write-protected.
    """
    if path.exists() and not os.access(path, os.W_OK):
        raise STEnhanceError("it is write-protected; expected a file that may be replaced. Choose another name.")


def try_to_write_into(folder: Path) -> None:
    """Make a file in a folder, and the folder if need be; nothing of it is left behind.

    Raises:
        OSError: as the system says it (no permission, a file in the way).
    """
    absent = [place for place in (folder, *folder.parents) if not place.exists()]
    try:
        folder.mkdir(parents=True, exist_ok=True)
        with tempfile.TemporaryFile(dir=folder):
            pass
    finally:
        for place in absent:
            with suppress(OSError):  # not made, or somebody else put something there meanwhile
                place.rmdir()
