"""Results appear beside their input while they are computed, and go without a trace."""

from __future__ import annotations

import math
import time
from dataclasses import replace

import numpy as np
import pytest

from STEnhanceLib.errors import STEnhanceError
from STEnhanceLib.methods import SideMap
from STEnhanceLib.node_times import index_values
from STEnhanceLib.publication import Publication
from STEnhanceLib.scene import add_sequence, find_sequence, read_sequence, save_scene
from STEnhanceLib.sequence import ImageSequence


@pytest.fixture
def loaded(mrml_scene, beating_disc):
    """(sequence node, browser) as a DICOM import leaves them: the browser on item 3, changes saved to the sequence."""
    node = add_sequence(beating_disc)
    browser = find_sequence(node)[1]
    browser.SetSaveChanges(node, True)
    browser.SetSelectedItemNumber(3)
    return node, browser


def denser(grid, factor=2):
    times = np.linspace(grid.times_ms[0], grid.times_ms[-1], factor * (len(grid) - 1) + 1)
    return grid.at_times(times)


def publish(node, grid, name="result", **more):
    publication = Publication(node, grid, name, **more)
    for index in range(len(grid)):
        publication.add_frame(np.full(grid.shape, 10.0 * index, np.float32))
    publication.finish()
    return publication


def what_is_in(scene):
    """Every node with its references and attributes, and where the browsers stand."""
    state = {}
    for index in range(scene.GetNumberOfNodes()):
        node = scene.GetNthNode(index)
        roles = [node.GetNthNodeReferenceRole(n) for n in range(node.GetNumberOfNodeReferenceRoles())]
        references = {
            role: [node.GetNthNodeReferenceID(role, n) for n in range(node.GetNumberOfNodeReferences(role))]
            for role in roles
            if node.GetNumberOfNodeReferences(role)
        }
        state[node.GetID()] = (node.GetName(), references, {n: node.GetAttribute(n) for n in node.GetAttributeNames()})
        if node.IsA("vtkMRMLSequenceBrowserNode"):
            master = node.GetMasterSequenceNode()
            playing = node.GetPlaybackActive(), node.GetRecordingActive(), node.GetSaveChanges(master)
            state[node.GetID()] += (node.GetSelectedItemNumber(), master.GetID(), *playing)
    return state


def frames_in(node):
    images = [node.GetNthDataNode(n).GetImageData() for n in range(node.GetNumberOfDataNodes())]
    untouched = [(image.__this__, image.GetPointData().GetScalars().GetMTime()) for image in images]
    return index_values(node), read_sequence(node).frames.tobytes(), untouched


def shown(publication) -> float:
    from vtk.util import numpy_support

    return float(numpy_support.vtk_to_numpy(publication.proxy.GetImageData().GetPointData().GetScalars())[0])


def test_the_first_frame_is_on_the_screen_before_the_second_exists(loaded, beating_disc):
    publication = Publication(loaded[0], beating_disc.grid, "result")
    assert publication.sequence is None  # nothing to see, nothing in the scene
    for index in range(4):
        publication.add_frame(np.full(beating_disc.grid.shape, 10.0 * index, np.float32))
        assert len(publication) == index + 1
        assert shown(publication) == 10.0 * index  # the browser stands on item 3: the last finished one up to there
    publication.add_frame(np.full(beating_disc.grid.shape, 40.0, np.float32))
    assert shown(publication) == 30.0


def test_the_frame_may_be_reused_by_its_maker(loaded, beating_disc):
    frame = np.full(beating_disc.grid.shape, 7.0, np.float32)
    publication = Publication(loaded[0], beating_disc.grid, "result")
    publication.add_frame(frame)
    frame[:] = -1
    assert shown(publication) == 7.0
    assert (read_sequence(publication.sequence).frames == 7).all()


