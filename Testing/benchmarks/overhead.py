"""What a job costs beyond its method: scene → worker → scene with a method that only copies.

    python Testing/benchmarks/overhead.py [--runs 7] [--json FILE]

Polls every 20 ms as the timer of a panel does. Prints the median of the runs; nothing is subtracted for the copying.
"""

from __future__ import annotations

import argparse
import json
import statistics
import sys
import time
from dataclasses import dataclass
from pathlib import Path

import numpy as np
from rich.console import Console
from rich.table import Table

from STEnhanceLib import headless, scene
from STEnhanceLib.enhancing import SceneRun
from STEnhanceLib.jobs import Worker, worker
from STEnhanceLib.methods import EnhancedFrame, Enhancement, Method, Task, all_methods
from STEnhanceLib.methods.declaration import parameter
from STEnhanceLib.sequence import ImageSequence

POLL_S = 0.02
SHAPE = (20, 10, 256, 256)


@dataclass(frozen=True)
class Pace:
    """How slow the copying is."""

    seconds: float = parameter(0.0, "How long each frame takes.", minimum=0, unit="s")


def copy(sequence: ImageSequence, pace: Pace) -> Enhancement:
    """Hand back the frames as they are."""

    def frames():
        for frame in sequence.frames:
            time.sleep(pace.seconds)
            yield EnhancedFrame(frame, 0.0)

    return Enhancement(sequence.grid, frames())


def serve(folder: str) -> None:
    """Be the worker process, with the copying method."""
    all_methods()["copy"] = Method("copy", "Copy", Task.SUPER_RESOLUTION, "Copies.", Pace, copy, reference="none")
    worker.main(Path(folder))


def measure(runs: int) -> dict[str, float]:
    """Median times in milliseconds by what they are."""
    headless.start()
    warm = Worker(script=(__file__, "--serve"))
    start = time.perf_counter()
    warm.submit("copy", {}, sequence_of((1, 1, 1, 1))).result()
    times = {"worker start and smallest job, once per session": [1e3 * (time.perf_counter() - start)]}
    node = scene.add_sequence(sequence_of(SHAPE))
    for _ in range(runs):
        for what, milliseconds in (*smallest_job(warm), *whole_line(warm, node), *first_frame(warm, node)):
            times.setdefault(what, []).append(milliseconds)
    warm.close()
    return {what: round(statistics.median(values), 1) for what, values in times.items()}


def smallest_job(warm: Worker):
    """One voxel there and back."""
    start = time.perf_counter()
    warm.submit("copy", {}, sequence_of((1, 1, 1, 1))).result()
    yield "smallest job, warm", 1e3 * (time.perf_counter() - start)


def whole_line(warm: Worker, node):
    """Every frame, as fast as it goes."""
    start = time.perf_counter()
    run = SceneRun(warm, node, "copy", {}, name="result")
    read = time.perf_counter() - start
    longest_poll = 0.0
    while not run.done:
        longest_poll = max(longest_poll, poll(run))
    total = time.perf_counter() - start
    run.publication.cancel()
    assert not run.error, run.error
    yield "scene → worker → scene", 1e3 * total
    yield "… of which Apply, before the first poll", 1e3 * read
    yield "… longest time a poll held the main thread", 1e3 * longest_poll


def first_frame(warm: Worker, node, seconds: float = 0.1):
    """How far the worker is when the first frame is in the scene."""
    start = time.perf_counter()
    run = SceneRun(warm, node, "copy", {"seconds": seconds}, name="result")
    while run.finished_frames == 0:
        poll(run)
    yield "first frame in the scene, with 100 ms per frame", 1e3 * (time.perf_counter() - start)
    run.cancel()
    while not run.done:
        poll(run)


def poll(run: SceneRun) -> float:
    """One tick of the timer; returns the seconds that it held the main thread."""
    start = time.perf_counter()
    run.poll()
    held = time.perf_counter() - start
    time.sleep(max(0.0, POLL_S - held))
    return held


def sequence_of(shape: tuple[int, ...]) -> ImageSequence:
    """Noise of this shape."""
    frames = np.random.default_rng(0).random(shape, dtype=np.float32)
    return ImageSequence(frames, np.diag([1.4, 1.4, 8.0, 1.0]), 40.0 * np.arange(len(frames)), name="noise")


def main() -> None:
    """Measure and print."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--runs", type=int, default=7)
    parser.add_argument("--json", type=Path, metavar="FILE")
    options = parser.parse_args()
    times = measure(options.runs)
    table = Table("what", "ms", title="Overhead of a job, " + " × ".join(map(str, SHAPE)) + " float32")
    for what, milliseconds in times.items():
        table.add_row(what, f"{milliseconds:.0f}")
    Console().print(table)
    if options.json:
        options.json.write_text(json.dumps(times, indent=2, ensure_ascii=False) + "\n", encoding="utf-8")


if __name__ == "__main__":
    serve(sys.argv[2]) if sys.argv[1:2] == ["--serve"] else main()
