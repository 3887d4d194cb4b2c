"""The images of a measurement, gridded in a process of their own, so that an application stays fluent meanwhile.

    python -m STEnhanceLib.jobs.gridding_in_background FOLDER

One line of JSON on stdin is the order, a k-space file; on stdout come its process number and the images, whose voxels
lie in FOLDER.
"""

from __future__ import annotations

import contextlib
import json
import os
import shutil
import sys
import tempfile
import traceback
from pathlib import Path
from typing import Any

from STEnhanceLib import given
from STEnhanceLib.errors import STEnhanceError
from STEnhanceLib.jobs import messages, voxels
from STEnhanceLib.jobs.process import WorkerProcess
from STEnhanceLib.sequence import ImageSequence


class GriddingInBackground:
    """Grids one k-space file in a child process. All calls come from one thread; none blocks.

    Args:
        path: of the file, see `KSpace.load`.
        python: the interpreter; inside Slicer `shutil.which("PythonSlicer")`.

    Raises:
        STEnhanceError: the process cannot be started.
    """

    def __init__(self, path: Path, python: str = sys.executable):
        self._folder = Path(tempfile.mkdtemp(prefix="stenhance-gridding-")).resolve()
        try:
            self._process = WorkerProcess((python, "-m", "STEnhanceLib.jobs.gridding_in_background", str(self._folder)))
        except STEnhanceError:
            shutil.rmtree(self._folder, ignore_errors=True)
            raise
        self._process.send(kspace=str(Path(path).absolute()))

    def poll(self) -> ImageSequence | None:
        """The images once they are there; their voxels lie in a file that goes with `close`.

        Raises:
            STEnhanceError: as `given.images`, or the process died.
        """
        for answer in self._process.receive():
            if "error" in answer:
                raise STEnhanceError(answer["error"])
            if "sequence" in answer:
                return messages.decode_sequence(answer["sequence"])
        if self._process.has_ended:
            raise STEnhanceError(
                f"The gridding of the images ended unexpectedly ({self._process.how_it_ended()}). Nothing was changed; "
                "try again, or give a file of fewer frames."
            )
        return None

    def close(self) -> None:
        """End the process, at work or not, and delete its files."""
        self._process.end()
        shutil.rmtree(self._folder, ignore_errors=True)


def grid(path: Path, folder: Path) -> dict[str, Any]:
    """The images of a k-space file as a message; their voxels go into the folder.

    Raises:
        STEnhanceError: as `given.images`, or the disk is full.
    """
    images = given.images(path)
    file = folder / "frames.npy"
    voxels.create(file, images.frames.shape, images.frames.dtype)[...] = images.frames
    return messages.encode_sequence(images, file)


def _answer(folder: Path, order: dict[str, Any]) -> dict[str, Any]:
    try:
        return {"sequence": grid(Path(order["kspace"]), folder)}
    except STEnhanceError as error:
        return {"error": str(error)}
    except Exception as error:
        traceback.print_exc()
        return {"error": f"The gridding failed ({type(error).__name__}: {error}); the log has the details to report."}


if __name__ == "__main__":
    answers = os.fdopen(os.dup(1), "w", encoding="utf-8")
    os.dup2(2, 1)  # what a library prints shall not mix with the answer
    with contextlib.suppress(BrokenPipeError), answers:
        print(json.dumps({"pid": os.getpid()}), file=answers, flush=True)  # a launcher does not end its child
        print(json.dumps(_answer(Path(sys.argv[1]), json.loads(sys.stdin.readline()))), file=answers, flush=True)
