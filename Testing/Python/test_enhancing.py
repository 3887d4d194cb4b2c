"""From a sequence node through the worker to a sequence node: what is in the scene while a run is at work and after."""

from __future__ import annotations

import gc
import re
import time
from pathlib import Path

import numpy as np
import psutil
import pytest

pytest.importorskip("slicer", reason="slicer-core is not installed: no MRML scene to publish to")

from STEnhanceLib import headless, methods, scene
from STEnhanceLib.enhancing import SceneRun
from STEnhanceLib.errors import STEnhanceError
from STEnhanceLib.jobs import Worker
from STEnhanceLib.methods import run
from STEnhanceLib.sequence import ImageSequence

SCRIPT = (str(Path(__file__).with_name("worker_of_test_jobs.py")),)


@pytest.fixture(scope="module")
def worker():
    with Worker(script=SCRIPT) as warm:
        yield warm


@pytest.fixture
def input_node(beating_disc):
    headless.start()
    return scene.add_sequence(beating_disc)


def everything_in(node) -> tuple[str, bytes]:
    """All nodes of the scene as they would be saved, and the voxels of a sequence."""
    mrml = node.GetScene()
    mrml.SetSaveToXMLString(1)
    mrml.Commit()
    # A browser keeps the settings of a sequence that was removed from it; nothing refers to them.
    saved = re.sub(r'SynchronizationPropertiesMap[1-9]\d*="[^"]*"', "", mrml.GetSceneXMLString())
    return " ".join(saved.split()), scene.read_sequence(node).frames.tobytes()


def start_and_publish(worker, node, frames: int, gate: Path) -> SceneRun:
    """A run of which so many frames are in the scene, and whose next one does not come before the gate opens."""
    enhancing = SceneRun(worker, node, "test-copy", {"after": frames, "until": str(gate)}, name="result")
    while enhancing.finished_frames < frames:
        enhancing.poll()
        assert not enhancing.done, enhancing.error
        time.sleep(0.005)
    return enhancing


def poll_until_done(enhancing) -> None:
    while not enhancing.done:
        enhancing.poll()
        time.sleep(0.005)


def files_of(worker) -> list[Path]:
    gc.collect()
    return list(worker._folder.iterdir())


def test_what_comes_up_while_frames_are_computed_is_kept_with_the_result(worker, input_node):
    enhancing = SceneRun(worker, input_node, "test-copy", {"after": 3, "then": "note"}, name="result")
    node = enhancing.wait()
    assert enhancing.notes[-1] == "Memory was short."
    assert node.GetAttribute("STEnhance.Assumed").endswith(" Memory was short.")


def test_the_result_in_the_scene_is_what_the_method_gives(worker, input_node, beating_disc):
    method = methods.find_method("linear")
    parameters = methods.parse_parameters(method, {"factor": 2})
    given = scene.read_sequence(input_node)
    expected = run.enhance_all(method, given, parameters)
    before = given.frames.tobytes()
    enhancing = SceneRun(worker, input_node, "linear", {"factor": 2}, name="denser")
    node = enhancing.wait()
    result = scene.read_sequence(node)
    assert node.GetName() == "denser"
    assert np.array_equal(result.frames, expected.frames)
    assert np.allclose(result.ijk_to_ras, expected.ijk_to_ras, atol=1e-9)
    assert np.array_equal(result.times_ms, expected.times_ms)
    assert result.attributes["STEnhance.Method"] == "linear"
    assert result.attributes["STEnhance.Input"] == "beating disc"
    assert result.attributes["STEnhance.Generative"] == "no"
    assert result.attributes["STEnhance.GeneratedFrames"] == expected.attributes["STEnhance.GeneratedFrames"]
    assert "STEnhance.Generated" not in result.attributes
    assert result.attributes["STEnhance.Assumed"] == expected.attributes["STEnhance.Assumed"]
    assert scene.read_sequence(input_node).frames.tobytes() == before
    assert enhancing.count == enhancing.finished_frames == len(expected)
    assert files_of(worker) == []


def test_the_first_frame_is_in_the_scene_before_the_second_is_computed(worker, input_node, gate):
    enhancing = start_and_publish(worker, input_node, 1, gate)
    assert enhancing.result.GetNumberOfDataNodes() == 1
    assert enhancing.finished_frames == 1
    enhancing.cancel()
    poll_until_done(enhancing)


def test_a_worker_killed_in_the_middle_leaves_the_scene_as_before_and_the_next_run_works(worker, input_node, gate):
    before = everything_in(input_node)
    enhancing = start_and_publish(worker, input_node, 2, gate)
    psutil.Process(worker.pid).kill()
    poll_until_done(enhancing)
    assert "ended unexpectedly (killed" in enhancing.error
    assert enhancing.result is None
    assert everything_in(input_node) == before
    assert files_of(worker) == []
    node = SceneRun(worker, input_node, "test-copy", {}, name="again").wait()
    assert scene.read_sequence(node).frames.tobytes() == before[1]


@pytest.mark.parametrize("way", ["cancel", "abandon"])
def test_giving_up_leaves_the_scene_as_before(worker, input_node, gate, way):
    before = everything_in(input_node)
    enhancing = start_and_publish(worker, input_node, 2, gate)
    getattr(enhancing, way)()
    assert enhancing.done == (way == "abandon")
    poll_until_done(enhancing)
    assert enhancing.cancelled
    assert enhancing.error is None
    assert everything_in(input_node) == before


