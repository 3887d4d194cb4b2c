"""The three modules in the smoke host: loaded from their files, set up from their `.ui`, clicked and pictured."""

from __future__ import annotations

import dataclasses
from pathlib import Path

import numpy as np
import pytest

from STEnhanceLib.phantom import Thorax

REPOSITORY = Path(__file__).parents[2]
PICTURES = REPOSITORY / "Testing" / "output"
SHOWN = {"SuperResolve": "b-spline", "ArtefactReduction": "frequency-split", "TemporalInterpolation": "demons"}


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


def test_the_self_test_of_a_module_passes(host, module_name):
    host.load_module(module_file(module_name))
    host.run_self_test(module_name)


def test_apply_streams_frames_while_the_browser_plays_and_the_selected_frame_is_the_users(host, phantom):
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

    host.wait_until(ended, timeout_s=120)
    player.stop()
    assert panel.run.error is None
    assert len(counts) > 3, "frames appeared while the rest was being computed"
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
    before = slicer.mrmlScene.GetNumberOfNodes()
    panel.ui.previewButton.click()
    host.wait_until(lambda: panel.preview.done)
    assert panel.preview.error is None
    shown = slicer.util.arrayFromVolume(panel.preview.volume)
    assert shown.shape == (3, 128, 128)
    assert np.corrcoef(shown[:, ::2, ::2].ravel(), phantom.frames[4].ravel())[0, 1] > 0.999
    panel.exit()
    assert slicer.mrmlScene.GetNumberOfNodes() == before


def test_a_killed_worker_is_one_sentence_in_the_panel_and_the_next_run_works(host, phantom):
    import os
    import signal

    from STEnhanceLib import scene
    from STEnhanceLib.panels import session

    widget = host.load_module(module_file("TemporalInterpolation"))
    panel = widget.panel
    panel.parameters.inputNode = scene.add_sequence(phantom)
    panel.choose("demons")
    panel.ui.applyButton.click()
    host.wait_until(lambda: panel.run.finished_frames > 0, timeout_s=60)
    os.kill(session.worker().pid, signal.SIGKILL)
    host.wait_until(lambda: not panel.running)
    assert "worker process ended unexpectedly" in panel.ui.statusLabel.text
    assert panel.run.result is None
    panel.choose("linear")
    panel.ui.applyButton.click()
    host.wait_until(lambda: not panel.running)
    assert panel.run.error is None


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
    assert grey == {"gridding": True, "temporal-tv": True, "frequency-split": False}
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

    panel = host.load_module(module_file("TemporalInterpolation")).panel
    panel.parameters.inputNode = scene.add_sequence(phantom)
    panel.choose("linear")
    panel.ui.frameDurationSpinBox.value = 50
    panel.ui.cyclicCheckBox.checked = False
    panel.ui.applyButton.click()
    host.wait_until(lambda: not panel.running)
    assert panel.run.error is None
    assert panel.run.result.GetNumberOfDataNodes() == 19
    times, _ = scene.frame_times(panel.run.result)
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
