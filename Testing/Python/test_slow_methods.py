"""What the panel says of methods that take minutes, and of those that invent: before a run, during it, after Cancel."""

from __future__ import annotations

import dataclasses
import re
from pathlib import Path

import numpy as np
import pytest
from worker_of_slow_methods import SLOW, SPREAD

from STEnhanceLib.jobs import Worker
from STEnhanceLib.methods import Task, all_methods, methods_for
from STEnhanceLib.sequence import ImageSequence

pytest.importorskip("PySide6")
pytest.importorskip("slicer")
pytestmark = pytest.mark.usefixtures("slow_methods")  # before the host, and longer than it

REPOSITORY = Path(__file__).parents[2]
SCRIPT = (str(Path(__file__).with_name("worker_of_slow_methods.py")),)


@pytest.fixture
def slow_methods(monkeypatch):
    """The panel lists them, and the process that computes has them too."""
    from host.session import install

    for key, method in SLOW.items():
        monkeypatch.setitem(all_methods(), key, method)
    install()
    from STEnhanceLib.panels import session

    worker = Worker(script=SCRIPT)
    monkeypatch.setattr(session, "_worker", worker)
    worker.start()
    yield
    worker.close()


@pytest.fixture
def panel(host):
    from STEnhanceLib import scene

    panel = host.load_module(REPOSITORY / "STEnhance" / "TemporalInterpolation" / "TemporalInterpolation.py").panel
    frames = np.random.default_rng(0).random((6, 1, 8, 8), np.float32)
    panel.parameters.inputNode = scene.add_sequence(ImageSequence(frames, np.eye(4), 50.0 * np.arange(6), True, "cine"))
    return panel


def shown(widget) -> bool:
    return not widget.isHidden()


def rows(panel) -> dict[str, object]:
    """Label to widget of the form."""
    form = panel.ui.parametersWidget.layout()
    return {form.labelForField(field.widget).text: field.widget for field in panel._form._fields.values()}


def test_a_method_that_invents_is_announced_in_colour_before_apply(host, panel):
    panel.choose("test-diffusion")
    assert shown(panel.ui.warningLabel)
    for words in ("Slow diffusion invents detail", "not for diagnosis", "#bf360c"):
        assert words in panel.ui.warningLabel.text
    picture = host.grab(panel.widget, REPOSITORY / "Testing" / "output" / "invents.png")
    assert picture.stat().st_size > 10_000
    panel.choose("linear")
    assert not shown(panel.ui.warningLabel)


def test_a_method_that_invents_is_never_suggested(host, monkeypatch):
    first = dataclasses.replace(methods_for(Task.TEMPORAL_INTERPOLATION)[0], requires=(), generative=True)
    monkeypatch.setitem(all_methods(), first.key, first)
    path = REPOSITORY / "STEnhance" / "TemporalInterpolation" / "TemporalInterpolation.py"
    assert host.load_module(path).panel.method.key != first.key


def test_every_generative_method_of_every_module_is_announced(panel):
    from STEnhanceLib.panels import words

    for task in Task:
        for method in methods_for(task):
            assert bool(words.invention(method)) == method.generative, method.key


def test_steps_and_samples_of_a_diffusion_are_in_the_form(panel):
    panel.choose("test-diffusion")
    assert {"Steps:", "Samples:"} <= set(rows(panel))
    assert rows(panel)["Samples:"].maximum == 16
    panel._form._fields["samples"].write(7)
    assert panel._form.settings()["samples"] == 7


def test_maps_that_come_with_a_result_are_named_at_its_end(host, panel):
    panel.choose("test-diffusion")
    panel._form._fields["steps"].write(1)
    panel.ui.applyButton.click()
    host.wait_until(lambda: not panel.running)
    name = f"cine (Slow diffusion) ({SPREAD.title})"
    assert panel.run.publication.maps[0].GetName() == name
    assert f"Beside it lie also “{name}”." in panel.ui.statusLabel.text
    panel.choose("linear")
    panel.ui.applyButton.click()
    host.wait_until(lambda: not panel.running)
    assert "Beside it lie" not in panel.ui.statusLabel.text and "Done: 12 frames" in panel.ui.statusLabel.text


