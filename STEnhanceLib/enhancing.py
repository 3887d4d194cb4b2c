"""`SceneRun`: enhances a sequence of the scene in a worker process and publishes the result beside it as it comes."""

from __future__ import annotations

import functools
import logging
import time
from collections import deque
from collections.abc import Mapping
from pathlib import Path
from typing import Any

from STEnhanceLib.errors import STEnhanceError
from STEnhanceLib.jobs import Cancelled, Event, Failed, Finished, FrameReady, Job, Planned, Worker, Working
from STEnhanceLib.publication import Publication
from STEnhanceLib.run_state import State, Step, after
from STEnhanceLib.scene import describe_sequence, find_sequence, reading
from STEnhanceLib.sequence import ImageSequence

logger = logging.getLogger(__name__)

S_PER_POLL = 0.015  # a method may be faster than publishing; the application stays fluent all the same


class SceneRun:
    """One run from a sequence node to a sequence node; a timer calls `poll` until it is `done`.

    A run that fails or is cancelled leaves the scene as it was before.

    Attributes:
        state: how far it is.
        error: why it failed, one sentence or two for the user; None otherwise.
        count: frames of the whole result; 0 until the method has planned it.
        finished_frames: frames of the result that are in the scene.
        stage: what is computed before the next frame comes, where the method tells; empty otherwise.
        share: of the way to that frame, 0 … 1.
        publication: the nodes of the result, see `publication.Publication`; None until the method has planned it.
        notes: what had to be assumed about the input and what the method assumed.
    """

    def __init__(
        self,
        worker: Worker,
        input_node,
        method_key: str,
        settings: Mapping[str, Any],
        *,
        name: str,
        frame_duration_ms: float | None = None,
        periodic: bool | None = None,
        prior: ImageSequence | None = None,
        kspace_path: Path | None = None,
        device: str = "automatic",
    ):
        """Begin to read the input, as it is now; `poll` goes on with that, and then hands it to the worker.

        Args:
            worker: see `jobs.Worker`.
            input_node: the sequence node, or the volume in which a browser shows it.
            method_key: see `methods.find_method`.
            settings: see `methods.parse_parameters`.
            name: what the result will be called in the scene.
            frame_duration_ms: see `scene.read_sequence`.
            periodic: see `scene.read_sequence`.
            prior: see `methods.run.enhance`.
            kspace_path: file of the measurement, for methods that need k-space.
            device: where methods that use torch compute, one of `device.CHOICES`.

        Raises:
            STEnhanceError: the node is no sequence of greyscale volumes, or the disk is full.
        """
        self.state, self.error = State.READING, None
        self.count = self.finished_frames = 0
        self.stage, self.share = "", 0.0
        self._input_node, _ = find_sequence(input_node)
        known = {"frame_duration_ms": frame_duration_ms, "periodic": periodic}
        grid, self.notes = describe_sequence(self._input_node, **known)
        self._input_times_ms = grid.times_ms
        self._reading = reading(self._input_node, worker.allocate, **known)
        next(self._reading)
        worker.start()  # meanwhile
        self._submit = functools.partial(
            worker.submit, method_key, settings, prior=prior, kspace_path=kspace_path, device=device
        )
        self._name = name
        self._keep_partial = False
        self.publication: Publication | None = None
        self._job: Job | None = None  # none before the input is read, and after the end
        self._events: deque[Event] = deque()  # that are still to be shown in the scene

    @property
    def done(self) -> bool:
        """The run has ended, one way or another."""
        return self.state.ended

    @property
    def cancelled(self) -> bool:
        """The run was given up."""
        return self.state is State.CANCELLED

    @property
    def input(self):
        """The `vtkMRMLSequenceNode` that is enhanced."""
        return self._input_node

    @property
    def result(self):
        """The `vtkMRMLSequenceNode` of the result; None before the first frame and when there is none to keep."""
        return None if self.publication is None else self.publication.sequence

    def poll(self) -> None:
        """Read some of the input, or publish what has come since the last call; returns within about `S_PER_POLL`."""
        if self.done:
            return
        end = time.monotonic() + S_PER_POLL
        try:
            while self.state is State.READING and time.monotonic() < end:
                self._read_on()
            if self._job is not None:
                self._events.extend(self._job.poll())
            while self._events and time.monotonic() < end:
                if self.state is State.COMPUTING and self._job.done:
                    self._go_on(Step.COMPUTED)
                self._handle(self._events.popleft())
        except STEnhanceError as error:
            self._fail(str(error))
        except Exception:
            self._fail("The result could not be put into the scene; the log has the details to report.")
            raise

    def wait(self):
        """Poll until the run is done, outside an event loop.

        Returns:
            The `vtkMRMLSequenceNode` of the result.

        Raises:
            STEnhanceError: the run failed or was cancelled.
        """
        while not self.done:
            self.poll()
            time.sleep(0.002)
        if self.error or self.cancelled:
            raise STEnhanceError(self.error or "The run was cancelled.")
        return self.result

    def cancel(self, keep_partial: bool = False) -> None:
        """Give the run up; within a second it is `done`.

        Args:
            keep_partial: the frames that are in the scene by now stay there.
        """
        if self.done:
            return
        self._keep_partial = keep_partial
        self._go_on(Step.CANCEL)
        self._events.clear()  # no more frames come, though some may be computed
        if self._job is None or self._job.done:  # nobody will say that it has stopped
            self._events.append(Cancelled())
        else:
            self._job.cancel()

    def abandon(self) -> None:
        """Cancel without waiting for the worker; on return the scene is as it was, as a scene about to close needs."""
        if not self.done:
            self._cancel_job()
            self._take_back()
            self._end(Step.STOPPED)

    def _read_on(self) -> None:
        sequence = next(self._reading)
        if sequence is not None:
            self._job = self._submit(sequence)
            self._reading = self._submit = None
            self._go_on(Step.READ)

    def _cancel_job(self) -> None:
        if self._job is not None:
            self._job.cancel(patience_s=0)

    def _handle(self, event: Event) -> None:
        match event:
            case Planned():
                self._go_on(Step.PLANNED)
                self.count = len(event.grid)
                self.notes += event.notes
                self.publication = Publication(
                    self._input_node,
                    event.grid,
                    self._name,
                    event.attributes,
                    input_times_ms=self._input_times_ms,
                    maps=event.maps,
                )
            case FrameReady():
                self.publication.add_frame(event.voxels, event.unsupported, event.maps)
                self.finished_frames = event.index + 1
                self.stage, self.share = "", 0.0
            case Working():
                self.stage, self.share = event.text, event.share
            case Finished():
                self.notes += event.notes
                self.publication.finish(event.attributes)
                self._end(Step.PUBLISHED)
            case Failed():
                self._fail(event.message)
            case Cancelled():
                self._take_back(self._keep_partial)
                self._end(Step.STOPPED)

    def _fail(self, message: str) -> None:
        logger.warning("%s", message)
        self._cancel_job()
        self.error = message
        self._take_back()
        self._end(Step.FAIL)

    def _take_back(self, keep_partial: bool = False) -> None:
        if self.publication is not None:
            self.publication.cancel(keep_partial)
        self.finished_frames = self.finished_frames if keep_partial else 0

    def _go_on(self, step: Step) -> None:
        self.state = after(self.state, step)

    def _end(self, step: Step) -> None:
        self._go_on(step)
        self._events.clear()
        self._job = self._reading = self._submit = None  # their files go with them
