"""What is told while no frame is ready: by whom, to whom, and how it reaches the person who waits."""

from __future__ import annotations

import io
import itertools
from types import SimpleNamespace

import pytest
from rich.console import Console
from test_jobs import wait_until

from STEnhanceLib import progress
from STEnhanceLib.acquisition.simulate import simulate
from STEnhanceLib.commands import terminal
from STEnhanceLib.jobs import Cancelled, Finished, FrameReady, Worker, Working
from STEnhanceLib.methods import find_method, run
from STEnhanceLib.phantoms.thorax import Thorax


def test_parts_within_parts_are_told_with_the_share_of_the_whole():
    heard = []
    with progress.heard_by(lambda *told: heard.append(told), pause_s=0):
        for k in range(2):
            with progress.part(k, 2, "slice"):
                for half in range(2):
                    with progress.part(half, 2):
                        progress.tell(f"block {half + 1}", 0.5)
    assert heard == [
        ("slice 1 of 2, block 1", 0.125),
        ("slice 1 of 2, block 2", 0.375),
        ("slice 2 of 2, block 1", 0.625),
        ("slice 2 of 2, block 2", 0.875),
    ]


def test_the_name_of_a_part_may_be_all_there_is_to_tell_and_an_only_part_has_none():
    heard = []
    with progress.heard_by(lambda *told: heard.append(told), pause_s=0):
        with progress.part(1, 2, "slice"):
            progress.tell("")
        with progress.part(0, 1, "slice"):
            progress.tell("")
            progress.tell("block 1 of 3", 1 / 3)
    assert heard == [("slice 2 of 2", 0.5), ("block 1 of 3", pytest.approx(1 / 3))]


def test_nobody_is_told_outside_and_who_tells_often_is_heard_now_and_then(monkeypatch):
    """By a clock on which 1/64 s goes by between two messages."""
    heard, now = [], itertools.count()
    monkeypatch.setattr(progress, "time", SimpleNamespace(monotonic=lambda: next(now) / 64))
    progress.tell("before")
    with progress.heard_by(lambda *told: heard.append(told), pause_s=5 / 64):
        for n in range(20):
            progress.tell(f"step {n}")
    progress.tell("after")
    assert [text for text, _share in heard] == ["step 0", "step 5", "step 10", "step 15"]


def test_an_error_inside_a_part_leaves_none_behind():
    heard = []
    with progress.heard_by(lambda *told: heard.append(told), pause_s=0):
        with pytest.raises(ValueError), progress.part(1, 2, "slice"):
            raise ValueError
        progress.tell("on its own")
    assert heard == [("on its own", 0.0)]


@pytest.fixture(scope="module")
def measured():
    pytest.importorskip("torch")
    pytest.importorskip("torchkbnufft")
    return simulate(Thorax(breathing_mm=0).cine(frames=6, matrix=64, slices=3), "c8")


@pytest.fixture(scope="module")
def kspace_path(measured, tmp_path_factory):
    path = tmp_path_factory.mktemp("kspace") / "measured.npz"
    measured.kspace.save(path)
    return path


@pytest.mark.parametrize("key", ["temporal-tv", "low-rank-sparse", "locally-low-rank"])
def test_an_iterative_method_tells_slice_and_step_and_never_goes_back(measured, key, one_thread):
    method, heard = find_method(key), []
    parameters = method.parameters(iterations=6, tolerance=1e-5, support=True)
    with progress.heard_by(lambda *told: heard.append(told), pause_s=0):
        run.enhance_all(method, measured.sequence, parameters, kspace=measured.kspace)
    texts, shares = zip(*heard, strict=True)
    assert "slice 2 of 3, step 3 of at most 6" in texts
    assert "slice 3 of 3, what the measurement supports" in texts
    assert list(shares) == sorted(shares) and shares[0] == 0 and 0.8 < shares[-1] < 1


def test_a_job_hands_it_on_before_its_first_frame(measured, kspace_path):
    with Worker() as worker:
        settings = {"iterations": 60, "tolerance": 1e-5}
        job = worker.submit("temporal-tv", settings, measured.sequence, kspace_path=kspace_path)
        events = list(job)
        first_frame = next(n for n, event in enumerate(events) if isinstance(event, FrameReady))
        told = [n for n, event in enumerate(events) if isinstance(event, Working)]
        assert len(told) >= 2 and max(told) < first_frame
        assert any("slice" in events[n].text and "of at most 60" in events[n].text for n in told)
        assert isinstance(events[-1], Finished)
        endless = {"iterations": 1000, "tolerance": 1e-5}
        job = worker.submit("temporal-tv", endless, measured.sequence, kspace_path=kspace_path)
        pid = worker.pid
        for event in job:
            if isinstance(event, Working):
                job.cancel(patience_s=60)
        assert isinstance(event, Cancelled)
        assert worker.pid == pid, "it stopped between two steps, and the warm process serves the next job"


def test_the_command_line_says_it_too(monkeypatch):
    written = io.StringIO()
    monkeypatch.setattr(terminal, "err", Console(file=written, force_terminal=True, width=120, highlight=False))
    with terminal.frame_progress("Temporal total variation") as on_frame:
        on_frame(0, 6)
        with progress.part(1, 3, "slice"):
            progress.tell("step 3 of at most 30")
            assert wait_until(lambda: "slice" in written.getvalue())
        on_frame(1, 6)
    assert "Temporal total variation: slice 2 of 3, step 3 of at most 30" in written.getvalue()
    last = written.getvalue().split("\r")[-1]
    assert "1/6" in last and "slice" not in last
