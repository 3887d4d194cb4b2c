"""The voxels of a 4D file as a stream: checked against the file's size, then read in one pass into float32."""

from __future__ import annotations

import math
from typing import BinaryIO

import numpy as np

from STEnhanceLib.errors import STEnhanceError
from STEnhanceLib.files.compressed import Content

LARGEST_DEFLATE_RATIO = 1032
"""No gzip stream unpacks to more than this many times its size, so a header that claims more is wrong."""


def check_size(shape: tuple[int, ...], dtype: np.dtype, most_bytes: int) -> None:
    """Refuse a header that claims more voxels than its file can hold, before anything is allocated for them.

    Args:
        shape: (T, K, J, I).
        dtype: of one voxel in the file.
        most_bytes: how many the rest of the file can possibly hold, see `LARGEST_DEFLATE_RATIO`.
    """
    claimed = math.prod(shape) * dtype.itemsize
    if claimed > most_bytes:
        raise STEnhanceError(
            f"its header claims {' × '.join(map(str, shape[::-1]))} voxels ({claimed} bytes), but the file holds at "
            f"most {most_bytes}; it was cut off or its header is damaged. Copy or export it again."
        )


def read_frames(
    content: Content,
    dtype: np.dtype,
    shape: tuple[int, int, int, int],
    *,
    time_first: bool = False,
    slope: float = 1.0,
    intercept: float = 0.0,
) -> tuple[np.ndarray, tuple[str, ...]]:
    """Read all voxels; `check_size` comes first.

    Args:
        content: at the first voxel; what it holds can be trusted once it is finished.
        dtype: of one voxel in the file, with its byte order; real or complex.
        shape: (T, K, J, I).
        time_first: time runs fastest in the file, instead of slowest.
        slope: `value = slope * stored + intercept`.
        intercept: see `slope`.

    Returns:
        (T, K, J, I) float32 or complex64, and notes.

    Raises:
        STEnhanceError: the content is shorter than the shape says, or damaged.
    """
    frames = np.empty(shape, np.complex64 if dtype.kind == "c" else np.float32)
    # One chunk is one frame, or one slice of all frames where time runs fastest.
    chunks = frames.transpose(1, 2, 3, 0) if time_first else frames
    rescaled = (slope, intercept) != (1.0, 0.0)
    exact = rescaled or np.can_cast(dtype, frames.dtype)
    changed = 0
    for chunk in chunks:
        stored = np.frombuffer(_exactly(content, chunk.size * dtype.itemsize), dtype).reshape(chunk.shape)
        if rescaled:
            stored = stored * np.float64(slope) + np.float64(intercept)
        with np.errstate(over="ignore"):  # becomes infinite, which ImageSequence refuses by name of the frame
            chunk[...] = stored
        if not exact:
            changed += int(np.count_nonzero(chunk != stored))
    notes = ()
    if changed:
        notes = (f"{changed} voxels of type {dtype.name} were rounded to {frames.dtype}.",)
    return frames, notes


def write_frames(stream: BinaryIO, frames: np.ndarray) -> None:
    """Append (T, K, J, I) voxels, little-endian, I fastest and T slowest."""
    little_endian = frames.dtype.newbyteorder("<")
    for frame in frames:
        stream.write(np.ascontiguousarray(frame, little_endian).view(np.uint8).data)


def _exactly(content: Content, count: int) -> bytes:
    got = content.read(count)
    if len(got) < count:
        raise STEnhanceError("it ends before its last voxel: it was cut off. Copy or export it again.")
    return got
