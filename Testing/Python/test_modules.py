"""The three modules in the smoke host: loaded from their files, set up from their `.ui`, clicked and pictured."""

from __future__ import annotations

import dataclasses
from pathlib import Path

import numpy as np
import pytest

from STEnhanceLib.methods import Task, methods_for
from STEnhanceLib.phantoms.thorax import Thorax

REPOSITORY = Path(__file__).parents[2]
PICTURES = REPOSITORY / "Testing" / "output"
SHOWN = {"SuperResolve": "stenhance-sr", "ArtefactReduction": "frequency-split", "TemporalInterpolation": "motion"}


def module_file(name: str) -> Path:
    return REPOSITORY / "STEnhance" / name / f"{name}.py"


@pytest.fixture(scope="module")
def phantom():
    return dataclasses.replace(Thorax(breathing_mm=0).cine(frames=10, matrix=64, slices=3), name="Cine SAx")


@pytest.fixture(params=SHOWN)
def module_name(request):
    return request.param


def test_a_module_looks_like_a_panel_that_needs_no_manual(host, phantom, module_name):
    from STEnhanceLib import scene

    widget = host.load_module(module_file(module_name))
    node = scene.add_sequence(phantom)
    widget.panel.parameters.inputNode = node
    widget.panel.choose(SHOWN[module_name])
    host.wait(0.05)
    assert "10 frames × 3 slices" in widget.panel.ui.foundLabel.text
    assert widget.panel.ui.applyButton.enabled, widget.panel.ui.statusLabel.text
    assert "not for clinical use" in widget.panel.ui.noticeLabel.text
    assert host.grab(widget, PICTURES / f"{module_name}.png").stat().st_size > 10_000


@pytest.mark.parametrize(
    ("module_name", "first_choice"),
    [("SuperResolve", "stenhance-sr"), ("ArtefactReduction", "frequency-split"), ("TemporalInterpolation", "motion")],
)
def test_a_module_opens_with_what_helps_most_on_images_alone(host, module_name, first_choice):
    assert host.load_module(module_file(module_name)).panel.method.key == first_choice


def test_the_self_test_of_a_module_passes(host, module_name, monkeypatch):
    from STEnhanceLib.panels import self_test

    monkeypatch.setattr(self_test, "PATIENCE_S", 240)
    host.load_module(module_file(module_name))
    host.run_self_test(module_name)


def test_a_scene_file_opens_as_a_scene_with_any_of_the_modules_installed(host, module_name):
    import slicer

    host.load_module(module_file(module_name))
    assert slicer.app.coreIOManager().fileType("patient.mrb") == "SceneFile"
    assert slicer.app.coreIOManager().fileType("cine.seq.nrrd") == "SequenceFile"


