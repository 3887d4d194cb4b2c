"""The text header of a NRRD file: fields (`sizes: 256 256 10 20`) and attributes (`STEnhance.Name:=cine`).

Format: Kindlmann, "Definition of NRRD File Format", http://teem.sourceforge.net/nrrd/format.html
"""

from __future__ import annotations

import re
from dataclasses import dataclass
from typing import BinaryIO

import numpy as np

from STEnhanceLib.errors import STEnhanceError

LONGEST_LINE = 1 << 24
_TYPES = {
    np.int8: ("signed char", "int8", "int8_t"),
    np.uint8: ("uchar", "unsigned char", "uint8", "uint8_t"),
    np.int16: ("short", "short int", "signed short", "signed short int", "int16", "int16_t"),
    np.uint16: ("ushort", "unsigned short", "unsigned short int", "uint16", "uint16_t"),
    np.int32: ("int", "signed int", "int32", "int32_t"),
    np.uint32: ("uint", "unsigned int", "uint32", "uint32_t"),
    np.int64: (
        "longlong",
        "long long",
        "long long int",
        "signed long long",
        "signed long long int",
        "int64",
        "int64_t",
    ),
    np.uint64: ("ulonglong", "unsigned long long", "unsigned long long int", "uint64", "uint64_t"),
    np.float32: ("float",),
    np.float64: ("double",),
}
_DTYPES = {name: dtype for dtype, names in _TYPES.items() for name in names}


@dataclass(frozen=True)
class NrrdHeader:
    """Fields by lower-case name without spaces, and attributes, both as the text that the file holds."""

    fields: dict[str, str]
    attributes: dict[str, str]

    @property
    def sizes(self) -> tuple[int, ...]:
        """Samples along each axis, fastest first."""
        try:
            sizes = tuple(int(size) for size in self._required("sizes").split())
            dimension = int(self._required("dimension"))
        except ValueError:
            raise STEnhanceError(
                f"its header gives the sizes as {self.fields['sizes']!r}; expected integers."
            ) from None
        if len(sizes) != dimension or min(sizes, default=0) < 1:
            raise STEnhanceError(
                f"its header gives {sizes} as the sizes of {dimension} axes; expected one each, above 0."
            )
        return sizes

    @property
    def dtype(self) -> np.dtype:
        """Of one sample, with its byte order."""
        name = self._required("type").lower()
        if name not in _DTYPES:
            raise STEnhanceError(f"its voxels are of type {name!r}; expected integers, float or double.")
        dtype = np.dtype(_DTYPES[name])
        endian = self.fields.get("endian", "" if dtype.itemsize > 1 else "little").lower()
        if endian not in ("little", "big"):
            raise STEnhanceError(
                f"its header gives {endian!r} as byte order; expected 'endian: little' or 'endian: big'."
            )
        return dtype.newbyteorder("<" if endian == "little" else ">")

    @property
    def compressed(self) -> bool:
        """The voxels are gzip-compressed; False for raw."""
        encoding = self._required("encoding").lower()
        if encoding not in ("raw", "gzip", "gz"):
            raise STEnhanceError(f"its voxels are encoded as {encoding!r}; expected raw or gzip. Save it again so.")
        return encoding != "raw"

    def words(self, field: str) -> list[str] | None:
        """One entry per axis (quoted text or a word), or None where the field is absent."""
        if field not in self.fields:
            return None
        words = [quoted or plain for quoted, plain in re.findall(r'"((?:[^"\\]|\\.)*)"|(\S+)', self.fields[field])]
        if len(words) > len(self.sizes):
            raise STEnhanceError(f"its header has {len(words)} {field} for {len(self.sizes)} axes; expected one each.")
        return words + [""] * (len(self.sizes) - len(words))

    def vectors(self, field: str) -> list[np.ndarray | None] | None:
        """The vectors of a field such as `space directions`, None for each `none`; None where the field is absent."""
        if field not in self.fields:
            return None
        text = self.fields[field]
        try:
            return [
                None if word == "none" else np.array([float(number) for number in word[1:-1].split(",")])
                for word in re.findall(r"none|\([^)]*\)", text)
            ]
        except ValueError:
            raise STEnhanceError(f"its header gives {text!r} as {field}; expected vectors of numbers.") from None

    def _required(self, field: str) -> str:
        if field not in self.fields:
            raise STEnhanceError(f"its header has no field {field!r}; it is damaged. Export it again.")
        return self.fields[field]


def read_header(stream: BinaryIO) -> NrrdHeader:
    """Read up to the blank line before the voxels.

    Raises:
        STEnhanceError: not a NRRD file, a header that does not end, or voxels in another file.
    """
    if not stream.readline(16).startswith(b"NRRD000"):
        raise STEnhanceError("it does not start as a NRRD file does; it is empty, damaged or of another format.")
    fields: dict[str, str] = {}
    attributes: dict[str, str] = {}
    while line := stream.readline(LONGEST_LINE):
        text = _text(line).rstrip("\r\n")
        if not text:
            break
        if text.startswith("#"):
            continue
        match = re.match(r"(.+?)(:=|: |:$)(.*)", text)
        if match is None:
            raise STEnhanceError(f"its header has the line {text[:60]!r}; expected 'field: value' or 'key:=value'.")
        name, sign, value = match.groups()
        if sign == ":=":
            attributes[_unescaped(name)] = _unescaped(value)
        else:
            fields[name.strip().lower()] = value.strip()
    else:
        raise STEnhanceError("its header does not end; the file was cut off. Copy or export it again.")
    if "data file" in fields or "datafile" in fields:
        raise STEnhanceError("its voxels are in another file (detached header); save it as one .seq.nrrd file.")
    if any(fields.get(name, "0") != "0" for name in ("line skip", "lineskip", "byte skip", "byteskip")):
        raise STEnhanceError("its header says to skip lines or bytes, which is not supported; save it again without.")
    return NrrdHeader(fields, attributes)


def header_bytes(fields: dict[str, str], attributes: dict[str, str]) -> bytes:
    """The header of an attached file, blank line included."""
    for key in attributes:
        if not key.strip() or key.startswith("#") or ":=" in key or ": " in key or key.endswith(":"):
            raise STEnhanceError(f"the attribute {key!r} cannot be a key of a NRRD header; name it without ':' or '#'.")
    lines = ["NRRD0004", *(f"{name}: {value}" for name, value in fields.items())]
    lines += [f"{_escaped(key)}:={_escaped(value)}" for key, value in attributes.items()]
    return ("\n".join(lines) + "\n\n").encode()


def _text(line: bytes) -> str:
    try:
        return line.decode()
    except UnicodeDecodeError:
        return line.decode("latin-1")


def _escaped(text: str) -> str:
    return text.replace("\\", "\\\\").replace("\r\n", "\n").replace("\r", "\n").replace("\n", "\\n")


def _unescaped(text: str) -> str:
    return re.sub(r"\\(.)", lambda found: "\n" if found[1] == "n" else found[1], text)
