"""What the section "Compare" computes, on the smoke host: differences, metrics, profiles and the report."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
from comparing import DIFFERENCE, REFERENCE, compare, composite, settle, slice_node

pytest.importorskip("PySide6")
pytest.importorskip("slicer")

from STEnhanceLib.comparison import pane_pixels
from STEnhanceLib.evaluation.alignment import interpolated
from STEnhanceLib.evaluation.comparison import Comparison
from STEnhanceLib.publication import Publication
from STEnhanceLib.scene import add_sequence, find_sequence, read_sequence


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


@pytest.mark.usefixtures("host")
def test_one_frame_that_equals_the_reference_does_not_make_the_mean_infinite():
    from STEnhanceLib.panels import score_nodes

    plain = {"ssim": [0.5, 1.0], "nrmse": [0.5, 0.0], "mae": [0.5, 0.0]}
    scores = {"times_ms": [0.0, 50.0]}
    scores |= {name: {"psnr": [30.0, float("inf")], **plain} for name in ("before", "after")}
    assert score_nodes.means(scores)["after"]["psnr"] == 30
    assert "After: 1 of 2 frames equals the reference" in score_nodes.as_html(scores)
    assert ">&nbsp; 30.00<" in score_nodes.as_html(scores)


def test_frames_that_come_after_the_first_look_are_compared_as_well(host, panel, coarse, beating_disc):
    import slicer

    node = add_sequence(replace(coarse, name="other cine"), slicer.mrmlScene)
    publication = Publication(node, beating_disc.grid, "coming")
    panel.ui.differenceCheckBox.checked = True
    for count, frames in ((2, beating_disc.frames[:2]), (8, beating_disc.frames[2:])):
        for frame in frames:
            publication.add_frame(frame)
        panel.set_run(node, publication.sequence)
        if count == 2:
            panel.ui.compareButton.click()
        settle(host, panel)
        volume = slicer.mrmlScene.GetNodeByID(composite(DIFFERENCE).GetBackgroundVolumeID())
        assert publication.browser.GetSequenceNode(volume).GetNumberOfDataNodes() == count


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


def test_measuring_another_result_keeps_the_scores_of_the_first_one_also_from_a_loaded_scene(
    host, panel, run, reference, tmp_path
):
    import slicer

    from STEnhanceLib.scene import load_scene, save_scene

    def names(class_name):
        return sorted(node.GetName() for node in slicer.util.getNodesByClass(class_name))

    def measure(after):
        panel.ui.afterSelector.setCurrentNode(after)
        panel.ui.metricsButton.click()
        settle(host, panel)

    panel.ui.referenceSelector.setCurrentNode(reference)
    measure(run[2])
    measure(add_sequence(replace(read_sequence(reference), name="another result"), slicer.mrmlScene))
    charts = ["another result: PSNR", "cine (enhanced): PSNR"]
    assert names("vtkMRMLPlotChartNode") == charts
    assert len(names("vtkMRMLTableNode")) == 4

    load_scene(save_scene(tmp_path / "scene.mrb", slicer.mrmlScene), slicer.mrmlScene)
    for selector, name in ((panel.ui.beforeSelector, "cine"), (panel.ui.referenceSelector, "truth")):
        selector.setCurrentNode(_sequence(name))
    measure(_sequence("cine (enhanced)"))
    assert names("vtkMRMLPlotChartNode") == charts, "its own replaced, the other one kept"
    assert len(names("vtkMRMLTableNode")) == 4


def _sequence(name: str):
    import slicer

    return next(node for node in slicer.util.getNodesByClass("vtkMRMLSequenceNode") if node.GetName() == name)


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