def test_apply_streams_frames_while_the_browser_plays_and_the_selected_frame_is_the_users(
    host, phantom, one_step_per_poll
):
    from STEnhanceLib import scene

    widget = host.load_module(module_file("TemporalInterpolation"))
    panel = widget.panel
    node = scene.add_sequence(phantom)
    _, browser = scene.find_sequence(node)
    panel.parameters.inputNode = node
    panel.choose("demons")
    voxels = scene.read_sequence(node).frames.copy()
    steps = []

    def play():
        browser.SelectNextItem()
        steps.append(browser.GetSelectedItemNumber())

    import qt

    player = qt.QTimer()
    player.setInterval(15)
    player.connect("timeout()", play)
    player.start()
    panel.ui.applyButton.click()
    counts = set()

    def ended():
        counts.add(panel.run.finished_frames)
        return not panel.running

    host.wait_until(ended)
    player.stop()
    assert panel.run.error is None
    assert counts == set(range(21)), "frames appeared one by one"
    assert set(np.diff(steps[: len(steps) // 2])) <= {1, -9}, "only the player moved the browser"
    assert np.array_equal(scene.read_sequence(node).frames, voxels)
    assert node.GetNumberOfDataNodes() == 10
    assert panel.run.result.GetNumberOfDataNodes() == 20


def test_a_preview_lies_over_the_input_and_goes_without_a_trace(host, phantom):
    import slicer

    from STEnhanceLib import scene

    widget = host.load_module(module_file("SuperResolve"))
    panel = widget.panel
    node = scene.add_sequence(phantom)
    panel.parameters.inputNode = node
    _, browser = scene.find_sequence(node)
    browser.SetSelectedItemNumber(4)
    panel.choose("zero-fill")
    before = slicer.mrmlScene.GetNumberOfNodes()
    panel.ui.previewButton.click()
    host.wait_until(lambda: panel.preview.done)
    assert panel.preview.error is None
    shown = slicer.util.arrayFromVolume(panel.preview.volume)
    assert shown.shape == (3, 128, 128)
    assert np.corrcoef(shown[:, ::2, ::2].ravel(), phantom.frames[4].ravel())[0, 1] > 0.999
    panel.exit()
    assert slicer.mrmlScene.GetNumberOfNodes() == before


def test_choices_are_remembered_with_the_scene(host, phantom):
    from STEnhanceLib import scene

    widget = host.load_module(module_file("SuperResolve"))
    panel = widget.panel
    panel.parameters.inputNode = scene.add_sequence(phantom)
    panel.choose("b-spline")
    panel._form._fields["factor"].write(3)
    panel.choose("zero-fill")
    panel.choose("b-spline")
    assert panel._form.settings()["factor"] == 3
    panel.set_parameters(None)
    panel.enter()
    assert panel.method.key == "b-spline"
    assert panel._form.settings()["factor"] == 3


def test_without_torch_its_methods_are_grey_with_the_reason_and_the_others_run(host, phantom, monkeypatch):
    import importlib.util

    import qt

    from STEnhanceLib import scene

    found = importlib.util.find_spec
    hidden = ("torch", "torchkbnufft")
    monkeypatch.setattr(importlib.util, "find_spec", lambda name, *more: None if name in hidden else found(name, *more))
    panel = host.load_module(module_file("ArtefactReduction")).panel
    selector = panel.ui.methodSelector
    rows = {selector.itemData(row): row for row in range(selector.count)}
    grey = {key: not selector.model().item(row).isEnabled() for key, row in rows.items()}
    assert grey == {method.key: "torch" in method.requires for method in methods_for(Task.ARTEFACT_REDUCTION)}
    assert "needs torch" in selector.itemText(rows["gridding"])
    assert "torch" in panel.ui.packagesLabel.text and not panel.ui.installButton.isHidden()
    assert panel.method.key == "frequency-split", "a method that can run is chosen first"
    panel.parameters.inputNode = scene.add_sequence(phantom)
    assert panel.ui.applyButton.enabled
    host.accept_dialogs = False
    panel.ui.installButton.click()  # the extension that installs torch is not there: said, and nothing changes
    assert "PyTorch" in host.dialogs[-1].text
    assert isinstance(panel.ui.installButton, qt.QPushButton)


def test_leaving_slicer_ends_the_worker(host, phantom):
    import psutil

    from STEnhanceLib import scene
    from STEnhanceLib.panels import session

    widget = host.load_module(module_file("SuperResolve"))
    widget.panel.parameters.inputNode = scene.add_sequence(phantom)
    widget.panel.ui.applyButton.click()
    host.wait_until(lambda: not widget.panel.running)
    pid = session.worker().pid
    assert psutil.pid_exists(pid)
    widget.cleanup()
    host.wait_until(lambda: not psutil.pid_exists(pid) or psutil.Process(pid).status() == psutil.STATUS_ZOMBIE)


def test_a_corrected_frame_duration_and_cycle_reach_the_result(host, phantom):
    from STEnhanceLib import scene
    from STEnhanceLib.node_times import frame_times

    panel = host.load_module(module_file("TemporalInterpolation")).panel
    panel.parameters.inputNode = scene.add_sequence(phantom)
    panel.choose("linear")
    panel.ui.frameDurationSpinBox.value = 50
    panel.ui.cyclicCheckBox.click()
    panel.ui.applyButton.click()
    host.wait_until(lambda: not panel.running)
    assert panel.run.error is None
    assert panel.run.result.GetNumberOfDataNodes() == 19
    times, _ = frame_times(panel.run.result)
    np.testing.assert_allclose(times, np.arange(19) * 25.0)


def test_a_finished_run_is_offered_for_comparison(host, phantom):
    from STEnhanceLib import scene

    panel = host.load_module(module_file("SuperResolve")).panel
    node = scene.add_sequence(phantom)
    panel.parameters.inputNode = node
    panel.ui.applyButton.click()
    host.wait_until(lambda: not panel.running)
    assert panel.compare.before is node
    assert panel.compare.after is panel.run.result


@pytest.mark.usefixtures("host")
def test_what_the_panel_says_is_said_to_somebody_at_a_panel():
    from STEnhanceLib.assumed import NOT_A_CYCLE, without_doubts
    from STEnhanceLib.panels import words
    from STEnhanceLib.sequence import Grid

    assert words.grid(Grid((1, 8, 8), np.eye(4), [0.0])).startswith("1 frame × 1 slice of 8 × 8 voxels")
    assert words.grid(Grid((2, 8, 8), np.eye(4), [0.0, 9.0])).startswith("2 frames × 2 slices of 8 × 8 voxels")
    assert "--" not in NOT_A_CYCLE
    older = NOT_A_CYCLE.replace("say so if", "say so (--periodic, or the panel's check box) if")
    assert without_doubts([older, "another"], cycle=True) == ("another",)


def two_inputs(phantom):
    """A cycle, and real-time images without one."""
    from STEnhanceLib import scene

    real_time = dataclasses.replace(Thorax().cine(frames=8, matrix=48, slices=2), name="Real time")
    return scene.add_sequence(phantom), scene.add_sequence(real_time)


def test_what_is_found_is_that_of_the_input_just_selected(host, phantom):
    panel = host.load_module(module_file("TemporalInterpolation")).panel
    cyclic, real_time = two_inputs(phantom)
    for node, frames, ticked in ((cyclic, "10 frames", True), (real_time, "8 frames", False)) * 2:
        panel.ui.inputSelector.setCurrentNode(node)
        assert frames in panel.ui.foundLabel.text
        assert panel.ui.cyclicCheckBox.checked == ticked
    panel.choose("linear")
    panel.ui.applyButton.click()
    host.wait_until(lambda: not panel.running)
    assert panel.run.result.GetNumberOfDataNodes() == 15  # real time: nothing after the last frame


def test_corrections_stay_with_the_input_they_were_made_for_and_with_each_other(host, phantom):
    panel = host.load_module(module_file("TemporalInterpolation")).panel
    cyclic, real_time = two_inputs(phantom)
    panel.ui.inputSelector.setCurrentNode(real_time)
    panel.ui.cyclicCheckBox.click()
    panel.ui.frameDurationSpinBox.value = 20
    assert panel.ui.cyclicCheckBox.checked, "another frame duration is no reason to forget the cycle"
    assert "20.0 ms" in panel.ui.foundLabel.text
    panel.ui.inputSelector.setCurrentNode(cyclic)
    assert panel.ui.frameDurationSpinBox.value == 0
    assert "90.0 ms" in panel.ui.foundLabel.text
    panel.ui.inputSelector.setCurrentNode(real_time)
    assert not panel.ui.cyclicCheckBox.checked


def test_choices_that_come_with_a_scene_reach_the_panel(host, phantom):
    panel = host.load_module(module_file("SuperResolve")).panel
    two_inputs(phantom)
    panel.parameters.settings = '{"b-spline": {"factor": 3.0, "target_spacing_mm": null, "sampling": "k-space crop"}}'
    panel.parameters.method = "b-spline"
    assert panel.method.key == "b-spline"
    assert panel._form.settings()["factor"] == 3


def test_leaving_while_a_preview_is_computed_is_quiet(host, phantom):
    panel = host.load_module(module_file("TemporalInterpolation")).panel
    panel.ui.inputSelector.setCurrentNode(two_inputs(phantom)[0])
    panel.choose("demons")
    panel.ui.previewButton.click()
    panel.exit()
    host.wait(0.2)  # an error in the timer would fail the test
    assert panel.preview is None


def test_a_preview_gives_the_views_back_what_they_showed(host, phantom):
    import slicer

    from STEnhanceLib import scene

    panel = host.load_module(module_file("SuperResolve")).panel
    node = scene.add_sequence(phantom)
    volume = scene.find_sequence(node)[1].GetProxyNode(node)
    own = slicer.util.addVolumeFromArray(np.ones((3, 8, 8), np.float32), name="own overlay")
    slicer.util.setSliceViewerLayers(background=volume, foreground=own, foregroundOpacity=0.4)
    panel.ui.inputSelector.setCurrentNode(node)
    panel.ui.previewButton.click()
    host.wait_until(lambda: panel.preview.done)
    composites = slicer.util.getNodesByClass("vtkMRMLSliceCompositeNode")
    assert any(composite.GetForegroundVolumeID() == panel.preview.volume.GetID() for composite in composites)
    panel.exit()
    shown = {(c.GetForegroundVolumeID(), c.GetForegroundOpacity()) for c in composites if c.GetBackgroundVolumeID()}
    assert shown == {(own.GetID(), 0.4)}


def test_a_fault_of_the_publication_ends_the_run_in_words_and_gives_the_panel_back(host, phantom, monkeypatch):
    from STEnhanceLib import scene
    from STEnhanceLib.publication import Publication

    panel = host.load_module(module_file("SuperResolve")).panel
    panel.parameters.inputNode = scene.add_sequence(phantom)
    panel.choose("zero-fill")
    monkeypatch.setattr(Publication, "add_frame", lambda *_: 1 / 0)
    panel.apply()
    host.wait_until(lambda: not panel.running)
    assert "could not be put into the scene" in panel.ui.statusLabel.text
    assert panel.ui.applyButton.text == "Apply" and panel.ui.inputSection.enabled
    assert "ZeroDivisionError" in host.errors.pop()


def test_the_main_thread_is_never_held_up_by_a_long_sequence(host):
    """20 frames of 10 slices of 256 × 256; processor time of this thread, which other programs do not change."""
    import time

    from STEnhanceLib import scene
    from STEnhanceLib.sequence import ImageSequence

    frames = np.random.default_rng(0).random((20, 10, 256, 256), np.float32)
    panel = host.load_module(module_file("TemporalInterpolation")).panel
    held_up = []

    def timed(function):
        def call(*arguments):
            start = time.thread_time()
            function(*arguments)
            held_up.append(time.thread_time() - start)

        return call

    panel.ui.inputSelector.setCurrentNode(scene.add_sequence(ImageSequence(frames, np.eye(4), 40.0 * np.arange(20))))
    panel.choose("linear")
    panel._poll_run = timed(panel._poll_run)
    longest = []
    for _ in range(3):  # of three: fresh memory pages count as this thread's time, and other programs make them dear
        held_up.clear()
        timed(panel.apply)()
        host.wait_until(lambda: not panel.running)
        assert panel.run.error is None
        longest.append(max(held_up))
    assert min(longest) < 0.1


def test_the_bar_of_a_quick_run_changes_four_times_a_second_at_most(host, phantom):
    import time

    from STEnhanceLib import scene

    panel = host.load_module(module_file("TemporalInterpolation")).panel
    panel.parameters.inputNode = scene.add_sequence(phantom)
    panel.choose("linear")
    values, start = [], time.monotonic()
    panel.ui.progressBar.connect("valueChanged(int)", values.append)
    panel.apply()
    host.wait_until(lambda: not panel.running)
    assert panel.run.finished_frames == 20
    assert len(values) <= 2 + 4 * (time.monotonic() - start)
