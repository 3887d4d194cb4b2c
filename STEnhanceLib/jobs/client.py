"""`Worker`, the warm process that a session keeps, and `Job`, one run in it."""

from __future__ import annotations

import atexit
import dataclasses
import itertools
import logging
import shutil
import sys
import tempfile
import time
from collections import deque
from collections.abc import Iterator, Mapping, Sequence
from pathlib import Path
from typing import Any

import numpy as np

from STEnhanceLib.errors import STEnhanceError
from STEnhanceLib.jobs import messages, voxels
from STEnhanceLib.jobs.events import Cancelled, Event, Failed, Finished, FrameReady, Planned, Working
from STEnhanceLib.jobs.process import WorkerProcess
from STEnhanceLib.sequence import ImageSequence

logger = logging.getLogger(__name__)

CANCEL_PATIENCE_S = 0.7


class Worker:
    """One warm process that runs jobs one after the other; what it has loaded serves the next job.

    It starts with the first job (or `start`), again after a crash, and ends with `close` or with its parent, whatever
    happens to it. All calls come from one thread and none blocks, except iterating over a job and `Job.result`.

    Args:
        python: the interpreter; inside Slicer `shutil.which("PythonSlicer")`.
        script: what it runs.
    """

    def __init__(self, python: str = sys.executable, script: Sequence[str] = ("-m", "STEnhanceLib.jobs.worker")):
        self._command = (python, *script)
        self._folder: Path | None = None
        self._process: WorkerProcess | None = None
        self._numbers = itertools.count(1)
        self._waiting: deque[Job] = deque()
        self._current: Job | None = None

    def __enter__(self) -> Worker:
        return self

    def __exit__(self, *_) -> None:
        self.close()

    @property
    def pid(self) -> int | None:
        """The process, or None while there is none."""
        return self._process and self._process.pid

    @property
    def idle(self) -> bool:
        """Nothing is computed and nothing waits."""
        return self._current is None and not self._waiting

    def start(self) -> None:
        """Start the process ahead of the first job, which then need not wait for it."""
        if self._process is None:
            self._process = WorkerProcess((*self._command, str(self._own_folder())))

    def allocate(self, shape: tuple[int, ...], dtype: np.dtype) -> np.memmap:
        """An array of zeros that the worker can read; a sequence whose frames are one is submitted without a copy.

        Its file lives as long as the array.

        Raises:
            STEnhanceError: the disk is full.
        """
        path = self._own_folder() / f"input-{next(self._numbers)}.npy"
        return voxels.delete_with(voxels.create(path, shape, dtype), path)

    def submit(
        self,
        method_key: str,
        settings: Mapping[str, Any],
        sequence: ImageSequence,
        *,
        prior: ImageSequence | None = None,
        kspace_path: Path | None = None,
        kspace_part: tuple[Sequence[int], slice] | None = None,
        device: str = "automatic",
    ) -> Job:
        """Queue a run; the arguments are those of `methods.run.enhance`, checked by the worker.

        Args:
            kspace_path: file of the measurement; the worker reads it.
            kspace_part: frames and slices that the sequence is of the measurement, see `KSpace.part`; None for all.
            device: one of `device.CHOICES`.

        Raises:
            STEnhanceError: the disk is full.
        """
        job = Job(self, next(self._numbers), self._own_folder())
        order = {
            "run": job._number,
            "method": method_key,
            "settings": dict(settings),
            "sequence": self._encode(sequence, job),
            "prior": None if prior is None else self._encode(prior, job),
            "kspace": kspace_path and str(Path(kspace_path).absolute()),
            "kspace_part": kspace_part and messages.encode_part(*kspace_part),
            "device": device,
            "result": str(job._result_path),
            "unsupported": str(job._unsupported_path),
            "maps": job._maps_start,
        }
        job._order = order
        self._waiting.append(job)
        self._advance()
        return job

    def close(self) -> None:
        """End the process, cancel what is at work or waiting, and delete all files. A later job starts anew."""
        if self._process is not None:
            self._process.end()
            self._process = None
        for job in (self._current, *self._waiting):
            if job is not None:
                job._finish(Cancelled())
        self._current = None
        self._waiting.clear()
        if self._folder is not None:
            shutil.rmtree(self._folder, ignore_errors=True)
            self._folder = None
            atexit.unregister(self.close)

    def _own_folder(self) -> Path:
        if self._folder is None:
            self._folder = Path(tempfile.mkdtemp(prefix="stenhance-")).resolve()
            atexit.register(self.close)
        return self._folder

    def _encode(self, sequence: ImageSequence, job: Job) -> dict[str, Any]:
        frames = sequence.frames
        path = voxels.file_in(self._own_folder(), frames)
        if path is None:
            copy = self.allocate(frames.shape, frames.dtype)
            copy[...] = frames
            frames, path = copy, Path(copy.filename)
        job._inputs.append(frames)
        return messages.encode_sequence(sequence, path)

    def _advance(self) -> None:
        """Hand on what the worker said, see whether it still lives, and give it the next job."""
        if self._process is not None:
            for message in self._process.receive():
                if self._current is not None and message.get("job") == self._current._number:
                    self._current._take(message)
            if self._process.has_ended:
                self._bury(f"The worker process ended unexpectedly ({self._process.how_it_ended()}).")
            elif self._current is not None and self._current._out_of_patience:
                self._bury("Its method did not stop in time.")
        if self._current is not None and self._current.done:
            self._current = None
        while self._current is None and self._waiting:
            job = self._waiting.popleft()
            try:
                self.start()
            except STEnhanceError as error:
                job._finish(Failed(str(error)))
                continue
            self._current = job
            self._process.send(**job._order)

    def _bury(self, what_happened: str) -> None:
        logger.info("worker %d ends: %s", self.pid, what_happened)
        self._process.end()
        self._process = None
        if self._current is not None:
            advice = "If it happens again, give it fewer frames or a smaller matrix, or pick another method."
            self._current._finish(Failed(f"{what_happened} The input is unchanged, and you can run it again. {advice}"))

    def _withdraw(self, job: Job) -> None:
        if job in self._waiting:
            self._waiting.remove(job)
            job._finish(Cancelled())
        elif self._process is not None:
            self._process.send(cancel=job._number)
            self._advance()


