"""The arrays of an `.npz` file: those asked for and no others, each only if it is whole.

`np.load` allocates what the header of an array claims before it looks at the file, and takes an array for good whose
checksum it has not reached.
"""

from __future__ import annotations

import zipfile
from collections.abc import Iterable
from pathlib import Path
from typing import BinaryIO

import numpy as np

from STEnhanceLib.errors import refused
from STEnhanceLib.files.voxels import LARGEST_DEFLATE_RATIO

_ENCRYPTED = 1  # flag of a member
_PIECE = 1 << 20
_OBJECTS = "it holds Python objects, which can run any program and are never opened"


def read_arrays(path: Path, names: Iterable[str]) -> dict[str, np.ndarray]:
    """The arrays of these names, as far as the file has them.

    Raises:
        STEnhanceError: not an archive, encrypted or compressed in another way, damaged, or an array of Python objects
            or of another size than its header claims.
        OSError: no such file, or as the system says it.
    """
    advice = "expected .npz as STEnhance or numpy.savez writes it. Copy or make it again."
    with refused(f"{path} is not a k-space file or is damaged", advice), zipfile.ZipFile(path) as archive:
        members = {member.filename: member for member in archive.infolist()}
        for member in members.values():
            if not member.flag_bits & _ENCRYPTED:
                archive.open(member).close()  # refuses a name that is damaged in one of the two places that hold it
        wanted = {name: members[f"{name}.npy"] for name in names if f"{name}.npy" in members}
        arrays = {}
        for name, member in wanted.items():
            _check_packing(member, path.stat().st_size)
            with archive.open(member) as stream:
                arrays[name] = _array(stream, member)
        return arrays


def _check_packing(member: zipfile.ZipInfo, size_of_file: int) -> None:
    if member.flag_bits & _ENCRYPTED:
        raise ValueError(f"{member.filename} is encrypted")
    if member.compress_type not in (zipfile.ZIP_STORED, zipfile.ZIP_DEFLATED):
        raise ValueError(f"{member.filename} is compressed in a way that numpy does not write")
    ratio = 1 if member.compress_type == zipfile.ZIP_STORED else LARGEST_DEFLATE_RATIO
    most = ratio * min(member.compress_size, size_of_file)
    if member.file_size > most:
        raise ValueError(f"{member.filename} claims {member.file_size} bytes, but the file holds at most {most}")


def _array(stream: BinaryIO, member: zipfile.ZipInfo) -> np.ndarray:
    read_header = {
        (1, 0): np.lib.format.read_array_header_1_0,
        (2, 0): np.lib.format.read_array_header_2_0,
    }.get(np.lib.format.read_magic(stream))
    if read_header is None:
        raise ValueError(f"{member.filename} is of a version that is not known here")
    shape, by_columns, dtype = read_header(stream)
    if dtype.hasobject:
        raise ValueError(f"{member.filename} is no plain array: {_OBJECTS}")
    left, claimed = member.file_size - stream.tell(), dtype.itemsize
    for size in shape:
        claimed *= size
    if min(shape, default=0) < 0 or claimed != left:
        raise ValueError(f"{member.filename} claims the shape {shape} of {dtype}, and {left} bytes follow")
    array = np.empty(shape[::-1] if by_columns else shape, dtype)
    into = memoryview(array.reshape(-1).view(np.uint8)) if claimed else memoryview(b"")
    got = 0
    while got < claimed and (count := stream.readinto(into[got : got + _PIECE])):
        got += count
    if got < claimed or stream.read(1):  # this also reaches the checksum
        raise ValueError(f"{member.filename} is cut off")
    return array.T if by_columns else array
