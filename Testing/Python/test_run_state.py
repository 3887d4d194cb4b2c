"""Every state of a run with everything that can happen to it, and giving up at any moment of real runs."""

from __future__ import annotations

import gc
import time
from pathlib import Path

import numpy as np
import pytest

from STEnhanceLib.run_state import State, Step, after

READING, WAITING, COMPUTING, PUBLISHING, CANCELLING, DONE, CANCELLED, FAILED = State
NEVER = None  # a fault of ours, which must not pass for a run

#               READ        PLANNED     COMPUTED    PUBLISHED  CANCEL      STOPPED    FAIL
EXPECTED = {
    READING:    (WAITING,    NEVER,      NEVER,      NEVER,     CANCELLING, CANCELLED, FAILED),
    WAITING:    (NEVER,      COMPUTING,  NEVER,      NEVER,     CANCELLING, CANCELLED, FAILED),
    COMPUTING:  (NEVER,      NEVER,      PUBLISHING, NEVER,     CANCELLING, CANCELLED, FAILED),
    PUBLISHING: (NEVER,      NEVER,      NEVER,      DONE,      CANCELLING, CANCELLED, FAILED),
    CANCELLING: (CANCELLING, CANCELLING, CANCELLING, NEVER,     CANCELLING, CANCELLED, FAILED),
    DONE:       (DONE,) * 7,
    CANCELLED:  (CANCELLED,) * 7,
    FAILED:     (FAILED,) * 7,
}  # fmt: skip


@pytest.mark.parametrize("state", State)
@pytest.mark.parametrize("step", Step)
def test_every_pair_of_state_and_event(state, step):
    expected = EXPECTED[state][list(Step).index(step)]
    if expected is NEVER:
        with pytest.raises(RuntimeError, match="cannot go on with"):
            after(state, step)
    else:
        assert after(state, step) is expected


def test_from_every_state_the_user_can_get_out_in_two_steps():
    for state in State:
        assert after(after(state, Step.CANCEL), Step.STOPPED).ended


@pytest.fixture(scope="module")
def worker():
    pytest.importorskip("slicer", reason="slicer-core is not installed: no MRML scene to publish to")
    from STEnhanceLib.jobs import Worker

    with Worker(script=(str(Path(__file__).with_name("worker_of_test_jobs.py")),)) as warm:
        yield warm


@pytest.fixture
def input_node(beating_disc):
    from STEnhanceLib import headless, scene

    headless.start()
    return scene.add_sequence(beating_disc)


@pytest.fixture
def start(worker, input_node):
    from STEnhanceLib.enhancing import SceneRun

    def start(**settings):
        return SceneRun(worker, input_node, "test-copy", settings, name="result")

    return start


def state_of(node) -> tuple[int, bytes]:
    from STEnhanceLib import scene

    return node.GetScene().GetNumberOfNodes(), scene.read_sequence(node).frames.tobytes()


def poll_to(run, state: State) -> None:
    while run.state is not state:
        assert not run.done, run.error
        run.poll()
        time.sleep(0.002)


def seconds_to_end(run) -> float:
    start = time.monotonic()
    while not run.done and time.monotonic() - start < 20:
        run.poll()
        time.sleep(0.002)
    return time.monotonic() - start


def while_published(start, shown: int = 2):
    """A run whose worker has finished while so many of its frames are in the scene."""
    run = start()
    while not (run._job and run._job.done) and not run.done:
        if run._job is not None:
            run._job._worker._advance()  # as another run of this worker has it done
        else:
            run.poll()
        time.sleep(0.002)
    while run.finished_frames < shown:
        run.poll()
    return run


@pytest.mark.usefixtures("one_step_per_poll")
@pytest.mark.parametrize("state", [READING, WAITING, COMPUTING, PUBLISHING, CANCELLING])
@pytest.mark.parametrize("keep", [False, True])
def test_cancel_ends_a_run_in_every_state(start, input_node, gate, state, keep):
    before = state_of(input_node)
    if state is PUBLISHING:
        run = while_published(start)
        assert run.state is PUBLISHING
    else:
        run = start(after=2, until=str(gate))
        poll_to(run, COMPUTING if state is CANCELLING else state)
        if state is CANCELLING:
            run.cancel()
            assert run.state is CANCELLING
    shown = run.finished_frames
    run.cancel(keep)
    assert seconds_to_end(run) < 10  # a second, and what else a busy machine does meanwhile
    assert run.state is CANCELLED and run.cancelled and run.error is None
    if keep and shown:
        assert run.finished_frames == run.result.GetNumberOfDataNodes() == shown
    else:
        assert run.result is None and run.finished_frames == 0
        assert state_of(input_node) == before
    gate.touch()


@pytest.mark.usefixtures("one_step_per_poll")
@pytest.mark.parametrize("state", [READING, WAITING, COMPUTING, PUBLISHING])
def test_abandon_ends_a_run_in_every_state_at_once(start, input_node, gate, state):
    before = state_of(input_node)
    run = while_published(start) if state is PUBLISHING else start(after=2, until=str(gate))
    poll_to(run, state)
    run.abandon()
    assert run.state is CANCELLED
    assert state_of(input_node) == before


@pytest.mark.parametrize("state", [DONE, FAILED, CANCELLED])
def test_cancel_and_abandon_after_the_end_change_nothing(start, input_node, gate, state):
    run = start(**({"then": "refuse", "after": 1} if state is FAILED else {}))
    if state is CANCELLED:
        run.cancel()
    seconds_to_end(run)
    found = run.state, run.error, run.result, state_of(input_node)
    run.cancel(keep_partial=True)
    run.abandon()
    run.poll()
    assert (run.state, run.error, run.result, state_of(input_node)) == found
    assert run.state is state


def test_cancel_at_any_moment_ends_within_a_second_and_keeps_what_was_asked_for(start, input_node):
    before, random = state_of(input_node), np.random.default_rng(7)
    ended_as = set()
    for number in range(40):
        run = start(seconds=float(random.choice([0, 0.002])))
        moment = time.monotonic() + random.uniform(0, 0.12)
        while time.monotonic() < moment:
            run.poll()
            time.sleep(0.001)
        keep, shown = bool(number % 2), run.finished_frames
        run.cancel(keep)
        assert seconds_to_end(run) < 5
        ended_as.add(run.state)
        if run.state is CANCELLED and not (keep and shown):
            assert run.result is None
        else:
            assert run.finished_frames == run.result.GetNumberOfDataNodes() == (shown if run.cancelled else run.count)
        run.publication and run.publication.cancel()
        del run
        gc.collect()
        assert state_of(input_node) == before
    assert CANCELLED in ended_as


def test_a_finished_job_that_nobody_has_looked_at_can_still_be_given_up(worker, beating_disc):
    from STEnhanceLib.errors import STEnhanceError
    from STEnhanceLib.jobs import Cancelled

    job = worker.submit("test-copy", {}, beating_disc)
    while not job.done:
        worker._advance()
        time.sleep(0.002)
    job.cancel()
    assert [type(event) for event in job] == [Cancelled]
    with pytest.raises(STEnhanceError, match="cancelled"):
        job.result()
    gc.collect()
    assert not [path for path in worker._folder.iterdir() if path.name.startswith("result")]
