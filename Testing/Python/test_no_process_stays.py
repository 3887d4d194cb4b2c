"""Neither a process nor a file outlives what started a worker, however that ends."""

from __future__ import annotations

import subprocess
import sys
from pathlib import Path

import psutil
from test_jobs import SCRIPT, has_ended, wait_for_a_frame, wait_until

from STEnhanceLib.jobs import Cancelled, Worker

PARENT = """
import sys, time, numpy as np
from STEnhanceLib.jobs import FrameReady, Worker
from STEnhanceLib.sequence import ImageSequence
worker = Worker(script=sys.argv[1:2])
sequence = ImageSequence(np.ones((4, 1, 8, 8), np.float32), np.eye(4), np.arange(4))
job = worker.submit("test-copy", {"then": "never end", "after": 1}, sequence)
for event in job:
    if isinstance(event, FrameReady):
        print(worker.pid, worker._folder, flush=True)
        break
"""


def parent_with_a_busy_worker(last_words: str) -> tuple[subprocess.Popen, psutil.Process, Path]:
    parent = subprocess.Popen([sys.executable, "-c", PARENT + last_words, *SCRIPT], stdout=subprocess.PIPE, text=True)
    pid, folder = parent.stdout.readline().split()
    return parent, psutil.Process(int(pid)), Path(folder)


def test_a_parent_that_is_killed_leaves_no_process_and_no_file():
    parent, busy, folder = parent_with_a_busy_worker("time.sleep(600)")
    assert folder.is_dir()
    parent.kill()
    parent.wait()
    assert wait_until(lambda: has_ended(busy))
    assert not folder.exists()


def test_a_parent_that_ends_without_closing_leaves_no_process_and_no_file():
    parent, busy, folder = parent_with_a_busy_worker("")
    assert parent.wait(timeout=240) == 0
    assert not busy.is_running()
    assert not folder.exists()


def test_closing_cancels_what_is_at_work_or_waiting_and_leaves_nothing(beating_disc):
    before = set(psutil.Process().children(recursive=True))
    worker = Worker(script=SCRIPT)
    jobs = [worker.submit("test-copy", {"then": "never end", "after": 1}, beating_disc) for _ in range(2)]
    wait_for_a_frame(jobs[0])
    folder = worker._folder
    worker.close()
    assert [job.poll() for job in jobs] == [[Cancelled()], [Cancelled()]]
    assert set(psutil.Process().children(recursive=True)) <= before
    assert not folder.exists()
    worker.close()