def test_the_memory_line_counts_maps_and_is_what_the_run_then_takes(host, panel):
    from slicer.util import arrayFromVolume

    from STEnhanceLib.panels import plan, words

    panel.choose("test-diffusion")
    panel._form._fields["steps"].write(1)
    assert f"12 frames of 8 × 8 × 1 with maps: {SPREAD.title}; about" in panel.ui.memoryLabel.text
    source = panel._source
    told = words.needed_bytes(source, plan.planned(panel.parameters, panel.method, panel._form.settings(), source))
    panel.ui.applyButton.click()
    host.wait_until(lambda: not panel.running)
    sequences = [panel.run.input, panel.run.result, *panel.run.publication.maps]
    frames = [node.GetNthDataNode(n) for node in sequences for n in range(node.GetNumberOfDataNodes())]
    assert told == 2 * sum(arrayFromVolume(frame).nbytes for frame in frames)


def test_a_map_of_displacements_takes_three_numbers_per_voxel(panel):
    from STEnhanceLib.panels import plan, words

    planned = plan.planned(panel.parameters, all_methods()["motion"], {"motion_field": True}, panel._source)
    assert words.needed_bytes(panel._source, planned) == 2 * 4 * 64 * (6 + 12 + 3 * 12)


def test_a_map_that_is_left_alone_is_not_suggested_as_an_input(host, panel):
    import slicer

    from STEnhanceLib.panels.input_section import likely_input

    panel.choose("test-diffusion")
    panel._form._fields["steps"].write(1)
    panel.ui.applyButton.click()
    host.wait_until(lambda: not panel.running)
    assert likely_input() is panel.run.input
    for node in (panel.run.input, panel.run.result):
        slicer.mrmlScene.RemoveNode(node)
    assert panel.run.publication.maps[0].GetDataNodeClassName() == "vtkMRMLScalarVolumeNode"
    assert likely_input() is None


def test_adapting_to_the_patient_is_a_number_of_minutes_in_the_form(panel):
    panel.choose("test-adaptation")
    assert rows(panel)["Adapt to this patient:"].suffix == " min"


def seconds_in(text: str, ending: str) -> float | None:
    found = re.search(rf"about (\d+) s {ending}", text)
    return float(found[1]) if found else None


def test_while_it_adapts_the_panel_says_step_and_time_and_cancel_ends_it_without_a_trace(host, panel):
    import slicer

    nodes = slicer.mrmlScene.GetNumberOfNodes()
    panel.choose("test-adaptation")
    panel._form._fields["adapt_minutes"].write(0.1)
    panel.ui.applyButton.click()
    host.wait_until(lambda: "until the first frame" in panel.ui.statusLabel.text)
    host.wait(0.5)
    said = panel.ui.statusLabel.text
    assert "Adapting to this patient, step " in said
    assert 4 <= seconds_in(said, "until the first frame") <= 9
    assert panel.ui.progressBar.maximum == 100 and 3 <= panel.ui.progressBar.value <= 40
    panel.ui.applyButton.click()
    host.wait_until(lambda: not panel.running, timeout_s=5)
    assert panel.ui.statusLabel.text == "Cancelled; the scene is as it was before."
    assert slicer.mrmlScene.GetNumberOfNodes() == nodes
    assert panel.ui.applyButton.text == "Apply" and panel.ui.applyButton.enabled


def test_cancel_right_after_apply_ends_it_while_the_input_is_still_read(host, panel):
    panel.choose("test-adaptation")
    panel.ui.applyButton.click()
    assert panel.ui.statusLabel.text == "Starting…"
    panel.ui.applyButton.click()
    host.wait_until(lambda: not panel.running, timeout_s=5)
    assert panel.ui.statusLabel.text == "Cancelled; the scene is as it was before."
    assert panel.ui.applyButton.text == "Apply" and panel.ui.applyButton.enabled


def test_the_time_left_of_a_diffusion_is_about_right_and_gets_less(host, panel):
    import time

    panel.choose("test-diffusion")
    panel._form._fields["factor"].write(3)  # 12 frames of 10 steps, and 6 measured ones that come at once
    panel.ui.applyButton.click()
    told = []

    def ended() -> bool:
        left = seconds_in(panel.ui.statusLabel.text, "left")
        if left is not None:
            told.append((time.monotonic(), left))
        return not panel.running

    host.wait_until(ended)
    end = time.monotonic()
    assert panel.run.error is None
    assert len(told) > 20
    off = [left - (end - when) for when, left in told[5:]]
    assert max(map(abs, off)) < 2.0, "of about 3 s, shown in whole seconds"
    assert told[-1][1] == 1 < max(left for _when, left in told)
