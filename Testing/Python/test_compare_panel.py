"""The views of the section "Compare" on the smoke host: real nodes, logics and pixels, as a user clicks through it."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
from comparing import AFTER, BEFORE, compare, composite, settle, slice_node

pytest.importorskip("PySide6")
pytest.importorskip("slicer")

from STEnhanceLib.comparison import pane_pixels
from STEnhanceLib.publication import Publication
from STEnhanceLib.scene import add_sequence, read_sequence

PICTURES = Path(__file__).parents[1] / "output"


def snapshot() -> dict:
    """All nodes of the scene with what views and browsers make of them, but for our own views, which Slicer keeps."""
    import slicer

    def own_view(node) -> bool:
        tag = node.GetSingletonTag() or ""
        name = node.GetName() or ""
        # Slicer brings a blue-red table; outside of it one is made once and kept. Slice views make "Slice …" nodes.
        return tag.startswith("STEnhance") or name.startswith("Slice ") or name == "Difference blue-red"

    scene = slicer.mrmlScene
    nodes = [scene.GetNthNode(n) for n in range(scene.GetNumberOfNodes())]
    nodes = [node for node in nodes if not own_view(node)]
    kept = {"nodes": sorted(node.GetID() for node in nodes)}
    for node in nodes:
        if node.IsA("vtkMRMLSliceCompositeNode"):
            kept[node.GetID()] = (
                node.GetBackgroundVolumeID(),
                node.GetForegroundVolumeID(),
                node.GetForegroundOpacity(),
                node.GetLinkedControl(),
                node.GetHotLinkedControl(),
                node.GetCompositing(),
            )
        elif node.IsA("vtkMRMLSliceNode"):
            matrix = slicer.util.arrayFromVTKMatrix(node.GetSliceToRAS()).round(6).tolist()
            kept[node.GetID()] = (matrix, node.GetLayoutLabel(), tuple(np.round(node.GetFieldOfView(), 6)))
        elif node.IsA("vtkMRMLSequenceBrowserNode"):
            kept[node.GetID()] = (node.GetSelectedItemNumber(), node.GetMasterSequenceNode().GetID())
    layout = scene.GetFirstNodeByClass("vtkMRMLLayoutNode")
    kept["layout"] = (layout.GetViewArrangement(), layout.GetNumberOfMaximizedViewNodes())
    return kept


def test_a_finished_run_is_one_click_from_its_comparison(host, panel, run):
    import slicer

    browser, before, after = run
    assert panel.ui.compareButton.enabled
    assert not panel.ui.metricsButton.enabled  # no reference
    assert panel.ui.legendLabel.isHidden(), "nothing is shown yet that it could name"
    compare(host, panel)
    assert slicer.app.layoutManager().layout > 500
    assert composite(BEFORE).GetBackgroundVolumeID() == browser.GetProxyNode(before).GetID()
    assert composite(AFTER).GetBackgroundVolumeID() == browser.GetProxyNode(after).GetID()
    assert browser.GetProxyNode(before).GetDisplayNode() is browser.GetProxyNode(after).GetDisplayNode()
    assert slice_node(BEFORE).GetLayoutLabel() == "B"
    assert "cine (enhanced)" in panel.ui.legendLabel.text


def test_each_pane_keeps_its_own_sequence_while_the_browser_plays_and_selectors_refresh(host, panel, run):
    """A slice controller selects its volume anew and links hand that on: as a real one does, so does this test."""
    browser, before, after = run
    compare(host, panel)
    start = browser.GetSelectedItemNumber()
    for _ in range(2 * browser.GetNumberOfItems()):
        browser.SelectNextItem()
        for view, sequence in ((BEFORE, before), (AFTER, after)):
            shown, proxy = composite(view), browser.GetProxyNode(sequence)
            shown.SetInteractionFlags(shown.BackgroundVolumeFlag)
            shown.InteractingOn()
            shown.SetBackgroundVolumeID(proxy.GetID())
            shown.Modified()
            shown.InteractingOff()
            assert composite(BEFORE).GetBackgroundVolumeID() == browser.GetProxyNode(before).GetID()
            assert composite(AFTER).GetBackgroundVolumeID() == browser.GetProxyNode(after).GetID()
    assert browser.GetSelectedItemNumber() == start


def test_panes_show_one_place_at_one_scale_and_follow_each_other(host, panel):
    import slicer

    compare(host, panel)
    left, right = slice_node(BEFORE), slice_node(AFTER)
    assert left.GetFieldOfView() == pytest.approx(right.GetFieldOfView())
    logic = slicer.app.layoutManager().sliceWidget(BEFORE).sliceLogic()
    logic.StartSliceNodeInteraction(left.SliceToRASFlag | left.FieldOfViewFlag)
    logic.SetSliceOffset(logic.GetSliceOffset() + 8)
    left.SetFieldOfView(30, 30, 1)
    logic.EndSliceNodeInteraction()
    assert right.GetSliceOffset() == pytest.approx(left.GetSliceOffset())
    assert right.GetFieldOfView()[0] == pytest.approx(30)


def test_the_slice_that_is_looked_at_stays_when_the_view_changes(host, panel):
    import slicer

    compare(host, panel)
    logic = slicer.app.layoutManager().sliceWidget(BEFORE).sliceLogic()
    middle = logic.GetSliceOffset()
    logic.SetSliceOffset(middle + 8)
    panel.ui.modeSelector.currentIndex = 3
    settle(host, panel)
    panel.ui.modeSelector.currentIndex = 0
    settle(host, panel)
    assert logic.GetSliceOffset() == pytest.approx(middle + 8)
    assert slice_node(AFTER).GetSliceOffset() == pytest.approx(middle + 8)


@pytest.mark.parametrize("ending", ["button", "exit", "other sequence removed"])
def test_the_users_views_come_back_and_nothing_stays(host, panel, run, reference, ending):
    import slicer

    manager = slicer.app.layoutManager()
    manager.setLayout(slicer.vtkMRMLLayoutNode.SlicerLayoutOneUpRedSliceView)
    red = manager.sliceWidget("Red")
    red.mrmlSliceCompositeNode().SetBackgroundVolumeID(run[0].GetProxyNode(run[1]).GetID())
    red.mrmlSliceCompositeNode().SetForegroundOpacity(0.3)
    manager.layoutLogic().GetLayoutNode().AddMaximizedViewNode(red.mrmlSliceNode())
    host.wait(0.05)
    user = snapshot()
    panel.ui.referenceSelector.setCurrentNode(reference)
    panel.ui.referenceCheckBox.checked = panel.ui.differenceCheckBox.checked = True
    compare(host, panel)
    panel.ui.profileButton.click()
    for mode in (1, 2, 3):
        panel.ui.modeSelector.currentIndex = mode
        settle(host, panel)
    assert snapshot()["nodes"] != user["nodes"]
    if ending == "button":
        panel.ui.compareButton.click()
        panel.ui.profileButton.click()
    elif ending == "exit":
        panel.exit()
    else:
        panel.ui.afterSelector.setCurrentNode(None)
    host.wait(0.05)
    assert snapshot() == user
    assert not panel.ui.compareButton.checked
    assert all(composite(view).GetBackgroundVolumeID() is None for view in (BEFORE, AFTER))


def test_closing_the_scene_while_comparing_leaves_the_users_layout(host, panel, run):
    import slicer

    layout = slicer.app.layoutManager().layout
    panel.ui.modeSelector.currentIndex = 2
    panel.ui.differenceCheckBox.checked = True
    panel.ui.compareButton.click()  # the difference is at work
    host.wait(0.02)
    slicer.mrmlScene.AddObserver(slicer.mrmlScene.StartCloseEvent, lambda *_: panel.on_scene_start_close())
    slicer.mrmlScene.Clear(0)
    host.wait(0.3)  # a timer that still ran would fail here
    assert slicer.app.layoutManager().layout == layout
    assert not panel.busy
    assert slicer.mrmlScene.GetNumberOfNodesByClass("vtkMRMLScalarVolumeNode") == 0


def test_another_layout_chosen_by_the_user_ends_the_comparison_and_stays(host, panel):
    import slicer

    compare(host, panel)
    slicer.app.layoutManager().setLayout(slicer.vtkMRMLLayoutNode.SlicerLayoutOneUpGreenSliceView)
    host.wait(0.05)
    assert slicer.app.layoutManager().layout == slicer.vtkMRMLLayoutNode.SlicerLayoutOneUpGreenSliceView
    assert not panel.ui.compareButton.checked


def test_a_scene_saved_while_comparing_opens_in_the_layout_that_is_there(host, panel, tmp_path):
    """Slicer saves the number of a layout, not what it looks like; with ours a scene would open without views."""
    import slicer

    def saved() -> str:
        slicer.mrmlScene.SetURL(str(tmp_path / "scene.mrml"))
        slicer.mrmlScene.Commit()
        return (tmp_path / "scene.mrml").read_text()

    panel.ui.modeSelector.currentIndex = 1
    compare(host, panel)
    text = saved()
    assert "<Layout" not in text
    assert BEFORE not in text
    assert "wipe" not in text
    panel.ui.compareButton.click()
    assert "<Layout" in saved()


def bright(pixels) -> np.ndarray:
    return pixels[..., 0].astype(float)


def test_a_wipe_shows_the_result_left_of_its_line_and_the_input_right_while_playing(host, panel, run):
    browser, _before, after = run
    compare(host, panel)
    node = slice_node(BEFORE)
    panel.ui.modeSelector.currentIndex = 1
    settle(host, panel)
    panel.ui.amountSlider.value = 50
    background, foreground = composite(BEFORE).GetBackgroundVolumeID(), composite(BEFORE).GetForegroundVolumeID()
    for _ in range(3):
        browser.SelectNextItem()
        wiped = bright(pane_pixels(node))
        composite(BEFORE).SetForegroundVolumeID(None)
        only_before = bright(pane_pixels(node))
        composite(BEFORE).SetBackgroundVolumeID(browser.GetProxyNode(after).GetID())
        only_after = bright(pane_pixels(node))
        composite(BEFORE).SetBackgroundVolumeID(background)
        composite(BEFORE).SetForegroundVolumeID(foreground)
        rows, columns = (np.flatnonzero(only_after.max(axis=axis))[3:-3] for axis in (1, 0))
        middle, margin = columns.mean(), 0.05 * np.ptp(columns)
        left = np.ix_(rows, columns[columns < middle - margin])
        right = np.ix_(rows, columns[columns > middle + margin])
        assert np.array_equal(wiped[left], only_after[left])
        assert np.array_equal(wiped[right], only_before[right])
        assert np.abs(only_after - only_before)[left].max() > 20  # else this would show nothing
        assert np.abs(only_after - only_before)[right].max() > 20
    panel.ui.amountSlider.value = 0
    assert np.array_equal(bright(pane_pixels(node)), only_before)


def test_a_wipe_keeps_up_with_playing(host, panel, coarse):
    """One update on 10 slices of 256 × 256 takes a fraction of a frame at 25 per second."""
    import time

    import slicer

    from STEnhanceLib.panels.wipe import Wipe

    volume = slicer.util.addVolumeFromArray(np.random.default_rng(0).random((10, 256, 256), np.float32))
    volume.CreateDefaultDisplayNodes()
    wipe = Wipe(volume, slice_node("Red"))
    seconds = []
    for _ in range(5):
        start = time.thread_time()  # not the time for which other programs had the processor
        volume.Modified()
        wipe.position = 0.4
        seconds.append(time.thread_time() - start)
    wipe.remove()
    assert min(seconds) < 0.04


def test_flicker_alternates_and_fade_blends(host, panel):
    panel.ui.modeSelector.currentIndex = 2
    panel.ui.amountSlider.value = 100  # 5 Hz
    compare(host, panel)
    for opacity in (0.0, 1.0, 0.0, 1.0):
        host.wait_until(lambda opacity=opacity: composite(BEFORE).GetForegroundOpacity() == opacity)
    assert panel.views._flicker.interval == 200, "ms"
    panel.ui.amountSlider.value = 0
    assert panel.views._flicker.interval == 1000, "ms"
    panel.ui.modeSelector.currentIndex = 3
    panel.ui.amountSlider.value = 25
    settle(host, panel)
    assert composite(BEFORE).GetForegroundOpacity() == pytest.approx(0.25)
    node = slice_node(BEFORE)
    images = []
    for opacity in (0.0, 0.5, 1.0):
        panel.ui.amountSlider.value = 100 * opacity
        images.append(bright(pane_pixels(node)))
    inside = (images[0] > 0) & (images[2] > 0)
    assert np.abs(images[0] - images[2])[inside].max() > 20
    assert np.abs(images[1] - (images[0] + images[2]) / 2)[inside].max() <= 3


def test_input_frames_and_the_playing_browser_are_untouched(host, panel, run, coarse, reference):
    browser, before, _after = run
    browser.SetSelectedItemNumber(3)
    panel.ui.referenceSelector.setCurrentNode(reference)
    panel.ui.referenceCheckBox.checked = panel.ui.differenceCheckBox.checked = True
    compare(host, panel)
    assert browser.GetSelectedItemNumber() == 3
    browser.SetPlaybackActive(True)
    panel.ui.modeSelector.currentIndex = 1
    settle(host, panel)
    panel.ui.compareButton.click()
    assert browser.GetPlaybackActive()
    browser.SetPlaybackActive(False)
    kept = read_sequence(before)
    assert np.array_equal(kept.frames, coarse.frames)
    assert np.array_equal(kept.times_ms, coarse.times_ms)


def test_the_comparison_reads_well(host, panel):
    """Pictures of the views and of the section, with a beating heart, for whoever looks at the tests' output."""
    import slicer

    from STEnhanceLib.acquisition.simulate import simulate
    from STEnhanceLib.methods import find_method, parse_parameters
    from STEnhanceLib.methods.run import enhance
    from STEnhanceLib.phantoms.thorax import Thorax

    truth = Thorax(breathing_mm=0).cine(frames=6, matrix=128, slices=1, field_of_view_mm=200)
    low = replace(simulate(truth, "s2").sequence, name="cine at half resolution")
    method = find_method("b-spline")
    enhancement = enhance(method, low, parse_parameters(method, {}))
    node = add_sequence(low, slicer.mrmlScene)
    publication = Publication(node, enhancement.grid, "cine (cubic B-spline)")
    for frame in enhancement.frames:
        publication.add_frame(frame.voxels)
    publication.finish()
    panel.set_run(node, publication.sequence)
    panel.ui.referenceSelector.setCurrentNode(add_sequence(replace(truth, name="truth"), slicer.mrmlScene))
    panel.ui.referenceCheckBox.checked = panel.ui.differenceCheckBox.checked = True
    host.show_views(900, 720)
    compare(host, panel)
    host.grab_slice_views(PICTURES / "compare.png", 900, 720)
    panel.ui.profileButton.click()
    panel.ui.metricsButton.click()
    settle(host, panel)
    assert "Scored 6 of the 6" in panel.ui.compareStatusLabel.text
    panel.ui.referenceCheckBox.checked = panel.ui.differenceCheckBox.checked = False
    panel.ui.modeSelector.currentIndex = 1
    settle(host, panel)
    assert "left of the line" in panel.ui.legendLabel.text
    assert host.grab(panel.widget, PICTURES / "compare_panel.png").stat().st_size > 5000
    host.grab_slice_views(PICTURES / "compare_wipe.png", 900, 720)
