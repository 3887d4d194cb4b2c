"""Voxels in memory-mapped files, the way frames pass between two processes without a copy.

The files are `.npy`, so they tell their own shape and type. Their room is reserved when they are created: writing into
a mapped file with holes on a full disk would end the process with a bus error instead of an exception.
"""

from __future__ import annotations

import contextlib
import errno
import os
import shutil
import weakref
from pathlib import Path

import numpy as np

from STEnhanceLib.errors import STEnhanceError

DISK_IS_FULL = {errno.ENOSPC, errno.EFBIG, getattr(errno, "EDQUOT", errno.ENOSPC)}
_MEGABYTE = 1 << 20


def create(path: Path, shape: tuple[int, ...], dtype: np.dtype) -> np.memmap:
    """A new file of zeros, mapped for reading and writing.

    Raises:
        STEnhanceError: the disk has no room for it; nothing is left behind.
    """
    dtype = np.dtype(dtype)
    header = {"descr": np.lib.format.dtype_to_descr(dtype), "fortran_order": False, "shape": tuple(map(int, shape))}
    size = dtype.itemsize * int(np.prod(shape, dtype=np.int64))
    try:
        with path.open("xb") as file:
            np.lib.format.write_array_header_1_0(file, header)
            file.flush()
            _reserve(file, size)
    except OSError as error:
        path.unlink(missing_ok=True)
        if error.errno not in DISK_IS_FULL:
            raise
        free = shutil.disk_usage(path.parent).free
        raise STEnhanceError(
            f"No room for {size / _MEGABYTE:.0f} MB of voxels in {path.parent} ({os.strerror(error.errno)}; "
            f"{free / _MEGABYTE:.0f} MB are free). Free some room there, or set TMPDIR to a folder on a larger disk."
        ) from None
    return np.load(path, mmap_mode="r+")


def open_read_only(path: Path) -> np.memmap:
    """The voxels of a file that `create` made, here or in another process."""
    return np.load(path, mmap_mode="r")


def delete_with(array: np.memmap, path: Path) -> np.memmap:
    """Delete the file as soon as nobody holds the array or a view of it any more."""
    weakref.finalize(array.base, delete, path)
    return array


def file_in(folder: Path, array: np.ndarray) -> Path | None:
    """The file in `folder` whose whole content is this array; None if it is a part of one, or lies elsewhere."""
    path = Path(getattr(array, "filename", None) or "")
    if path.parent != folder or not path.exists() or not array.flags.c_contiguous:
        return None
    whole = open_read_only(path)
    return path if whole.shape == array.shape and whole.dtype == array.dtype else None


def delete(path: Path) -> None:
    """Delete a file that may be gone already."""
    with contextlib.suppress(OSError):  # Windows keeps a file that the worker still maps; it goes with its folder
        path.unlink(missing_ok=True)


def _reserve(file, size: int) -> None:
    if hasattr(os, "posix_fallocate"):
        try:
            os.posix_fallocate(file.fileno(), file.tell(), size)
            return
        except OSError as error:
            if error.errno not in {errno.EINVAL, errno.EOPNOTSUPP}:
                raise  # the disk is full; otherwise this file system cannot reserve, so write
    zeros = bytes(_MEGABYTE)
    for written in range(0, size, _MEGABYTE):
        file.write(zeros[: size - written])
    file.flush()
