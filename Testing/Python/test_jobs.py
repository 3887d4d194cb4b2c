"""Methods run in a real worker process: what comes back, and what is left when something breaks."""

from __future__ import annotations

import gc
import logging
import os
import sys
import time
from pathlib import Path

import numpy as np
import psutil
import pytest

from STEnhanceLib import methods
from STEnhanceLib.acquisition.kspace import KSpace
from STEnhanceLib.errors import STEnhanceError
from STEnhanceLib.jobs import Cancelled, Finished, FrameReady, Planned, Worker
from STEnhanceLib.jobs.client import CANCEL_PATIENCE_S
from STEnhanceLib.methods import run
from STEnhanceLib.sequence import ImageSequence

SCRIPT = (str(Path(__file__).with_name("worker_of_test_jobs.py")),)


@pytest.fixture(scope="module")
def warm_worker():
    with Worker(script=SCRIPT) as worker:
        yield worker


@pytest.fixture
def worker(warm_worker):
    """A warm worker that must serve another job, and hold no file, whatever the test did to it."""
    yield warm_worker
    frames = np.ones((2, 1, 4, 4), np.float32)
    after = warm_worker.submit("test-copy", {}, ImageSequence(frames, np.eye(4), np.arange(2)))
    assert np.array_equal(after.result().frames, frames)
    del after
    gc.collect()
    assert list(warm_worker._folder.iterdir()) == []


def wait_for_a_frame(job) -> None:
    assert any(isinstance(event, FrameReady) for event in iter_until_frame(job))


def iter_until_frame(job):
    for event in job:
        yield event
        if isinstance(event, FrameReady):
            return


def ending(job):
    return list(job)[-1]


def wait_until(condition) -> bool:
    """The limit is for what never comes, not for what is slow."""
    end = time.monotonic() + 240
    while not condition() and time.monotonic() < end:
        time.sleep(0.01)
    return condition()


def has_ended(process: psutil.Process) -> bool:
    return not process.is_running() or process.status() == psutil.STATUS_ZOMBIE


def is_gone(child: psutil.Process) -> bool:
    """Its last thread has ended and closed the pipes, though nobody has asked how it ended."""
    return child.status() == psutil.STATUS_ZOMBIE and child.num_threads() == 1


def test_a_job_gives_what_the_method_gives_in_this_process(worker, beating_disc):
    method = methods.find_method("linear")
    parameters = methods.parse_parameters(method, {"factor": 2})
    expected = run.enhance(method, beating_disc, parameters)
    job = worker.submit("linear", {"factor": "2"}, beating_disc)
    planned, *frames, finished = list(job)
    assert isinstance(planned, Planned)
    assert planned.grid.shape == expected.grid.shape
    assert np.array_equal(planned.grid.ijk_to_ras, expected.grid.ijk_to_ras)
    assert np.array_equal(planned.grid.times_ms, expected.grid.times_ms)
    assert planned.grid.periodic == expected.grid.periodic
    assert planned.notes == expected.notes
    assert planned.attributes == run.provenance(method, parameters, beating_disc, expected)
    assert planned.attributes["STEnhance.Input"] == "beating disc"
    assert [frame.index for frame in frames] == list(range(len(expected.grid)))
    for frame, same in zip(frames, expected.frames, strict=True):
        assert np.array_equal(frame.voxels, same.voxels)
        assert np.array_equal(frame.unsupported, same.unsupported, equal_nan=True)
        assert not frame.voxels.flags.writeable
    assert finished == Finished()


def test_what_comes_up_while_frames_are_computed_is_told_in_the_end(worker, beating_disc):
    job = worker.submit("test-copy", {"after": 3, "then": "note"}, beating_disc)
    planned, *_frames, finished = list(job)
    assert "Memory was short." not in planned.notes
    assert finished.notes == ("Memory was short.",)
    result = job.result()
    assert result.notes == planned.notes + finished.notes
    assert result.attributes["STEnhance.Assumed"] == planned.attributes["STEnhance.Assumed"] + " Memory was short."


def test_frames_come_one_by_one(worker, beating_disc, gate):
    job = worker.submit("test-copy", {"after": 1, "until": str(gate)}, beating_disc)
    first = next(event for event in job if isinstance(event, FrameReady))
    assert (first.index, first.count) == (0, 8)
    assert np.array_equal(first.voxels, beating_disc.frames[0]), "it came while the second stands still"
    gate.touch()
    assert [event.index for event in job if isinstance(event, FrameReady)] == list(range(1, 8))


