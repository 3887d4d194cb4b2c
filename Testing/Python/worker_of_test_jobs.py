"""A worker that also has a method which misbehaves on request."""

import ctypes
import os
import signal
import sys
import time
from dataclasses import dataclass
from pathlib import Path

import numpy as np
from learned import LEARNED
from standing_still import stand_still

from STEnhanceLib.errors import STEnhanceError
from STEnhanceLib.jobs import worker
from STEnhanceLib.methods import EnhancedFrame, Enhancement, Method, Need, Task, all_methods
from STEnhanceLib.methods.declaration import parameter


@dataclass(frozen=True)
class Behaviour:
    after: int = parameter(0, "How many frames go well.", minimum=0)
    then: str = parameter("go on", "What happens next.")
    seconds: float = parameter(0.0, "How long each frame takes.", minimum=0, unit="s")
    until: str = parameter("", "A file without which no more frames come.")


def copy(sequence, behaviour):
    notes = [f"torch loaded: {'torch' in sys.modules}", f"given: {sequence.frames.dtype}"]

    def frames():
        for index, frame in enumerate(sequence.frames):
            if index == behaviour.after:
                if behaviour.then == "note":
                    notes.append("Memory was short.")
                misbehave(behaviour.then)
                stand_still(behaviour.until)
            time.sleep(behaviour.seconds)
            unsupported = float("nan") if behaviour.then != "map" else np.full_like(frame, index / 8)
            yield EnhancedFrame(np.abs(frame), unsupported)

    return Enhancement(sequence.grid, frames(), notes)


def misbehave(how):
    if how == "print":
        print("a library talks")
        os.write(1, b'{"event": "finished"}\n')
    elif how == "refuse":
        raise STEnhanceError("The frames are too dark.")
    elif how == "raise":
        raise ValueError("singular matrix")
    elif how == "eat memory":
        np.empty(1 << 60, np.uint8)
    elif how == "abort":
        os.abort()
    elif how == "die afterwards":
        worker.queue.Queue.get = lambda *_: os.kill(os.getpid(), signal.SIGKILL)  # when it asks for the next order
    elif how == "never end":
        while True:
            pass
    elif how == "hold the interpreter":
        ctypes.PyDLL(None).sleep(600)  # a C function that keeps the interpreter lock: no other thread runs


all_methods()["test-copy"] = Method(
    key="test-copy",
    title="Copy",
    task=Task.SUPER_RESOLUTION,
    summary="Copies, or misbehaves.",
    parameters=Behaviour,
    enhance=copy,
    reference="none",
)


def look(sequence, _parameters, prior, kspace):
    frames = (EnhancedFrame(frame, 0.0) for frame in sequence.frames)
    return Enhancement(sequence.grid, frames, notes=(repr(prior), f"k-space of {kspace.samples.shape}"))


all_methods()["test-look"] = Method(
    key="test-look",
    title="Look",
    task=Task.ARTEFACT_REDUCTION,
    summary="Copies, and notes what else it was given.",
    parameters=Behaviour,
    enhance=look,
    reference="none",
    needs=(Need.PRIOR, Need.KSPACE),
)

all_methods()[LEARNED.key] = LEARNED

if __name__ == "__main__":
    worker.main(Path(sys.argv[1]))