class Job:
    """One run of a method in a `Worker`, made by `Worker.submit`.

    The files of its result live as long as the job, its frames or its result are held.

    Attributes:
        done: it has ended, one way or the other; `poll` may still have to tell how.
    """

    def __init__(self, worker: Worker, number: int, folder: Path):
        self.done = False
        self._worker = worker
        self._number = number
        self._result_path = folder / f"result-{number}.npy"
        self._unsupported_path = folder / f"unsupported-{number}.npy"
        self._maps_start = str(folder / f"map-{number}")
        self._order: dict[str, Any] = {}
        self._inputs: list[np.ndarray] = []  # held until the end, because their files live as long as they do
        self._events: deque[Event] = deque()
        self._patience_ends: float | None = None
        self._plan: Planned | None = None
        self._frames: np.ndarray | None = None
        self._unsupported: np.ndarray | None = None
        self._maps: dict[str, np.ndarray] = {}
        self._ending: Event | None = None

    def poll(self) -> list[Event]:
        """What happened since the last call, oldest first; returns at once."""
        self._worker._advance()
        events = list(self._events)
        self._events.clear()
        return events

    def __iter__(self) -> Iterator[Event]:
        """Wait for one event after the other until the job has ended."""
        while not self.done or self._events:
            events = self.poll()
            yield from events
            if not events:
                time.sleep(0.005)

    def cancel(self, patience_s: float = CANCEL_PATIENCE_S) -> None:
        """Give the job up: no more frames come, and `Cancelled` within a second, whatever the method is doing.

        That holds for a job that has ended, too, as long as `poll` has not told so.

        Args:
            patience_s: how long the method may take to finish its frame before its process is killed, which needs
                further calls of `poll`; with 0 the job has ended on return.
        """
        if not self.done:
            self._patience_ends = time.monotonic() + patience_s
            self._events.clear()
            self._worker._withdraw(self)
        elif self._events:
            self._events.clear()
            self._end_with(Cancelled())

    def result(self, name: str = "") -> ImageSequence:
        """Wait for all frames; their voxels stay in the job's file.

        Raises:
            STEnhanceError: the job failed or was cancelled.
        """
        for _ in self:
            pass
        if not isinstance(self._ending, Finished):
            raise STEnhanceError(getattr(self._ending, "message", "The job was cancelled."))
        plan, grid = self._plan, self._plan.grid
        return ImageSequence(
            self._frames, grid.ijk_to_ras, grid.times_ms, grid.periodic, name, plan.notes, plan.attributes
        )

    @property
    def _out_of_patience(self) -> bool:
        return self._patience_ends is not None and time.monotonic() >= self._patience_ends

    def _take(self, message: dict[str, Any]) -> None:
        """Turn an answer of the worker into an event."""
        match message["event"]:
            case "finished":
                finished = Finished(tuple(message["notes"]), message["attributes"])
                if finished.notes and self._plan is not None:
                    notes = self._plan.notes + finished.notes
                    self._plan = dataclasses.replace(self._plan, notes=notes, attributes=finished.attributes)
                self._finish(finished)
            case "cancelled":
                self._finish(Cancelled())
            case "failed":
                if message["details"]:
                    logger.error("%s", message["details"])
                self._finish(Failed(message["message"]))
            case "planned" if self._patience_ends is None:
                grid, maps = messages.decode_grid(message["grid"]), messages.decode_maps(message["maps"])
                self._frames = _opened(self._result_path)
                self._maps = {each.key: _opened(messages.map_path(self._maps_start, each.key)) for each in maps}
                self._plan = Planned(grid, tuple(message["notes"]), message["attributes"], maps)
                self._events.append(self._plan)
            case "working" if self._patience_ends is None:
                self._events.append(Working(message["text"], message["share"]))
            case "frame" if self._patience_ends is None:
                self._events.append(self._frame(message["index"], message["unsupported"]))

    def _frame(self, index: int, unsupported: float | str | None) -> FrameReady:
        if unsupported == "map":
            if self._unsupported is None:
                self._unsupported = _opened(self._unsupported_path)
            unsupported = self._unsupported[index]
        elif unsupported is None:
            unsupported = float("nan")
        maps = {key: values[index] for key, values in self._maps.items()}
        return FrameReady(index, len(self._plan.grid), self._frames[index], unsupported, maps)

    def _finish(self, ending: Event) -> None:
        if self.done:  # its worker died afterwards
            return
        if self._patience_ends is not None:
            ending = Cancelled()  # even if the worker was faster
        self._end_with(ending)

    def _end_with(self, ending: Event) -> None:
        self.done = True
        self._ending = ending
        self._events.append(ending)
        self._order = {}
        self._inputs.clear()
        if not isinstance(ending, Finished):
            self._frames = self._unsupported = None
            self._maps = {}
            maps = self._result_path.parent.glob(f"{Path(self._maps_start).name}-*")
            for path in (self._result_path, self._unsupported_path, *maps):
                voxels.delete(path)


def _opened(path: Path) -> np.memmap:
    """The voxels of a file that the worker made, which goes with them."""
    return voxels.delete_with(voxels.open_read_only(path), path)