def test_an_unsupported_map_arrives_voxel_by_voxel(worker, beating_disc):
    job = worker.submit("test-copy", {"then": "map"}, beating_disc)
    maps = [event.unsupported for event in job if isinstance(event, FrameReady)]
    assert np.array_equal(maps, np.broadcast_to(np.arange(8)[:, None, None, None] / 8, beating_disc.frames.shape))


def test_the_next_job_finds_the_process_warm_and_torch_is_not_loaded_in_vain(worker, beating_disc):
    first = worker.submit("test-copy", {}, beating_disc).result("copy")
    pid = worker.pid
    second = worker.submit("test-copy", {}, beating_disc).result()
    assert worker.pid == pid
    assert "torch loaded: False" in first.notes
    assert "torch loaded: False" in second.notes
    assert first.name == "copy"


def test_frames_allocated_by_the_worker_are_submitted_without_a_copy(worker, beating_disc, gate):
    frames = worker.allocate(beating_disc.frames.shape, np.float32)
    frames[:] = beating_disc.frames
    sequence = ImageSequence(frames, beating_disc.ijk_to_ras, beating_disc.times_ms)
    job = worker.submit("test-copy", {"after": 1, "until": str(gate)}, sequence)
    wait_for_a_frame(job)
    gate.touch()
    assert len([path for path in worker._folder.iterdir() if path.name.startswith("input")]) == 1
    assert np.array_equal(job.result().frames, beating_disc.frames)


def test_a_part_of_allocated_frames_is_submitted_as_that_part(worker, beating_disc):
    frames = worker.allocate(beating_disc.frames.shape, np.float32)
    frames[:] = beating_disc.frames
    part = ImageSequence(frames[2:5], beating_disc.ijk_to_ras, beating_disc.times_ms[2:5])
    assert np.array_equal(worker.submit("test-copy", {}, part).result().frames, beating_disc.frames[2:5])


def test_a_complex_input_arrives_complex(worker, beating_disc):
    turned = beating_disc.frames * np.complex64(1j)
    sequence = ImageSequence(turned, beating_disc.ijk_to_ras, beating_disc.times_ms)
    plan = next(iter(worker.submit("test-copy", {}, sequence)))
    assert "given: complex64" in plan.notes


def test_a_prior_and_the_measurement_reach_the_method(worker, beating_disc, tmp_path):
    samples = np.ones((8, 3, 2, 40, 48), np.complex64)
    coils = np.full((3, 2, 40, 48), np.sqrt(0.5), np.complex64)
    measured = KSpace(samples, coils, beating_disc.grid, mask=np.ones((8, 40), bool))
    measured_path = tmp_path / "measured.npz"
    measured.save(measured_path)
    prior = beating_disc.with_frames([0])
    plan = next(iter(worker.submit("test-look", {}, beating_disc, prior=prior, kspace_path=measured_path)))
    assert plan.notes == (repr(prior), "k-space of (8, 3, 2, 40, 48)")


def test_a_library_that_prints_does_not_disturb_the_messages(worker, beating_disc):
    result = worker.submit("test-copy", {"then": "print", "after": 3}, beating_disc).result()
    assert np.array_equal(result.frames, beating_disc.frames)


def test_a_result_outlives_its_job_and_its_worker(beating_disc):
    with Worker(script=SCRIPT) as worker:
        result = worker.submit("test-copy", {}, beating_disc).result()
    assert np.array_equal(result.frames, beating_disc.frames)


def test_two_jobs_at_once_take_turns_and_are_both_right(worker, beating_disc):
    other = ImageSequence(beating_disc.frames * 2, beating_disc.ijk_to_ras, beating_disc.times_ms)
    first = worker.submit("test-copy", {"seconds": 0.02}, beating_disc)
    second = worker.submit("test-copy", {"seconds": 0.02}, other)
    assert np.array_equal(second.result().frames, other.frames)
    assert np.array_equal(first.result().frames, beating_disc.frames)


def test_a_waiting_job_can_be_cancelled_and_the_others_do_not_notice(worker, beating_disc, gate):
    jobs = [worker.submit("test-copy", {"until": str(gate)}, beating_disc) for _ in range(3)]
    jobs[1].cancel()
    assert jobs[1].poll() == [Cancelled()]
    gate.touch()
    assert ending(jobs[0]) == ending(jobs[2]) == Finished()


