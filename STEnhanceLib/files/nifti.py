"""4D NIfTI-1 (`.nii`, `.nii.gz`).

A small reader and writer of our own: the one in ITK fills the rest of a truncated file without a word, does not notice
a full disk, and has no place for provenance.

The header holds geometry and time in float32: about 1e-5 mm for a heart in a scanner. What is exact, and what NIfTI has
no field for (name, notes, attributes, `periodic`), goes as JSON into a comment extension, which other programs skip.
Its geometry and times are believed only while they still round to the numbers in the header, so changes that another
program makes there win.

Format: Cox et al., "A (sort of) new image data format standard: NIfTI-1", NeuroImage 22, 2004.
"""

from __future__ import annotations

import gzip
import json
from pathlib import Path
from typing import BinaryIO

import numpy as np

from STEnhanceLib.assumed import NO_TIMES, NO_UNIT_OF_TIME, NOT_A_CYCLE, numbered_times
from STEnhanceLib.errors import STEnhanceError
from STEnhanceLib.files.compressed import Content
from STEnhanceLib.files.voxels import LARGEST_DEFLATE_RATIO, check_size, read_frames, write_frames
from STEnhanceLib.sequence import Grid, ImageSequence

HEADER = np.dtype(
    [
        ("sizeof_hdr", "i4"), ("unused", "V35"), ("dim_info", "u1"), ("dim", "i2", 8), ("intent_p", "f4", 3),
        ("intent_code", "i2"), ("datatype", "i2"), ("bitpix", "i2"), ("slice_start", "i2"), ("pixdim", "f4", 8),
        ("vox_offset", "f4"), ("scl_slope", "f4"), ("scl_inter", "f4"), ("slice_end", "i2"), ("slice_code", "u1"),
        ("xyzt_units", "u1"), ("cal_max", "f4"), ("cal_min", "f4"), ("slice_duration", "f4"), ("toffset", "f4"),
        ("glmax", "i4"), ("glmin", "i4"), ("descrip", "S80"), ("aux_file", "S24"), ("qform_code", "i2"),
        ("sform_code", "i2"), ("quatern", "f4", 3), ("qoffset", "f4", 3), ("srow", "f4", (3, 4)),
        ("intent_name", "S16"), ("magic", "S4"),
    ]
)  # fmt: skip
DATATYPES = {
    2: "u1", 4: "i2", 8: "i4", 16: "f4", 32: "c8", 64: "f8", 256: "i1", 512: "u2", 768: "u4", 1024: "i8", 1280: "u8",
    1792: "c16",
}  # fmt: skip
COLOURS = {128: "RGB", 2304: "RGBA"}
MM_PER_UNIT = {1: 1e3, 2: 1.0, 3: 1e-3}
MS_PER_UNIT = {8: 1e3, 16: 1.0, 24: 1e-3}
COMMENT_EXTENSION = 6
LONGEST_EXTENSION = 1 << 24
EVEN_WITHIN_MS = 1e-3
LARGEST_NUMBER = 1e30  # of mm and ms, and not what float32 overflows with


def read(path: Path) -> ImageSequence:
    """Read a 4D NIfTI-1 file; see `files.read`."""
    with path.open("rb") as file:
        compressed = file.peek(2)[:2] == b"\x1f\x8b"
        content = Content(file, compressed)
        header = _header(content.read(HEADER.itemsize))
        own, extension_notes = _own_extension(content.read(_length_before_voxels(header)))
        shape, dtype = _shape(header), _dtype(header)
        size = path.stat().st_size
        check_size(shape, dtype, size * LARGEST_DEFLATE_RATIO if compressed else size - int(header["vox_offset"]))
        matrix, geometry_notes = _ijk_to_ras(header, own)
        times, time_notes = _times_ms(header, own)
        slope, intercept = _rescale(header)
        frames, voxel_notes = read_frames(content, dtype, shape, slope=slope, intercept=intercept)
        voxel_notes += content.finish()
    return ImageSequence(
        frames,
        matrix,
        times,
        periodic=own.get("periodic", False),
        name=own.get("name", path.name.removesuffix(".gz").removesuffix(".nii")),
        notes=(
            *own.get("notes", ()),
            *extension_notes,
            *geometry_notes,
            *time_notes,
            *voxel_notes,
            *(() if "periodic" in own else (NOT_A_CYCLE,)),
        ),
        attributes=own.get("attributes", {}),
        frame_attributes=_frame_attributes(own, shape[0]),
    )


