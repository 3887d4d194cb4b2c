"""How much memory the computer has left, without a package that Slicer does not bring."""

from __future__ import annotations

import ctypes
import os
from pathlib import Path


def free_memory() -> int | None:
    """Bytes that programs can still take without swapping; None where the system does not tell."""
    meminfo = Path("/proc/meminfo")
    if meminfo.exists():
        lines = dict(line.split(":") for line in meminfo.read_text().splitlines())
        return 1024 * int(lines["MemAvailable"].split()[0])
    if os.name == "nt":
        status = _MemoryStatus(ctypes.sizeof(_MemoryStatus))
        return status.available if ctypes.windll.kernel32.GlobalMemoryStatusEx(ctypes.byref(status)) else None
    return None


class _MemoryStatus(ctypes.Structure):
    """MEMORYSTATUSEX of the Windows API."""

    _fields_ = [
        ("length", ctypes.c_uint32), ("load", ctypes.c_uint32), ("total", ctypes.c_uint64),
        ("available", ctypes.c_uint64), ("rest", ctypes.c_uint64 * 5),
    ]  # fmt: skip