def test_cancelling_between_frames_keeps_the_process_warm(worker):
    ten_minutes = ImageSequence(np.ones((3000, 1, 4, 4), np.float32), np.eye(4), np.arange(3000))
    job = worker.submit("test-copy", {"seconds": 0.2}, ten_minutes)
    wait_for_a_frame(job)
    pid = worker.pid
    job.cancel(patience_s=60)  # it would be killed long before its last frame, though not because it was held up
    assert list(job) == [Cancelled()]
    assert worker.pid == pid


@pytest.mark.parametrize("never_ends", ["never end", "hold the interpreter"])
def test_a_method_that_never_ends_loses_its_process_after_less_than_a_second(worker, beating_disc, never_ends):
    job = worker.submit("test-copy", {"then": never_ends, "after": 1}, beating_disc)
    wait_for_a_frame(job)
    stuck, start = psutil.Process(worker.pid), time.monotonic()
    job.cancel()
    assert list(job) == [Cancelled()]
    assert time.monotonic() - start < 60, "of ten minutes at least"
    assert CANCEL_PATIENCE_S < 1, "or it takes longer than the panel promises"
    assert not stuck.is_running()


@pytest.mark.skipif(os.name == "nt", reason="the launcher is a shell script")
def test_a_worker_behind_a_launcher_is_ended_and_not_only_its_launcher(beating_disc, tmp_path):
    launcher = tmp_path / "PythonSlicer"
    launcher.write_text(f'#!/bin/sh\necho welcome\n"{sys.executable}" "$@"\nexit $?\n')
    launcher.chmod(0o755)
    with Worker(python=str(launcher), script=SCRIPT) as worker:
        job = worker.submit("test-copy", {"then": "hold the interpreter", "after": 1}, beating_disc)
        wait_for_a_frame(job)
        behind = psutil.Process(worker.pid)
        assert behind.parent().parent() == psutil.Process()
        job.cancel()
        assert list(job) == [Cancelled()]
        assert wait_until(lambda: has_ended(behind))
        assert ending(worker.submit("test-copy", {}, beating_disc)) == Finished()


def test_cancelling_without_patience_has_ended_on_return(worker, beating_disc):
    job = worker.submit("test-copy", {"then": "never end", "after": 1}, beating_disc)
    wait_for_a_frame(job)
    stuck = psutil.Process(worker.pid)
    job.cancel(patience_s=0)
    assert job.done
    assert not stuck.is_running()
    assert job.poll() == [Cancelled()]


def test_a_killed_worker_is_one_clear_sentence(worker, beating_disc):
    job = worker.submit("test-copy", {"then": "never end", "after": 1}, beating_disc)
    wait_for_a_frame(job)
    psutil.Process(worker.pid).kill()
    *_, failed = list(job)
    assert "worker process ended unexpectedly (killed, often because memory ran out)" in failed.message


def test_a_worker_killed_between_two_jobs_is_replaced(worker, beating_disc):
    worker.submit("test-copy", {}, beating_disc).result()
    idle = psutil.Process(worker.pid)
    idle.kill()
    assert wait_until(lambda: is_gone(idle))
    assert ending(worker.submit("test-copy", {}, beating_disc)) == Finished()


def test_a_worker_killed_after_the_last_frame_does_not_spoil_the_result(worker, beating_disc):
    worker.submit("test-copy", {}, beating_disc).result()
    job = worker.submit("test-copy", {"then": "die afterwards"}, beating_disc)
    dying = psutil.Process(worker.pid)
    assert wait_until(lambda: is_gone(dying)), "and nobody has polled"
    endings = [event for event in job if not isinstance(event, (Planned, FrameReady))]
    assert endings == [Finished()]
    assert np.array_equal(job.result().frames, beating_disc.frames)


def test_a_crash_fails_its_own_job_and_not_the_waiting_one(worker, beating_disc):
    crashes = worker.submit("test-copy", {"then": "abort", "after": 2}, beating_disc)
    waits = worker.submit("test-copy", {}, beating_disc)
    assert "signal 6" in ending(crashes).message
    assert ending(waits) == Finished()


@pytest.mark.parametrize(
    ("settings", "sentence"),
    [
        ({"then": "refuse", "after": 2}, "The frames are too dark."),
        ({"then": "raise", "after": 2}, "test-copy failed (ValueError: singular matrix)."),
        ({"then": "eat memory"}, "test-copy ran out of memory."),
        ({"after": "many"}, "test-copy: after='many' was given; expected a whole number"),
    ],
)
def test_what_goes_wrong_is_a_sentence_and_the_process_stays(worker, beating_disc, settings, sentence):
    worker.submit("test-copy", {}, beating_disc).result()
    pid = worker.pid
    failed = ending(worker.submit("test-copy", settings, beating_disc))
    assert failed.message.startswith(sentence)
    assert "Traceback" not in failed.message
    assert worker.pid == pid