def test_cancelling_can_keep_the_finished_frames(worker, input_node, beating_disc, gate):
    enhancing = start_and_publish(worker, input_node, 2, gate)
    enhancing.cancel(keep_partial=True)
    poll_until_done(enhancing)
    kept = scene.read_sequence(enhancing.result)
    assert len(kept) == enhancing.finished_frames == 2
    assert np.array_equal(kept.frames, beating_disc.frames[:2])


def test_a_method_that_fails_on_a_later_frame_leaves_the_scene_as_before(worker, input_node):
    before = everything_in(input_node)
    with pytest.raises(STEnhanceError, match="The frames are too dark"):
        SceneRun(worker, input_node, "test-copy", {"then": "refuse", "after": 5}, name="result").wait()
    assert everything_in(input_node) == before


def test_an_input_removed_while_the_run_is_at_work_is_an_error_and_leaves_no_result(worker, input_node, gate):
    mrml = input_node.GetScene()
    enhancing = start_and_publish(worker, input_node, 1, gate)
    mrml.RemoveNode(input_node)
    gate.touch()
    poll_until_done(enhancing)
    assert "removed from the scene" in enhancing.error
    assert mrml.GetNumberOfNodesByClass("vtkMRMLSequenceNode") == 0
    assert files_of(worker) == []


def test_two_runs_at_once_are_both_published(worker, input_node, beating_disc):
    runs = [SceneRun(worker, input_node, "test-copy", {"seconds": 0.01}, name=name) for name in ("one", "two")]
    while not all(enhancing.done for enhancing in runs):
        for enhancing in runs:
            enhancing.poll()
        time.sleep(0.005)
    for enhancing in runs:
        assert np.array_equal(scene.read_sequence(enhancing.result).frames, beating_disc.frames)


def test_scene_to_worker_to_scene_costs_less_than_half_a_second(worker):
    headless.start()
    worker.start()
    frames = np.random.default_rng(0).random((20, 10, 256, 256), dtype=np.float32)
    node = scene.add_sequence(ImageSequence(frames, np.eye(4), 40.0 * np.arange(20)))

    def seconds() -> float:
        """Processor time of both sides; the clock would count other programs too. The benchmark has the clock's."""
        sides = [psutil.Process(), psutil.Process(worker.pid)]
        before = [side.cpu_times() for side in sides]
        enhancing = SceneRun(worker, node, "test-copy", {}, name="copy")
        enhancing.wait()
        enhancing.publication.cancel()
        after = [side.cpu_times() for side in sides]
        return sum(b.user + b.system - a.user - a.system for a, b in zip(before, after, strict=True))

    assert min(seconds() for _ in range(5)) < 0.5


def test_a_large_input_is_read_in_several_polls_and_arrives_whole(worker, one_step_per_poll):
    headless.start()
    frames = np.random.default_rng(0).random((12, 4, 256, 256), dtype=np.float32)
    node = scene.add_sequence(ImageSequence(frames, np.eye(4), 40.0 * np.arange(12)))
    enhancing = SceneRun(worker, node, "test-copy", {}, name="copy")
    polls = 0
    while enhancing._job is None:
        enhancing.poll()
        polls += 1
    assert polls == 12
    assert np.array_equal(scene.read_sequence(enhancing.wait()).frames, frames)


@pytest.mark.parametrize("end", ["cancel", "abandon"])
def test_a_run_that_ends_while_its_input_is_read_leaves_nothing(worker, input_node, end):
    before = everything_in(input_node)
    enhancing = SceneRun(worker, input_node, "test-copy", {}, name="result")
    assert files_of(worker) != []
    getattr(enhancing, end)()
    enhancing.poll()
    assert enhancing.done and enhancing.cancelled and enhancing.error is None
    del enhancing
    gc.collect()
    assert worker.idle and files_of(worker) == []
    assert everything_in(input_node) == before


def test_what_is_enhanced_is_the_input_as_it_was_when_the_run_began(worker, input_node, beating_disc):
    """While it is read, the browser plays and saves changes, a frame gets another image, and the node is renamed."""
    import slicer
    from vtkmodules.vtkCommonDataModel import vtkImageData

    _, browser = scene.find_sequence(input_node)
    browser.SetSaveChanges(input_node, True)
    enhancing = SceneRun(worker, input_node, "test-copy", {}, name="result")
    for number in range(8):
        browser.SetSelectedItemNumber(number)
        browser.GetProxyNode(input_node).GetImageData().GetScalarRange()
    other = vtkImageData()
    other.DeepCopy(input_node.GetNthDataNode(3).GetImageData())
    slicer.util.arrayFromVolume(input_node.GetNthDataNode(3))  # a look at it changes nothing
    input_node.GetNthDataNode(3).SetAndObserveImageData(other)
    slicer.util.arrayFromVolume(input_node.GetNthDataNode(3))[:] = 7
    input_node.SetName("renamed")
    result = scene.read_sequence(enhancing.wait())
    assert np.array_equal(result.frames, beating_disc.frames)
    assert result.attributes["STEnhance.Input"] == "beating disc"


def test_a_frame_that_is_changed_while_it_is_read_is_refused_in_one_sentence(worker, input_node):
    import slicer

    nodes = input_node.GetScene().GetNumberOfNodes()
    enhancing = SceneRun(worker, input_node, "test-copy", {}, name="result")
    slicer.util.arrayFromVolume(input_node.GetNthDataNode(3))[:] = 7
    slicer.util.arrayFromVolumeModified(input_node.GetNthDataNode(3))
    poll_until_done(enhancing)
    assert enhancing.error == (
        "Frame 4 of 'beating disc' was changed while the sequence was read; expected it to stay as it is. Run again."
    )
    gc.collect()
    assert input_node.GetScene().GetNumberOfNodes() == nodes and files_of(worker) == []