def refuse(grid: Grid) -> None:
    """Stop for what no NIfTI-1 file can hold.

    Raises:
        STEnhanceError: the frames are not evenly spaced in time, or an axis is longer than 32767.
    """
    times = grid.times_ms
    if np.abs(times - (times[0] + _frame_duration(times) * np.arange(len(times)))).max() > EVEN_WITHIN_MS:
        raise STEnhanceError(
            f"its frames are {np.diff(times).min():g} to {np.diff(times).max():g} ms apart, and NIfTI holds only "
            "evenly spaced times; write a .seq.nrrd file."
        )
    longest = max(_sizes(grid))
    if longest > np.iinfo(np.int16).max:
        raise STEnhanceError(f"it has {longest} samples along an axis, and NIfTI-1 holds 32767; write .seq.nrrd.")


def _frame_duration(times_ms: np.ndarray) -> float:
    return (times_ms[-1] - times_ms[0]) / max(len(times_ms) - 1, 1)


def _sizes(grid: Grid) -> tuple[int, ...]:
    """Samples along I, J, K and time."""
    return (*grid.shape[::-1], len(grid))


def write(sequence: ImageSequence, stream: BinaryIO, compressed: bool) -> None:
    """Write a single-file NIfTI-1, little-endian; see `files.write`.

    Raises:
        STEnhanceError: as `refuse`.
    """
    refuse(sequence.grid)
    times, sizes = sequence.times_ms, _sizes(sequence.grid)
    extension = _extension(sequence)
    header = np.zeros((), HEADER.newbyteorder("<"))
    header["sizeof_hdr"] = HEADER.itemsize
    header["dim"] = (4, *sizes, 1, 1, 1)
    header["datatype"] = 32 if np.iscomplexobj(sequence.frames) else 16
    header["bitpix"] = 8 * sequence.frames.itemsize
    header["pixdim"] = (1, *sequence.grid.spacing_mm, _frame_duration(times), 0, 0, 0)
    header["vox_offset"] = HEADER.itemsize + 4 + len(extension)
    header["scl_slope"] = 1
    header["xyzt_units"] = 2 | 16
    header["toffset"] = times[0]
    header["descrip"] = b"STEnhance; provenance in the comment extension"
    header["sform_code"] = 1
    header["srow"] = sequence.ijk_to_ras[:3]
    _set_qform(header, sequence.ijk_to_ras)
    header["magic"] = b"n+1"
    if not compressed:
        stream.write(header.tobytes() + b"\1\0\0\0" + extension)
        write_frames(stream, sequence.frames)
        return
    with gzip.GzipFile(filename="", fileobj=stream, mode="wb", compresslevel=1, mtime=0) as zipped:
        zipped.write(header.tobytes() + b"\1\0\0\0" + extension)
        write_frames(zipped, sequence.frames)


def _header(data: bytes) -> np.ndarray:
    if len(data) < HEADER.itemsize:
        raise STEnhanceError(f"it holds {len(data)} bytes, less than a NIfTI header; it is empty or cut off.")
    for order in "<>":
        header = np.frombuffer(data, HEADER.newbyteorder(order))[0]
        if header["sizeof_hdr"] == HEADER.itemsize:
            break
    else:
        raise STEnhanceError("it does not start as NIfTI-1 does; it is NIfTI-2, damaged or of another format.")
    if header["magic"] != b"n+1":
        raise STEnhanceError("it is Analyze or a pair of .hdr and .img files; save it as one .nii file.")
    return header


def _length_before_voxels(header: np.ndarray) -> int:
    length = float(header["vox_offset"]) - HEADER.itemsize
    if not 0 <= length <= LONGEST_EXTENSION:
        raise STEnhanceError(f"its header puts the voxels at byte {header['vox_offset']:g}; it is damaged.")
    return int(length)


def _shape(header: np.ndarray) -> tuple[int, int, int, int]:
    dim = [int(n) for n in header["dim"]]
    if not 1 <= dim[0] <= 7 or min(dim[1 : dim[0] + 1]) < 1:
        raise STEnhanceError(f"its header gives the sizes {dim[1:]} for {dim[0]} dimensions; it is damaged.")
    used = dim[1 : dim[0] + 1]
    if len(used) < 4 or any(n > 1 for n in used[4:]):
        found = " × ".join(map(str, used))
        raise STEnhanceError(
            f"it has {len(used)} dimensions ({found}); expected a 4D sequence: three of space, one of time."
        )
    i, j, k, t = used[:4]
    return t, k, j, i


