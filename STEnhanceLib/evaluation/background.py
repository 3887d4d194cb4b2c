"""A comparison in a process of its own, so that an application stays fluent while it is scored and reported.

    python -m STEnhanceLib.evaluation.background

One line of JSON on stdin is the order; on stdout come its process number and the answer.
"""

from __future__ import annotations

import contextlib
import json
import os
import shutil
import sys
import tempfile
import traceback
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np

from STEnhanceLib.errors import STEnhanceError
from STEnhanceLib.jobs import messages, voxels
from STEnhanceLib.jobs.process import WorkerProcess
from STEnhanceLib.sequence import ImageSequence


class BackgroundComparison:
    """Scores a comparison, or writes its report, in a child process. All calls come from one thread; none blocks.

    Args:
        python: the interpreter; inside Slicer `shutil.which("PythonSlicer")`.
    """

    def __init__(self, python: str):
        self._folder = Path(tempfile.mkdtemp(prefix="stenhance-comparison-")).resolve()
        self._python = python
        self._count = 0
        self._process: WorkerProcess | None = None

    def allocate(self, shape: tuple[int, ...], dtype: np.dtype) -> np.memmap:
        """An array that the child can read, for the frames of a sequence.

        Raises:
            STEnhanceError: the disk is full.
        """
        self._count += 1
        return voxels.create(self._folder / f"{self._count}.npy", shape, dtype)

    def start(
        self,
        before: ImageSequence,
        after: ImageSequence,
        reference: ImageSequence | None = None,
        report: Path | None = None,
    ) -> None:
        """Begin; the frames of the sequences were made by `allocate`.

        Args:
            before, after, reference: see `comparison.Comparison`.
            report: folder for the HTML page; None only scores.

        Raises:
            STEnhanceError: the process cannot be started.
        """
        sequences = {"before": before, "after": after, "reference": reference}
        self._process = WorkerProcess((self._python, "-m", "STEnhanceLib.evaluation.background"))
        self._process.send(
            report=report and str(Path(report).absolute()),
            **{
                name: messages.encode_sequence(sequence, voxels.file_in(self._folder, sequence.frames))
                for name, sequence in sequences.items()
                if sequence is not None
            },
        )

    def poll(self) -> dict[str, Any] | None:
        """The answer once it is there.

        Returns:
            `page`: path of the report or None; `times_ms`: of the scored frames; `before` and `after`: metric to its
            value in every scored frame, of the interpolated input and of the result. The last three only with a
            reference.

        Raises:
            STEnhanceError: the sequences do not fit each other, the page cannot be written, or the process died.
        """
        for answer in self._process.receive():
            if "error" in answer:
                raise STEnhanceError(answer["error"])
            if "page" in answer:
                return answer
        if self._process.has_ended:
            raise STEnhanceError(
                f"The comparison ended unexpectedly ({self._process.how_it_ended()}). Nothing was changed; try again."
            )
        return None

    def close(self) -> None:
        """End the process, at work or not, and delete its files."""
        if self._process is not None:
            self._process.end()
            self._process = None
        shutil.rmtree(self._folder, ignore_errors=True)


def compare(order: dict[str, Any]) -> dict[str, Any]:
    """Carry an order out: see `BackgroundComparison.poll`."""
    from STEnhanceLib.evaluation.report import Comparison, write_report

    before, after, reference = (messages.decode_sequence(order.get(name)) for name in ("before", "after", "reference"))
    title = f"{before.name} → {after.name}"
    comparison = Comparison(title, before, [after], reference)
    answer: dict[str, Any] = {"page": None}
    if reference is not None:
        scores = comparison.scores
        answer["times_ms"] = reference.times_ms[comparison.scored_frames].tolist()
        for name, of_sequence in zip(("before", "after"), scores, strict=True):
            answer[name] = {metric: values.tolist() for metric, values in vars(of_sequence.whole).items()}
    if order["report"]:
        answer["page"] = str(write_report(Path(order["report"]), [comparison], title=title))
    return answer


def _answer(to_parent: Callable[[dict[str, Any]], None]) -> None:
    to_parent({"pid": os.getpid()})  # a launcher between the two does not end its child
    try:
        to_parent(compare(json.loads(sys.stdin.readline())))
    except STEnhanceError as error:
        to_parent({"error": str(error)})
    except Exception as error:
        traceback.print_exc()
        to_parent({"error": f"The comparison failed ({type(error).__name__}: {error}); the log has the details."})


if __name__ == "__main__":
    answers = os.fdopen(os.dup(1), "w", encoding="utf-8")
    os.dup2(2, 1)  # what a library prints shall not mix with the answer
    with contextlib.suppress(BrokenPipeError), answers:
        _answer(lambda answer: print(json.dumps(answer), file=answers, flush=True))