def test_a_result_comes_back_with_its_grid_times_and_provenance(loaded, beating_disc):
    finer = denser(beating_disc.grid.resampled((3, 80, 96), first_voxel=(-0.25, -0.25, 0)))
    publication = publish(loaded[0], finer, attributes={"STEnhance.Method": "zero-fill"})
    back = read_sequence(publication.sequence)
    assert np.abs(back.ijk_to_ras - finer.ijk_to_ras).max() <= 1e-9
    assert np.array_equal(back.times_ms, finer.times_ms)
    assert back.periodic
    assert back.attributes["STEnhance.Method"] == "zero-fill"
    assert np.array_equal(back.frames[:, 0, 0, 0], 10.0 * np.arange(15))


def test_each_frame_says_how_much_of_it_was_measured(loaded, beating_disc):
    grid = denser(beating_disc.grid)
    publication = Publication(loaded[0], grid, "result")
    unsupported = np.zeros(grid.shape)
    unsupported[0] = 0.75
    publication.add_frame(np.zeros(grid.shape, np.float32), unsupported)
    publication.add_frame(np.zeros(grid.shape, np.float32), math.nan)
    publication.add_frame(np.zeros(grid.shape, np.float32), 1.0)
    first, second, third = (publication.sequence.GetNthDataNode(n) for n in range(3))
    assert first.GetAttribute("STEnhance.Unsupported") == "0.25"
    assert first.GetAttribute("STEnhance.Generated") == "no"
    assert second.GetAttribute("STEnhance.Unsupported") is None  # nobody measured it
    assert second.GetAttribute("STEnhance.Generated") == "yes"
    assert third.GetAttribute("STEnhance.Generated") == "yes", "made anew, though there is a measured frame"


def test_a_generated_frame_says_what_made_it_and_how_far_off_measured_ones_lie(loaded, beating_disc):
    cycle = 400 / 24 * np.arange(24)
    grid = beating_disc.grid.at_times(cycle)
    publication = publish(loaded[0], grid, attributes={"STEnhance.Method": "motion"})
    frames = [publication.sequence.GetNthDataNode(n) for n in (0, 1, 22, 23)]
    distances = [frame.GetAttribute("STEnhance.MsToMeasured") for frame in frames]
    assert distances[0] is None
    # The last two lie between the last measured frame, at 350 ms, and the first of the next cycle, at 400 ms.
    assert [float(distance) for distance in distances[1:]] == pytest.approx([50 / 3, 50 / 3, 50 / 3], rel=1e-4)
    assert [frame.GetAttribute("STEnhance.GeneratedBy") for frame in frames] == [None, *["motion"] * 3]


def test_where_a_cycle_closes_the_first_frame_is_near_also_for_a_result_that_shows_a_part_of_it(loaded, beating_disc):
    part = replace(beating_disc.grid.at_times(np.array([300.0, 390.0])), periodic=False)
    publication = publish(loaded[0], part)
    frames = [publication.sequence.GetNthDataNode(n) for n in (0, 1)]
    assert [frame.GetAttribute("STEnhance.MsToMeasured") for frame in frames] == [None, "10"]


def test_browsing_a_denser_result_leaves_the_input_as_it_was(loaded, beating_disc):
    """A browser that saves changes would copy frames into the input."""
    node, browser = loaded
    before = frames_in(node)
    publication = publish(node, denser(beating_disc.grid))
    assert browser.GetMasterSequenceNode() is publication.sequence
    assert browser.GetSelectedItemNumber() == 6  # the moment of the input's item 3
    for item in range(browser.GetNumberOfItems()):
        browser.SetSelectedItemNumber(item)
        assert shown(publication) == 10.0 * item
    assert frames_in(node) == before
    assert browser.GetNumberOfItems() == 15


def test_a_result_that_is_not_denser_leaves_the_master_and_the_selection(loaded, beating_disc):
    node, browser = loaded
    publish(node, beating_disc.grid)
    assert browser.GetMasterSequenceNode() is node
    assert browser.GetSelectedItemNumber() == 3
    assert browser.GetSaveChanges(node)


def test_a_denser_result_of_half_the_cycle_does_not_hide_the_other_half(loaded, beating_disc):
    node, browser = loaded
    publish(node, beating_disc.grid.at_times(np.linspace(0, 200, 41)))
    assert browser.GetMasterSequenceNode() is node