def _dtype(header: np.ndarray) -> np.dtype:
    code = int(header["datatype"])
    if code in COLOURS:
        raise STEnhanceError(f"its voxels are {COLOURS[code]} colours; expected one grey value per voxel.")
    if code not in DATATYPES:
        raise STEnhanceError(f"its voxels are of NIfTI type {code}; expected integers, float, double or complex.")
    return np.dtype(DATATYPES[code]).newbyteorder(header.dtype["dim"].base.byteorder)


def _rescale(header: np.ndarray) -> tuple[float, float]:
    slope, intercept = float(header["scl_slope"]), float(header["scl_inter"])
    if slope == 0 or not np.isfinite([slope, intercept]).all():
        return 1.0, 0.0
    return slope, intercept


def _ijk_to_ras(header: np.ndarray, own: dict) -> tuple[np.ndarray, tuple[str, ...]]:
    notes = ()
    matrix = np.eye(4)
    if header["sform_code"] > 0:
        matrix[:3] = header["srow"]
        exact = np.array(own.get("ijk_to_ras", matrix))  # of numbers, see `_KINDS`
        if exact.shape == (4, 4) and np.array_equal(exact[:3].astype(np.float32), header["srow"]):
            matrix = exact
        if header["qform_code"] > 0 and not _has_finite_qform(header):
            notes = ("The qform of the file holds NaN or infinite numbers; sform was taken.",)
        elif header["qform_code"] > 0:
            apart = np.abs(_qform(header) - matrix)[:3] @ (*(header["dim"][1:4] - 1), 1)
            if apart.max() > 0.01:
                notes = (f"sform and qform of the file disagree by up to {apart.max():.2g} mm; sform was taken.",)
    elif header["qform_code"] > 0:
        if not _has_finite_qform(header):
            raise STEnhanceError("its orientation (qform) holds NaN or infinite numbers. Export it again.")
        matrix = _qform(header)
    else:
        matrix[:3, :3] = np.diag(np.abs(header["pixdim"][1:4]).astype(float))
        notes = ("The file gives no orientation; axes along those of the patient and origin 0 were assumed.",)
    unit = int(header["xyzt_units"]) & 0x07
    if unit not in MM_PER_UNIT:
        notes += ("The file gives no unit of length; mm was assumed.",)
    matrix[:3] *= MM_PER_UNIT.get(unit, 1.0)
    return matrix, notes


def _has_finite_qform(header: np.ndarray) -> bool:
    parts = (header["quatern"], header["qoffset"], header["pixdim"][:4])
    return all(np.isfinite(part).all() for part in parts)


def _qform(header: np.ndarray) -> np.ndarray:
    from scipy.spatial.transform import Rotation

    b, c, d = header["quatern"].astype(float)
    a = np.sqrt(max(0.0, 1.0 - (b * b + c * c + d * d)))
    spacing = np.abs(header["pixdim"][1:4]).astype(float)
    spacing[2] *= -1 if header["pixdim"][0] < 0 else 1
    matrix = np.eye(4)
    matrix[:3, :3] = Rotation.from_quat([b, c, d, a]).as_matrix() * spacing
    matrix[:3, 3] = header["qoffset"]
    return matrix


def _set_qform(header: np.ndarray, matrix: np.ndarray) -> None:
    """The same geometry as a rotation, for programs that read no sform; left out for sheared axes."""
    from scipy.spatial.transform import Rotation

    turn = matrix[:3, :3] / np.linalg.norm(matrix[:3, :3], axis=0)
    if np.abs(turn.T @ turn - np.eye(3)).max() > 1e-4:
        return
    if np.linalg.det(turn) < 0:
        turn[:, 2] *= -1
        header["pixdim"][0] = -1
    quaternion = Rotation.from_matrix(turn).as_quat()
    header["quatern"] = quaternion[:3] * (-1 if quaternion[3] < 0 else 1)
    header["qoffset"] = matrix[:3, 3]
    header["qform_code"] = 1