def test_the_traceback_of_a_fault_goes_to_the_log(worker, beating_disc, caplog):
    with caplog.at_level(logging.ERROR):
        ending(worker.submit("test-copy", {"then": "raise"}, beating_disc))
    assert "Traceback" in caplog.text
    assert "singular matrix" in caplog.text


def test_an_unknown_method_is_named_when_the_result_is_asked_for(worker, beating_disc):
    with pytest.raises(STEnhanceError, match="There is no method 'sharpen'"):
        worker.submit("sharpen", {}, beating_disc).result()


def test_a_python_that_does_not_exist_is_a_sentence(beating_disc):
    with Worker(python="/no/such/python") as worker:
        failed = ending(worker.submit("linear", {}, beating_disc))
    assert "could not be started with '/no/such/python'" in failed.message


@pytest.fixture
def full_disk():
    """Limits the size of the files of a process to 100 kB: what then fails, fails as on a full disk."""
    if not hasattr(psutil.Process, "rlimit"):
        pytest.skip("no per-process file size limit on this system")
    limited = []

    def fill(pid: int) -> None:
        process = psutil.Process(pid)
        limited.append((process, process.rlimit(psutil.RLIMIT_FSIZE)))
        process.rlimit(psutil.RLIMIT_FSIZE, (100_000, limited[-1][1][1]))

    yield fill
    for process, limits in limited:
        process.rlimit(psutil.RLIMIT_FSIZE, limits)


def test_a_disk_too_full_for_the_result_is_a_sentence_and_not_a_bus_error(worker, beating_disc, full_disk):
    worker.submit("test-copy", {}, beating_disc).result()
    pid = worker.pid
    full_disk(pid)
    failed = ending(worker.submit("test-copy", {}, beating_disc))
    assert failed.message.startswith("No room for 0 MB of voxels in")
    assert worker.pid == pid


def test_a_disk_too_full_for_the_input_is_a_sentence(worker, beating_disc, full_disk):
    worker.start()
    full_disk(psutil.Process().pid)
    with pytest.raises(STEnhanceError, match=r"No room for .* set TMPDIR"):
        worker.submit("test-copy", {}, beating_disc)


def test_reserved_voxels_take_their_room_on_the_disk_at_once(worker):
    array = worker.allocate((4, 1, 256, 256), np.float32)
    assert Path(array.filename).stat().st_blocks * 512 >= array.nbytes


def test_polling_a_busy_worker_returns_at_once(worker, beating_disc, gate):
    job = worker.submit("test-copy", {"after": 1, "until": str(gate)}, beating_disc)
    wait_for_a_frame(job)
    seconds, frames = [], []
    for _ in range(100):
        start = time.perf_counter()
        frames += [event for event in job.poll() if isinstance(event, FrameReady)]
        seconds.append(time.perf_counter() - start)
    assert min(seconds) < 0.01, "it waits for nothing"
    assert frames == [] and not job.done, "there is none to wait for before the gate opens"
    gate.touch()
    assert ending(job) == Finished()


def test_a_torrent_of_log_lines_never_stops_the_worker(beating_disc, tmp_path):
    script = tmp_path / "talkative.py"
    script.write_text(
        f"import sys; sys.path.insert(0, {str(Path(__file__).parent)!r})\n"
        "import worker_of_test_jobs as w\n"
        "w.misbehave = lambda how: sys.stderr.write('x' * 99 + '\\n') or sys.stdout.write(('y' * 99 + '\\n') * 10000)\n"
        "w.worker.main(w.Path(sys.argv[1]))\n"
    )
    with Worker(script=(str(script),)) as worker:
        assert ending(worker.submit("test-copy", {}, beating_disc)) == Finished()


@pytest.mark.skipif(sys.version_info < (3, 11), reason="older Pythons always look there first")
def test_files_of_the_folder_in_which_slicer_was_started_are_no_libraries(tmp_path, monkeypatch):
    (tmp_path / "queue.py").write_text("raise SystemExit('a script of the user')")
    monkeypatch.chdir(tmp_path)
    sequence = ImageSequence(np.ones((2, 1, 4, 4), np.float32), np.eye(4), np.arange(2))
    with Worker() as worker:
        assert len(worker.submit("linear", {}, sequence).result()) == 3