def test_playing_goes_on_while_frames_arrive(loaded, beating_disc):
    node, browser = loaded
    browser.SetPlaybackActive(True)
    publish(node, denser(beating_disc.grid))
    assert browser.GetPlaybackActive()


def test_input_and_result_share_window_and_level_place_and_folder(loaded, mrml_scene, beating_disc):
    node, browser = loaded
    proxy = browser.GetProxyNode(node)
    transform = mrml_scene.AddNewNodeByClass("vtkMRMLLinearTransformNode")
    proxy.SetAndObserveTransformNodeID(transform.GetID())
    hierarchy = mrml_scene.GetSubjectHierarchyNode()
    folder = hierarchy.CreateFolderItem(hierarchy.GetSceneItemID(), "study")
    hierarchy.CreateItem(folder, proxy)
    publication = publish(node, beating_disc.grid)
    publication.proxy.GetDisplayNode().SetWindowLevel(123, 45)
    browser.SetSelectedItemNumber(5)
    assert proxy.GetDisplayNode().GetWindow() == 123
    assert publication.proxy.GetParentTransformNode() is transform
    assert hierarchy.GetItemParent(hierarchy.GetItemByDataNode(publication.proxy)) == folder
    assert publication.proxy.GetName() == "result"  # a proxy renamed at each frame takes over linked views


@pytest.mark.parametrize("frames", [1, 3, 15])
def test_cancel_leaves_the_scene_as_it_was(loaded, mrml_scene, beating_disc, frames):
    node, browser = loaded
    browser.SetPlaybackActive(True)
    before, frames_before = what_is_in(mrml_scene), frames_in(node)
    grid = denser(beating_disc.grid)
    publication = Publication(node, grid, "result")
    for _ in range(frames):
        publication.add_frame(np.ones(grid.shape, np.float32))
    if frames == len(grid):
        publication.finish()
    publication.cancel()
    assert what_is_in(mrml_scene) == before
    assert frames_in(node) == frames_before


def test_cancel_after_saving_removes_the_storage_nodes_too(loaded, mrml_scene, beating_disc, tmp_path):
    node, _ = loaded
    save_scene(tmp_path / "before.mrb")
    before = what_is_in(mrml_scene)
    publication = publish(node, beating_disc.grid)
    save_scene(tmp_path / "with result.mrb")
    publication.cancel()
    assert what_is_in(mrml_scene) == before


def test_an_input_without_a_browser_gets_one_and_loses_it_on_cancel(loaded, mrml_scene, beating_disc):
    node, browser = loaded
    browser.RemoveAllSequenceNodes()
    mrml_scene.RemoveNode(browser)
    before = what_is_in(mrml_scene)
    publication = publish(node, denser(beating_disc.grid))
    assert find_sequence(node)[1] is publication.browser
    publication.cancel()
    assert what_is_in(mrml_scene) == before


def test_cancel_may_keep_the_finished_frames(loaded, beating_disc):
    node, browser = loaded
    generated = {"STEnhance.GeneratedFrames": "7 of 15"}
    publication = Publication(node, denser(beating_disc.grid), "result", generated)
    for _ in range(9):
        publication.add_frame(np.ones(beating_disc.grid.shape, np.float32))
    publication.cancel(keep_partial=True)
    assert publication.sequence.GetAttribute("STEnhance.GeneratedFrames") == "4 of 9"
    assert publication.sequence.GetNumberOfDataNodes() == 9
    assert publication.sequence.GetAttribute("STEnhance.Partial") == "9 of 15 frames"
    assert browser.GetMasterSequenceNode() is node


def test_a_result_that_is_saved_while_it_is_computed_says_that_frames_are_missing(loaded, beating_disc, tmp_path):
    from STEnhanceLib import headless
    from STEnhanceLib.scene import load_scene

    publication = Publication(loaded[0], beating_disc.grid, "result")
    frame = np.zeros(beating_disc.grid.shape, np.float32)
    publication.add_frame(frame)
    later = headless.new_host()
    load_scene(save_scene(tmp_path / "too early.mrb"), later.scene)
    saved = later.scene.GetFirstNodeByName("result")
    assert saved.GetAttribute("STEnhance.Partial") == "saved before all 8 frames were computed"
    assert read_sequence(saved).attributes["STEnhance.Partial"] == saved.GetAttribute("STEnhance.Partial")
    for _ in range(len(beating_disc.grid) - 1):
        publication.add_frame(frame)
    publication.finish()
    assert publication.sequence.GetAttribute("STEnhance.Partial") is None