def _times_ms(header: np.ndarray, own: dict) -> tuple[np.ndarray, tuple[str, ...]]:
    count = int(header["dim"][4])
    duration, offset = float(header["pixdim"][4]), float(header["toffset"])
    code = int(header["xyzt_units"]) & 0x38
    if code not in (0, *MS_PER_UNIT):
        raise STEnhanceError("its fourth axis is in Hz, ppm or rad/s; expected time.")
    if count == 1:
        return np.array([offset * MS_PER_UNIT.get(code, 1.0)]), ()
    if not duration > 0 or not np.isfinite([duration, offset]).all():
        return numbered_times(count), (NO_TIMES,)
    exact = np.array(own.get("times_ms", ()))
    if exact.shape == (count,) and code == 16:
        start, step = np.float32([exact[0], (exact[-1] - exact[0]) / (count - 1)])
        if (start, step) == (header["toffset"], header["pixdim"][4]):
            return exact, ()
    notes = ()
    if code == 0:
        code, word = (8, "seconds") if duration <= 10 else (16, "milliseconds")
        notes = (f"{NO_UNIT_OF_TIME}; {duration:g} between frames was taken as {word}.",)
    return MS_PER_UNIT[code] * (offset + duration * np.arange(count)), notes


def _extension(sequence: ImageSequence) -> bytes:
    """The comment extension, padded to a multiple of 16 bytes less the 4 bytes that announce it."""
    record = {
        "name": sequence.name,
        "periodic": sequence.periodic,
        "notes": list(sequence.notes),
        "attributes": dict(sequence.attributes),
        "frame_attributes": [dict(each) for each in sequence.frame_attributes],
        "ijk_to_ras": sequence.ijk_to_ras.tolist(),
        "times_ms": sequence.times_ms.tolist(),
    }
    text = json.dumps({"STEnhance": record}).encode()
    size = -(-(len(text) + 8) // 16) * 16
    return np.array([size, COMMENT_EXTENSION], "<i4").tobytes() + text.ljust(size - 8, b"\0")


def _frame_attributes(own: dict, count: int) -> tuple[dict[str, str], ...]:
    """Of every frame; none where another program took frames out or put some in, for nobody knows which."""
    kept = tuple(own.get("frame_attributes", ()))
    return kept if len(kept) == count else ()


def _own_extension(data: bytes) -> tuple[dict, tuple[str, ...]]:
    """What `_extension` wrote, or nothing, and a note on what cannot be ours: `data` lies between header and voxels."""
    position = 4
    while data[:1] not in (b"", b"\0") and position + 8 <= len(data):
        # Another program may have rewritten the file in the other byte order; sizes tell which one it is.
        size = min((int(np.frombuffer(data, order, 1, position)[0]) for order in ("<i4", ">i4")), key=abs)
        if size < 8:
            break
        try:
            record = json.loads(data[position + 8 : position + size].rstrip(b"\0"))
        except (ValueError, RecursionError):
            record = None  # an extension of somebody else
        if isinstance(record, dict) and isinstance(record.get("STEnhance"), dict):
            return _of_the_right_kind(record["STEnhance"])
        position += size
    return {}, ()


def _of_the_right_kind(record: dict) -> tuple[dict, tuple[str, ...]]:
    """The entries that `_extension` may have written; another program may have changed the others."""
    kept = {key: value for key, value in record.items() if key in _KINDS and _KINDS[key](value)}
    odd = sorted(key for key in record if key in _KINDS and key not in kept)
    if odd:
        return kept, (f"What STEnhance noted in the file is of a wrong kind ({', '.join(odd)}) and was ignored.",)
    return kept, ()


def _is_text(value: object) -> bool:
    return isinstance(value, str)


def _are_texts(value: object) -> bool:
    return isinstance(value, dict) and all(map(_is_text, value.values()))


def _are_numbers(value: object) -> bool:
    return isinstance(value, list) and all(
        isinstance(number, int | float) and -LARGEST_NUMBER < number < LARGEST_NUMBER for number in value
    )


_KINDS = {
    "name": _is_text,
    "periodic": lambda value: isinstance(value, bool),
    "notes": lambda value: isinstance(value, list) and all(map(_is_text, value)),
    "attributes": _are_texts,
    "frame_attributes": lambda value: isinstance(value, list) and all(map(_are_texts, value)),
    "ijk_to_ras": lambda value: (
        isinstance(value, list) and all(_are_numbers(row) for row in value) and len({len(row) for row in value}) == 1
    ),
    "times_ms": _are_numbers,
}
"""What `_extension` writes, by key. A `periodic` of "no" is not taken for yes."""
