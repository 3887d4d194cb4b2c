"""The section "Compare" on the smoke host: real nodes, logics and pixels of views, as a user clicks through it."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest

pytest.importorskip("PySide6")
pytest.importorskip("slicer")

from STEnhanceLib.comparison import pane_pixels
from STEnhanceLib.evaluation.alignment import interpolated
from STEnhanceLib.evaluation.comparison import Comparison
from STEnhanceLib.publication import Publication
from STEnhanceLib.scene import add_sequence, find_sequence, read_sequence
from STEnhanceLib.sequence import ImageSequence

PICTURE = Path(__file__).parents[1] / "output" / "compare.png"
BEFORE, AFTER, REFERENCE, DIFFERENCE = ("STEnhance" + n for n in ("Before", "After", "Reference", "Difference"))


@pytest.fixture
def coarse(beating_disc) -> ImageSequence:
    """Every second frame and every second sample in plane of the disc."""
    grid = beating_disc.grid.resampled((3, 20, 24))
    return ImageSequence(
        beating_disc.frames[::2, :, ::2, ::2].copy(), grid.ijk_to_ras, beating_disc.times_ms[::2], True, "cine"
    )


@pytest.fixture
def run(host, coarse, beating_disc):
    """Input and a brighter, twice finer result in one browser, as after a run: (browser, input, result)."""
    import slicer

    node = add_sequence(coarse, slicer.mrmlScene)
    brighter = beating_disc.frames * np.float32(1.1)
    publication = Publication(node, beating_disc.grid, "cine (enhanced)")
    for frame in brighter:
        publication.add_frame(frame)
    publication.finish()
    return publication.browser, node, publication.sequence


@pytest.fixture
def reference(run, beating_disc):
    """The truth, loaded on its own: in another browser, with an index in seconds."""
    import slicer

    return add_sequence(replace(beating_disc, name="truth"), slicer.mrmlScene)


@pytest.fixture
def panel(host, run):
    import qt

    from STEnhanceLib.panels.compare_panel import ComparePanel

    frame = qt.QWidget()
    made = ComparePanel(qt.QVBoxLayout(frame))
    made.set_run(*run[1:])
    host.show_views()
    yield made
    made.cleanup()
    host.wait(0)
    frame.deleteLater()


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


def compare(host, panel) -> None:
    panel.ui.compareButton.click()
    settle(host, panel)


def settle(host, panel) -> None:
    host.wait_until(lambda: not panel.busy)
    host.wait(0.1)  # the views get their size, then they are fitted


def composite(view: str):
    import slicer

    return slicer.app.layoutManager().sliceWidget(view).mrmlSliceCompositeNode()


def slice_node(view: str):
    import slicer

    return slicer.mrmlScene.GetSingletonNode(view, "vtkMRMLSliceNode")


def test_a_finished_run_is_one_click_from_its_comparison(host, panel, run):
    import slicer

    browser, before, after = run
    assert panel.ui.compareButton.enabled
    assert not panel.ui.metricsButton.enabled  # no reference
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


@pytest.mark.parametrize("ending", ["button", "exit", "other sequence removed"])
def test_the_users_views_come_back_and_nothing_stays(host, panel, run, reference, ending):
    import slicer

    manager = slicer.app.layoutManager()
    manager.setLayout(slicer.vtkMRMLLayoutNode.SlicerLayoutOneUpRedSliceView)
    red = manager.sliceWidget("Red")
    red.mrmlSliceCompositeNode().SetBackgroundVolumeID(run[0].GetProxyNode(run[1]).GetID())
    red.mrmlSliceCompositeNode().SetForegroundOpacity(0.3)
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
        start = time.perf_counter()
        volume.Modified()
        wipe.position = 0.4
        seconds.append(time.perf_counter() - start)
    wipe.remove()
    assert min(seconds) < 0.04


def test_flicker_alternates_and_fade_blends(host, panel):
    panel.ui.modeSelector.currentIndex = 2
    panel.ui.amountSlider.value = 100  # 5 Hz
    compare(host, panel)
    seen = []
    for _ in range(60):
        host.wait(0.01)
        seen.append(composite(BEFORE).GetForegroundOpacity())
    assert set(seen) == {0.0, 1.0}
    assert 2 <= np.count_nonzero(np.diff(seen)) <= 4
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


def test_a_difference_to_the_input_is_taken_on_the_grid_and_at_the_times_of_the_result(host, panel, run, coarse):
    browser, _before, after = run
    panel.ui.differenceCheckBox.checked = True
    compare(host, panel)
    volume = browser.GetScene().GetNodeByID(composite(DIFFERENCE).GetBackgroundVolumeID())
    difference = read_sequence(browser.GetSequenceNode(volume))
    result = read_sequence(after)
    assert np.allclose(difference.frames, result.frames - interpolated(coarse, result.grid), atol=1e-4)
    assert volume.GetDisplayNode().GetLevel() == 0
    assert browser.GetMasterSequenceNode() is after
    panel.ui.differenceCheckBox.checked = False
    settle(host, panel)
    assert browser.GetScene().GetFirstNodeByName(difference.name) is None


def test_a_reference_from_elsewhere_is_played_in_step_and_gives_the_difference(
    host, panel, run, reference, beating_disc
):
    browser, _before, after = run
    panel.ui.referenceSelector.setCurrentNode(reference)
    panel.ui.referenceCheckBox.checked = panel.ui.differenceCheckBox.checked = True
    compare(host, panel)
    scene = browser.GetScene()
    shown = scene.GetNodeByID(composite(REFERENCE).GetBackgroundVolumeID())
    difference = scene.GetNodeByID(composite(DIFFERENCE).GetBackgroundVolumeID())
    import slicer

    for item in (3, 0, 6):
        browser.SetSelectedItemNumber(item)
        assert np.array_equal(slicer.util.arrayFromVolume(shown), beating_disc.frames[item])
        expected = np.float32(0.1) * beating_disc.frames[item]
        assert np.allclose(slicer.util.arrayFromVolume(difference), expected, atol=1e-3)
    assert shown.GetDisplayNode() is browser.GetProxyNode(after).GetDisplayNode()
    assert find_sequence(reference)[1] is not browser
    brighter = pane_pixels(slice_node(DIFFERENCE)).astype(int)
    assert (brighter[..., 0] - brighter[..., 2]).max() > 60  # red: brighter than the truth
    host.grab_slice_views(PICTURE)


def test_metrics_are_those_of_the_benchmark_and_the_plot_shows_every_frame(host, panel, run, reference, coarse):
    import slicer

    panel.ui.referenceSelector.setCurrentNode(reference)
    compare(host, panel)
    panel.ui.metricsButton.click()
    settle(host, panel)
    result, truth = read_sequence(run[2]), read_sequence(reference)
    baseline, scores = Comparison("", coarse, [result], truth).scores
    chart = slicer.util.getNodesByClass("vtkMRMLPlotChartNode")[0]
    frames = chart.GetNthPlotSeriesNode(0).GetTableNode()
    for n, (name, of) in enumerate((("Before (interpolated)", baseline), ("After", scores))):
        series = chart.GetNthPlotSeriesNode(n)
        assert series.GetXColumnName() == "Time (ms)"
        assert series.GetYColumnName() == f"PSNR (dB), {name}"
        assert np.allclose(slicer.util.arrayFromTableColumn(frames, series.GetYColumnName()), of.whole.psnr)
        assert np.allclose(slicer.util.arrayFromTableColumn(frames, f"SSIM, {name}"), of.whole.ssim)
    times = slicer.util.arrayFromTableColumn(frames, "Time (ms)")
    assert np.allclose(times, truth.times_ms[scores.frames])
    summary = slicer.mrmlScene.GetFirstNodeByName("cine (enhanced): metrics")
    for column, metric in (("PSNR (dB)", "psnr"), ("SSIM", "ssim"), ("NRMSE", "nrmse"), ("MAE", "mae")):
        expected = [baseline.whole.means()[metric], scores.whole.means()[metric]]
        assert np.allclose(slicer.util.arrayFromTableColumn(summary, column), expected)
    assert summary.GetCellText(0, 0) == "Before (interpolated)"
    assert f"{scores.whole.means()['psnr']:.2f}" in panel.ui.metricsLabel.text
    view = slicer.mrmlScene.GetSingletonNode("STEnhancePlot", "vtkMRMLPlotViewNode")
    assert view.GetPlotChartNode() is chart
    panel.ui.metricsButton.click()  # once more: in place of the first ones
    settle(host, panel)
    assert slicer.mrmlScene.GetNumberOfNodesByClass("vtkMRMLPlotChartNode") == 1
    assert slicer.mrmlScene.GetNumberOfNodesByClass("vtkMRMLTableNode") == 2


def test_what_cannot_be_scored_is_said_in_the_panel(host, panel, run, coarse):
    import slicer

    other = replace(coarse, name="too coarse")
    panel.ui.referenceSelector.setCurrentNode(add_sequence(other, slicer.mrmlScene))
    panel.ui.metricsButton.click()
    settle(host, panel)
    assert "expected the same" in panel.ui.compareStatusLabel.text
    assert slicer.mrmlScene.GetNumberOfNodesByClass("vtkMRMLTableNode") == 0


def test_a_report_is_written_beside_the_running_application(host, panel, run, tmp_path, monkeypatch):
    import qt

    monkeypatch.setattr(qt.QFileDialog, "getExistingDirectory", lambda *_: str(tmp_path))
    panel.ui.reportButton.click()
    settle(host, panel)
    page = (tmp_path / "index.html").read_text(encoding="utf-8")
    assert "cine (enhanced)" in page
    assert "index.html" in panel.ui.compareStatusLabel.text


def test_profiles_along_the_line_equal_direct_samples_and_follow_it(host, panel, run, reference, beating_disc):
    import slicer

    from STEnhanceLib.panels import time_profile

    panel.ui.referenceSelector.setCurrentNode(reference)
    panel.ui.profileButton.click()
    host.wait(0.1)
    first = panel.ui.profileLabel.text
    assert first.count("<img") == 3
    line = slicer.util.getNodesByClass("vtkMRMLMarkupsLineNode")[0]
    matrix = beating_disc.ijk_to_ras
    start, end = (matrix @ (i, 19, 1, 1) for i in (2, 47))
    line.SetNthControlPointPositionWorld(0, *start[:3])
    line.SetNthControlPointPositionWorld(1, *end[:3])
    sampled = time_profile.sample(run[2], np.array([start[:3], end[:3]]), points=46)
    assert np.allclose(sampled, 1.1 * beating_disc.frames[:, 1, 19, 2:].T, atol=1e-3)
    host.wait(0.1)
    assert panel.ui.profileLabel.text != first
    pictures = [Path(part.split('"')[0]) for part in panel.ui.profileLabel.text.split('<img src="')[1:]]
    import SimpleITK

    truth = SimpleITK.GetArrayFromImage(SimpleITK.ReadImage(str(pictures[2])))
    assert truth.shape == (time_profile.POINTS, time_profile.PICTURE_WIDTH)
    assert len(np.unique(truth[:, :50], axis=1).T) == 1  # each of the eight frames fills its 52 columns
    assert np.abs(truth[:, 0].astype(int) - truth[:, 210]).max() > 50  # the disc has shrunk
    panel.ui.drawLineButton.click()
    interaction = slicer.app.applicationLogic().GetInteractionNode()
    assert interaction.GetCurrentInteractionMode() == interaction.Place
    assert slicer.app.applicationLogic().GetSelectionNode().GetActivePlaceNodeID() == line.GetID()
    panel.ui.profileButton.click()
    assert interaction.GetCurrentInteractionMode() == interaction.ViewTransform
    assert not slicer.util.getNodesByClass("vtkMRMLMarkupsLineNode")
    assert not pictures[0].exists()


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


def test_the_panel_reads_well(host, panel, run, reference):
    panel.ui.referenceSelector.setCurrentNode(reference)
    panel.ui.modeSelector.currentIndex = 1
    panel.ui.differenceCheckBox.checked = True
    compare(host, panel)
    panel.ui.profileButton.click()
    panel.ui.metricsButton.click()
    settle(host, panel)
    assert host.grab(panel.widget, PICTURE.with_name("compare_panel.png")).stat().st_size > 5000
    host.grab_slice_views(PICTURE.with_name("compare_wipe.png"))