def test_two_results_of_one_input_come_and_go_apart(loaded, mrml_scene, beating_disc):
    node, browser = loaded
    before = what_is_in(mrml_scene)
    first = Publication(node, denser(beating_disc.grid), "result")
    second = Publication(node, denser(beating_disc.grid, 4), "result")
    for index in range(29):  # both at once
        if index < 15:
            first.add_frame(np.full(beating_disc.grid.shape, index, np.float32))
        second.add_frame(np.full(beating_disc.grid.shape, 100 + index, np.float32))
    first.finish()
    second.finish()
    assert first.sequence.GetName() != second.sequence.GetName()
    assert browser.GetMasterSequenceNode() is second.sequence
    first.cancel()
    assert browser.GetMasterSequenceNode() is second.sequence
    for item in range(29):
        browser.SetSelectedItemNumber(item)
    assert node.GetNumberOfDataNodes() == 8
    browser.SetSelectedItemNumber(12)
    second.cancel()
    assert what_is_in(mrml_scene) == before


def on_another_axis(node, values, unit):
    """The same frames under other index values."""
    other = node.GetScene().AddNewNodeByClass("vtkMRMLSequenceNode", "other axis")
    other.SetIndexUnit(unit)
    for index, value in enumerate(values):
        volume = node.GetNthDataNode(index)
        volume.RemoveAttribute("STEnhance.TimeMs")
        other.SetDataNodeAtValue(volume, value)
    return other


def test_an_axis_in_seconds_holds_frames_half_a_millisecond_apart(loaded, beating_disc):
    """Slicer merges index values within 0.001."""
    node = on_another_axis(loaded[0], [f"{0.05 * n:.3f}" for n in range(8)], "s")
    grid = beating_disc.grid.at_times(np.arange(0, 350.25, 0.5))
    publication = publish(node, grid)
    values = index_values(publication.sequence)
    assert len(values) == 701
    assert (values[0], values[1], values[100]) == (
        "0.000",
        "0.0005",
        "0.050",
    )  # the input's own texts where it has them
    assert np.array_equal(read_sequence(publication.sequence).times_ms, grid.times_ms)
    browser = publication.browser
    browser.SetSelectedItemNumber(299)
    assert shown(publication) == 2990.0
    assert browser.GetProxyNode(node).GetImageData() is not None


def test_an_axis_of_frame_numbers_gets_fractions_and_the_times_are_kept(loaded, beating_disc):
    node = on_another_axis(loaded[0], [str(n) for n in range(8)], "")
    times = read_sequence(node, frame_duration_ms=50.0).times_ms
    publication = publish(node, denser(beating_disc.grid), input_times_ms=times)
    assert index_values(publication.sequence)[:4] == ["0", "0.5", "1", "1.5"]
    assert publication.sequence.GetIndexUnit() == ""
    assert np.array_equal(read_sequence(publication.sequence).times_ms, denser(beating_disc.grid).times_ms)


def test_an_axis_of_text_takes_the_same_moments_but_no_new_ones(loaded, beating_disc):
    node = loaded[0].GetScene().AddNewNodeByClass("vtkMRMLSequenceNode", "phases")
    node.SetIndexType(node.TextIndex)
    for index, phase in enumerate("abcdefgh"):
        node.SetDataNodeAtValue(loaded[0].GetNthDataNode(index), phase)
    assert index_values(publish(node, beating_disc.grid).sequence) == list("abcdefgh")
    with pytest.raises(STEnhanceError, match="indexed by text"):
        Publication(node, denser(beating_disc.grid), "result")


def test_a_missing_or_misshapen_frame_is_refused(loaded, beating_disc):
    publication = Publication(loaded[0], beating_disc.grid, "result")
    with pytest.raises(STEnhanceError, match=r"expected 8 frames of \(3, 40, 48\)"):
        publication.add_frame(np.zeros((3, 40, 40), np.float32))
    publication.add_frame(np.zeros((3, 40, 48), np.float32))
    with pytest.raises(STEnhanceError, match="1 of 8 frames"):
        publication.finish()


