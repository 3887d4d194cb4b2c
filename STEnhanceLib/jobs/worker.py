"""The child process: takes orders as lines of JSON on stdin, answers with lines of JSON on stdout.

    python -m STEnhanceLib.jobs.worker FOLDER

FOLDER holds the voxel files of all jobs and belongs to the parent; the worker removes it only if the parent dies.

| order | answers |
|---|---|
| (start) | `{"event": "started", "pid": …}` |
| `{"run": 1, "method": …, "settings": …, "sequence": …, "prior": …, "kspace": …, "kspace_part": …, "device": …, \
"result": …, "unsupported": …, "maps": …}` | \
`planned`, `working` now and then, `frame` for every frame, then `finished` (with late notes), \
`failed` or `cancelled`, each with `"job": 1` |
| `{"cancel": 1}` | `cancelled` after the frame at work |
| `{"end": true}` | |
"""

from __future__ import annotations

import contextlib
import faulthandler
import functools
import json
import logging
import os
import queue
import shutil
import signal
import sys
import threading
import traceback
from pathlib import Path
from typing import Any, BinaryIO

import numpy as np

from STEnhanceLib import device, progress
from STEnhanceLib.errors import STEnhanceError
from STEnhanceLib.jobs import messages, voxels
from STEnhanceLib.methods import EnhancedFrame, Enhancement, all_methods, find_method, parse_parameters, run
from STEnhanceLib.methods.declaration import UNSUPPORTED
from STEnhanceLib.methods.placement import OUT_OF_MEMORY

_OUT_OF_MEMORY = ("out of memory", *OUT_OF_MEMORY)  # the first is what CUDA says


class _CancelledError(Exception):
    """The user gave the job up."""


def main(folder: Path) -> None:
    """Serve orders until the parent says end, or is gone."""
    orders_pipe, answers_pipe = _keep_pipes_to_ourselves()
    faulthandler.enable()
    signal.signal(signal.SIGINT, signal.SIG_IGN)  # Ctrl-C in a terminal reaches the parent too, which decides
    logging.basicConfig(level=logging.INFO, format="%(levelname)s %(name)s: %(message)s")
    _Worker(folder, orders_pipe, answers_pipe).serve()


class _Worker:
    def __init__(self, folder: Path, orders_pipe: BinaryIO, answers_pipe: BinaryIO):
        self._folder = folder
        self._orders_pipe = orders_pipe
        self._answers_pipe = answers_pipe
        self._orders: queue.Queue[dict[str, Any]] = queue.Queue()
        self._cancelled: set[int] = set()

    def serve(self) -> None:
        self._say(event="started", pid=os.getpid())
        all_methods()  # the first job need not wait for them
        threading.Thread(target=self._listen, daemon=True).start()
        while True:
            order = self._orders.get()
            try:
                self._say(job=order["run"], event="finished", **self._run(order))
            except _CancelledError:
                self._say(job=order["run"], event="cancelled")
            except Exception as error:
                # The traceback names arrays of this job; once it is text, they can go.
                details = None if isinstance(error, STEnhanceError) else traceback.format_exc()
                self._say(job=order["run"], event="failed", message=_sentence(order["method"], error), details=details)

    def _listen(self) -> None:
        """Beside the method, so that a cancel or the parent's end is seen while it computes."""
        for line in self._orders_pipe:
            order = json.loads(line)
            if "end" in order:
                os._exit(0)
            if "cancel" in order:
                self._cancelled.add(order["cancel"])
            else:
                self._orders.put(order)
        self._leave()

    def _leave(self) -> None:
        """The parent died without a word."""
        shutil.rmtree(self._folder, ignore_errors=True)
        os._exit(1)

    def _say(self, **message: Any) -> None:
        try:
            self._answers_pipe.write(json.dumps(message).encode() + b"\n")
            self._answers_pipe.flush()
        except OSError:
            self._leave()

    def _run(self, order: dict[str, Any]) -> dict[str, Any]:
        """Compute all frames; notes that came up meanwhile, and the provenance with them."""
        device.choose(order["device"])
        method = find_method(order["method"])
        parameters = parse_parameters(method, order["settings"])
        sequence, prior = messages.decode_sequence(order["sequence"]), messages.decode_sequence(order["prior"])
        kspace = _read_kspace(order["kspace"], order["kspace_part"])
        enhancement = run.enhance(method, sequence, parameters, prior=prior, kspace=kspace)
        self._stop_if_cancelled(order)
        result = _Result(order, enhancement)
        attributes = run.provenance(method, parameters, sequence, enhancement)
        grid, planned = messages.encode_grid(enhancement.grid), len(enhancement.notes)
        maps = messages.encode_maps(enhancement.maps)
        self._say(
            job=order["run"], event="planned", grid=grid, notes=enhancement.notes, attributes=attributes, maps=maps
        )

        def tell(text: str, share: float) -> None:
            self._stop_if_cancelled(order)
            self._say(job=order["run"], event="working", text=text, share=share)

        with contextlib.closing(enhancement.frames) as frames, progress.heard_by(tell):
            for index, frame in enumerate(frames):
                self._stop_if_cancelled(order)
                unsupported = result.write(index, frame)
                self._say(job=order["run"], event="frame", index=index, unsupported=unsupported)
        late = enhancement.notes[planned:]
        return {
            "notes": late,
            "attributes": run.provenance(method, parameters, sequence, enhancement) if late else {},
        }

    def _stop_if_cancelled(self, order: dict[str, Any]) -> None:
        if order["run"] in self._cancelled:
            raise _CancelledError


