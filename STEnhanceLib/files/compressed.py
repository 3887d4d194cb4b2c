"""The content of a file, gzip-compressed or not, that counts only once its end, checksum and length were seen.

A gzip stream tells by its last eight bytes whether it is whole: whoever stops reading before takes damaged voxels for
good ones. So every reader of ours reads through `Content` and ends with `finish`.
"""

from __future__ import annotations

import gzip
import zlib
from typing import BinaryIO

from STEnhanceLib.errors import STEnhanceError

GOES_ON = "The file goes on after its last voxel; what follows was ignored."
MOST_AFTER_THE_VOXELS = 256 << 20
"""Bytes after the last voxel that are still unpacked to see the checksum; no program writes so many there."""
_PIECE = 1 << 20


class Content:
    """A file from where its stream stands, unpacked if it is gzip.

    Args:
        file: a binary stream; stays open.
        compressed: it is gzip.
    """

    def __init__(self, file: BinaryIO, compressed: bool):
        self._file, self._compressed = file, compressed
        self._unpacked: BinaryIO = gzip.GzipFile(fileobj=file) if compressed else file

    def read(self, count: int) -> bytes:
        """The next bytes, fewer only at the end.

        Raises:
            STEnhanceError: the compressed data are cut off or damaged.
        """
        if not self._compressed:
            return self._unpacked.read(count)
        try:
            return self._unpacked.read(count)
        except (EOFError, OSError, zlib.error) as error:
            if isinstance(error, OSError) and error.errno is not None:
                raise  # of the disk, which says so itself
            raise STEnhanceError(
                f"its compressed data are cut off or damaged ({error}), so no voxel of it can be trusted. Copy or "
                "export it again."
            ) from error

    def finish(self, *, nothing_more: bool = False) -> tuple[str, ...]:
        """Read on to the end, past the checksum and the length of a compressed stream; a note on what was left.

        Args:
            nothing_more: the checksum does not cover the header that says how many voxels there are; then more of
                them than it says are as much a sign of damage as fewer.

        Raises:
            STEnhanceError: the compressed data are cut off or damaged, or go on where they must not.
        """
        if not self._compressed:
            return (GOES_ON,) if self._unpacked.read(1) else ()
        left, allowed = 0, 0 if nothing_more else MOST_AFTER_THE_VOXELS
        try:
            while piece := self.read(_PIECE):
                left += len(piece)
                if left > allowed:
                    raise STEnhanceError(
                        "its compressed data hold more than the voxels that its header claims: one of the two is "
                        "damaged. Copy or export it again."
                    )
        except STEnhanceError as error:
            if not _is_padding(error.__cause__):
                raise
            left = 1
        return (GOES_ON,) if left else ()


def _is_padding(error: BaseException | None) -> bool:
    """A whole gzip stream came to its end, and what follows it is no other one: some programs pad their files."""
    return isinstance(error, gzip.BadGzipFile) and str(error).startswith("Not a gzipped file")
