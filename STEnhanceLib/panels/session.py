"""The one warm worker that the three modules share while Slicer runs, and the interpreter of child processes."""

from __future__ import annotations

import shutil
import sys

from STEnhanceLib.jobs.client import Worker

_worker: Worker | None = None


def python() -> str:
    """The interpreter that runs outside the application with all of its packages."""
    return shutil.which("PythonSlicer") or sys.executable


def worker() -> Worker:
    """The worker of this session; its process starts with the first job."""
    global _worker  # noqa: PLW0603  (one process for all modules, like slicer.mrmlScene)
    if _worker is None:
        import slicer

        _worker = Worker(python())
        slicer.app.connect("aboutToQuit()", close_worker)
    return _worker


def close_worker() -> None:
    """End the process and what it computes; the next job starts a new one."""
    if _worker is not None:
        _worker.close()


def close_idle_worker() -> None:
    """End the process unless it computes for another module."""
    if _worker is not None and _worker.idle:
        _worker.close()