class _Result:
    """The files into which frames go, one after the other."""

    def __init__(self, order: dict[str, Any], enhancement: Enhancement):
        self._shape = (len(enhancement.grid), *enhancement.grid.shape)
        self._frames = voxels.create(Path(order["result"]), self._shape, np.float32)
        self._unsupported_path = Path(order["unsupported"])
        self._unsupported = None
        self._maps = {
            announced.key: voxels.create(
                messages.map_path(order["maps"], announced.key),
                (len(enhancement.grid), *announced.shape(enhancement.grid)),
                np.float32,
            )
            for announced in enhancement.maps
        }

    def write(self, index: int, frame: EnhancedFrame) -> float | str | None:
        """Keep a frame; what the message says about its unsupported fraction: a number, None for NaN, or "map"."""
        self._frames[index] = frame.voxels
        for key, values in frame.maps.items():
            self._maps[key][index] = values
        if np.ndim(frame.unsupported) == 0 or UNSUPPORTED.key in self._maps:  # then its voxels are there already
            number = float(np.mean(frame.unsupported))
            return None if np.isnan(number) else number
        if self._unsupported is None:
            self._unsupported = voxels.create(self._unsupported_path, self._shape, np.float32)
        self._unsupported[index] = frame.unsupported
        return "map"


def _keep_pipes_to_ourselves() -> tuple[BinaryIO, BinaryIO]:
    """Take stdin and stdout away from everyone else, so that a library's print goes to stderr, not into the answers."""
    orders_pipe = os.fdopen(os.dup(0), "rb")
    answers_pipe = os.fdopen(os.dup(1), "wb")
    nothing = os.open(os.devnull, os.O_RDONLY)
    os.dup2(nothing, 0)
    os.close(nothing)
    os.dup2(2, 1)
    return orders_pipe, answers_pipe


@functools.lru_cache(maxsize=1)
def _loaded_kspace(path: str, _changed_ns: int):
    """Read once for previews and the run after them; of ISMRMRD files coil maps are estimated, too."""
    from STEnhanceLib.acquisition.kspace import KSpace

    return KSpace.load(Path(path))


def _read_kspace(path: str | None, part: dict[str, Any] | None):
    if path is None:
        _loaded_kspace.cache_clear()  # a measurement may have a gigabyte
        return None
    changed_ns = Path(path).stat().st_mtime_ns if Path(path).exists() else 0
    kspace = _loaded_kspace(path, changed_ns)
    if part is None:
        return kspace
    if max(part["frames"]) >= len(kspace.grid) or part["slices"][1] > kspace.grid.shape[0]:
        raise STEnhanceError(
            f"The k-space belongs to {len(kspace.grid)} frames of {kspace.grid.shape[0]} slices, and the images have "
            "more; expected the same. Pick the measurement of these images."
        )
    return kspace.part(part["frames"], slice(*part["slices"]))


def _sentence(method_key: str, error: Exception) -> str:
    if isinstance(error, STEnhanceError):
        return str(error)
    text = str(error).strip()
    out_of_memory = isinstance(error, MemoryError) or type(error).__name__ == "OutOfMemoryError"
    if out_of_memory or any(words in text.lower() for words in _OUT_OF_MEMORY):
        return (
            f"{method_key} ran out of memory. Close other applications, or give it fewer frames, a smaller matrix or a "
            "smaller factor."
        )
    if isinstance(error, OSError) and error.errno in voxels.DISK_IS_FULL:
        return f"{method_key} found no room on the disk ({error}). Free some room, then run it again."
    reason = f"{type(error).__name__}: {text.splitlines()[0]}" if text else type(error).__name__
    return f"{method_key} failed ({reason}). This is a fault of the method; the log has the details to report."


if __name__ == "__main__":
    main(Path(sys.argv[1]))
