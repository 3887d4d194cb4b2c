"""A worker process as its parent sees it: lines in, lines out, never blocking."""

from __future__ import annotations

import contextlib
import json
import logging
import os
import signal
import subprocess
from collections.abc import Sequence
from pathlib import Path
from typing import Any, BinaryIO

import STEnhanceLib
from STEnhanceLib.errors import STEnhanceError

logger = logging.getLogger(__name__)


class WorkerProcess:
    """A running worker.

    No thread reads its pipes: inside Slicer, Python threads stand still while the application waits for events.

    Attributes:
        pid: of the worker; until it has announced itself, of its launcher.
        has_ended: it is gone and everything it said has been received.

    Raises:
        STEnhanceError: the command cannot be started.
    """

    def __init__(self, command: Sequence[str]):
        library = str(Path(STEnhanceLib.__file__).parents[1])
        paths = [library, *filter(None, [os.environ.get("PYTHONPATH")])]
        # A module would find its libraries first in the folder in which Slicer was started, a queue.py of the user's
        # say. Python 3.10 cannot do without; Slicer has 3.12.
        safe = {"PYTHONSAFEPATH": "1"} if "-m" in command else {}
        try:
            self._process = subprocess.Popen(
                command,
                stdin=subprocess.PIPE,
                stdout=subprocess.PIPE,
                stderr=subprocess.PIPE,
                bufsize=0,
                env={**os.environ, **safe, "PYTHONPATH": os.pathsep.join(paths), "PYTHONUNBUFFERED": "1"},
                creationflags=getattr(subprocess, "CREATE_NO_WINDOW", 0),
            )
        except OSError as error:
            raise STEnhanceError(
                f"The worker process could not be started with {command[0]!r} ({error.strerror}); expected a Python "
                "interpreter that has numpy."
            ) from None
        self._answers = _Lines(self._process.stdout)
        self._errors = _Lines(self._process.stderr)
        self._last_error = ""
        self.pid = self._process.pid
        self.has_ended = False

    def send(self, **message: Any) -> None:
        """Write one order; a worker that is gone shows in `receive` and `has_ended`."""
        with contextlib.suppress(OSError):
            self._process.stdin.write(json.dumps(message, default=str).encode() + b"\n")

    def receive(self) -> list[dict[str, Any]]:
        """The answers that have come since the last call; what the worker wrote to stderr goes to the log."""
        is_gone = self._process.poll() is not None  # before reading, so that its last words are not missed
        self._log_errors()
        received = []
        for line in self._answers.read():
            try:
                message = json.loads(line)
            except ValueError:  # a launcher's greeting
                logger.info("worker %d: %s", self.pid, line)
                continue
            self.pid = message.get("pid", self.pid)
            received.append(message)
        # A child of the worker may hold the pipe open after it, a launcher may outlive it: either is the end.
        self.has_ended = is_gone or self._answers.at_end
        return received

    def how_it_ended(self) -> str:
        """Why an ended worker ended, as a piece of a sentence."""
        try:
            code = self._process.wait(timeout=0.5)
        except subprocess.TimeoutExpired:
            return "it closed its pipe"
        self._log_errors()
        if code == -getattr(signal, "SIGKILL", 9):
            return "killed, often because memory ran out"
        if code < 0:
            return f"signal {-code}, {signal.strsignal(-code)}"
        return f"exit code {code}" + (f", {self._last_error}" if self._last_error else "")

    def _log_errors(self) -> None:
        for line in self._errors.read():
            self._last_error = line
            logger.info("worker %d: %s", self.pid, line)

    def end(self) -> None:
        """End it, at work or not, and wait until it is gone."""
        self.send(end=True)
        self._process.stdin.close()  # for the worker behind a launcher that has not announced its pid yet
        try:
            self._process.wait(timeout=0.1)
        except subprocess.TimeoutExpired:
            with contextlib.suppress(OSError):
                os.kill(self.pid, getattr(signal, "SIGKILL", signal.SIGTERM))
            self._process.kill()
            self._process.wait()
        self._process.stdout.close()
        self._process.stderr.close()


class _Lines:
    """Whole lines of a pipe, as far as they have come."""

    def __init__(self, pipe: BinaryIO):
        os.set_blocking(pipe.fileno(), False)  # on Windows from Python 3.12 on, which Slicer has
        self._pipe = pipe
        self._rest = b""
        self.at_end = False

    def read(self) -> list[str]:
        text = self._rest
        for _ in range(64):  # a torrent of output must not hold the caller
            try:
                piece = self._pipe.read(1 << 16)
            except BrokenPipeError:  # how Windows says end
                piece = b""
            if piece is None:
                break
            if not piece:
                self.at_end = True
                break
            text += piece
        *lines, self._rest = text.split(b"\n")
        return [line.decode(errors="replace").rstrip() for line in lines]
