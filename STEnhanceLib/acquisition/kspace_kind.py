"""Of which kind a k-space file is, found without reading its samples."""

from __future__ import annotations

import functools
import importlib.util
import zipfile
from pathlib import Path

from STEnhanceLib.acquisition.kspace import ISMRMRD_SUFFIXES
from STEnhanceLib.errors import STEnhanceError

CARTESIAN, RADIAL, UNKNOWN = "Cartesian", "radial", ""


def kspace_kind(path: Path) -> str:
    """`CARTESIAN` or `RADIAL`; `UNKNOWN` where there is no such file, it is damaged, or its package is missing."""
    return _kind(path, path.stat().st_mtime_ns) if path.is_file() else UNKNOWN


def radial_refused(method_key: str) -> STEnhanceError:
    """What to raise where a method that completes Cartesian lines was given spokes."""
    return STEnhanceError(
        f"The k-space is radial; expected Cartesian lines for {method_key}, so pick another method, such as "
        "temporal-tv."
    )


@functools.lru_cache(maxsize=8)
def _kind(path: Path, _changed_ns: int) -> str:
    try:
        return _of_ismrmrd(path) if path.suffix.lower() in ISMRMRD_SUFFIXES else _of_npz(path)
    except Exception:  # what parsers make of foreign bytes has no common base; reading it will say what is wrong
        return UNKNOWN


def _of_npz(path: Path) -> str:
    with zipfile.ZipFile(path) as archive:
        names = archive.namelist()
    return RADIAL if "trajectory.npy" in names else CARTESIAN if "mask.npy" in names else UNKNOWN


def _of_ismrmrd(path: Path) -> str:
    if importlib.util.find_spec("ismrmrd") is None:
        return UNKNOWN
    import ismrmrd

    from STEnhanceLib.acquisition import ismrmrd_file, ismrmrd_scan

    with ismrmrd.File(path, "r") as file:
        name = "dataset" if "dataset" in file else next(iter(file))
        kinds = {ismrmrd_scan.trajectory_kind(encoding) for encoding in file[name].header.encoding}
    if kinds == {"cartesian"}:
        return CARTESIAN
    return RADIAL if kinds <= set(ismrmrd_file.RADIAL) else UNKNOWN