@pytest.mark.parametrize("what", ["input", "result"])
def test_the_user_may_remove_nodes_while_the_result_is_computed(loaded, mrml_scene, beating_disc, what):
    node, _ = loaded
    publication = Publication(node, beating_disc.grid, "result")
    publication.add_frame(np.zeros(beating_disc.grid.shape, np.float32))
    result = publication.sequence
    mrml_scene.RemoveNode(node if what == "input" else result)
    with pytest.raises(STEnhanceError, match=f"The {what} was removed"):
        publication.add_frame(np.zeros(beating_disc.grid.shape, np.float32))
    publication.cancel()
    assert result.GetScene() is None
    assert mrml_scene.GetFirstNodeByName("result") is None


def test_a_volume_that_slicer_makes_anew_goes_with_the_result(loaded, mrml_scene, beating_disc):
    """What the user deletes in the module Data is the volume, and the browser shows the next frame in another one."""
    _, browser = loaded
    volumes = mrml_scene.GetNumberOfNodesByClass("vtkMRMLVolumeNode")
    spread = SideMap("spread", "spread")
    publication = Publication(loaded[0], beating_disc.grid, "result", maps=(spread,))
    frame = np.ones(beating_disc.grid.shape, np.float32)
    publication.add_frame(frame, maps={"spread": frame})
    deleted = [publication.proxy, browser.GetProxyNode(publication.maps[0])]
    for volume in deleted:
        mrml_scene.RemoveNode(volume)
    publication.add_frame(frame, maps={"spread": frame})
    assert browser.GetProxyNode(publication.sequence) not in [None, *deleted]
    publication.cancel()
    assert mrml_scene.GetNumberOfNodesByClass("vtkMRMLVolumeNode") == volumes


def test_the_scene_may_be_closed_while_the_result_is_computed(loaded, mrml_scene, beating_disc):
    publication = Publication(loaded[0], beating_disc.grid, "result")
    publication.add_frame(np.zeros(beating_disc.grid.shape, np.float32))
    mrml_scene.Clear(0)
    with pytest.raises(STEnhanceError, match="was removed"):
        publication.add_frame(np.zeros(beating_disc.grid.shape, np.float32))
    publication.cancel()


def test_publishing_does_not_hold_up_the_main_thread(mrml_scene):
    rng = np.random.default_rng(1)
    sequence = ImageSequence(rng.random((3, 10, 256, 256), np.float32), np.eye(4), np.arange(3) * 40.0)
    publication = Publication(add_sequence(sequence), sequence.grid.at_times(np.arange(9) * 10.0), "result")
    seconds = []
    for _ in range(9):
        frame = rng.random((10, 256, 256), np.float32)
        start = time.thread_time()  # not the time for which other programs had the processor
        publication.add_frame(frame)
        seconds.append(time.thread_time() - start)
    assert min(seconds) < 0.03  # one refresh of a screen; measured: 2 ms


def test_a_frame_that_is_not_on_screen_makes_nobody_paint(loaded, beating_disc):
    """At an event of a sequence its browser updates all volumes, and Slicer's views paint them at once."""
    node, browser = loaded
    browser.SetSelectedItemNumber(3)
    publication = Publication(node, beating_disc.grid, "result")
    publication.add_frame(beating_disc.frames[0])
    heard = []
    for watched in (browser, publication.sequence):
        watched.AddObserver("AnyEvent", lambda _node, event: heard.append(event))
    counts = []
    for frame in beating_disc.frames[1:]:
        publication.add_frame(frame)
        counts.append(len(heard))
    assert 0 < counts[0] < counts[1] < counts[2], "each is on screen until the next one comes"
    assert counts[3:] == [counts[2]] * 4
    assert shown(publication) == beating_disc.frames[3].flat[0]
    publication.finish()
    assert len(heard) > counts[-1], "those who list the frames hear of the others"
    assert publication.sequence.GetModifiedEventPending() == 0
