"""What the panel says of methods that take minutes, and of those that invent: before a run, during it, after Cancel."""

from __future__ import annotations

import dataclasses
import re
from pathlib import Path

import numpy as np
import pytest
from worker_of_slow_methods import GATE, SLOW, SPREAD

from STEnhanceLib.jobs import Worker
from STEnhanceLib.methods import Task, all_methods, methods_for
from STEnhanceLib.sequence import ImageSequence

pytest.importorskip("PySide6")
pytest.importorskip("slicer")
pytestmark = pytest.mark.usefixtures("slow_methods")  # before the host, and longer than it

REPOSITORY = Path(__file__).parents[2]
SCRIPT = (str(Path(__file__).with_name("worker_of_slow_methods.py")),)


@pytest.fixture
def slow_methods(monkeypatch, gate):
    """The panel lists them, and the process that computes has them too; there they stand still without the gate."""
    gate.touch()
    monkeypatch.setenv(GATE, str(gate))
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


def start_and_stand_still(host, panel, gate, told: str) -> str:
    """Apply; what the panel says once the run stands still in the middle and a time left was told, as in `told`."""
    gate.unlink()
    panel.ui.applyButton.click()
    host.wait_until(lambda: re.search(told, panel.ui.statusLabel.text))
    return panel.ui.statusLabel.text


def test_while_it_adapts_the_panel_says_step_and_time_and_cancel_ends_it_without_a_trace(host, panel, gate):
    import slicer

    nodes = slicer.mrmlScene.GetNumberOfNodes()
    panel.choose("test-adaptation")
    said = start_and_stand_still(host, panel, gate, r"step 1\d, about \d+ (s|min) until the first frame$")
    assert said.startswith("Adapting to this patient, step ")
    assert panel.ui.progressBar.maximum == 100 and panel.ui.progressBar.value == round(100 * panel.run.share) >= 6
    panel.ui.applyButton.click()
    host.wait_until(lambda: not panel.running)
    assert panel.ui.statusLabel.text == "Cancelled; the scene is as it was before."
    assert slicer.mrmlScene.GetNumberOfNodes() == nodes
    assert panel.ui.applyButton.text == "Apply" and panel.ui.applyButton.enabled


def test_cancel_right_after_apply_ends_it_while_the_input_is_still_read(host, panel, gate):
    panel.choose("test-adaptation")
    gate.unlink()
    panel.ui.applyButton.click()
    assert panel.ui.statusLabel.text == "Starting…"
    panel.ui.applyButton.click()
    host.wait_until(lambda: not panel.running)
    assert panel.ui.statusLabel.text == "Cancelled; the scene is as it was before."
    assert panel.ui.applyButton.text == "Apply" and panel.ui.applyButton.enabled


def test_the_time_left_is_told_in_the_middle_of_a_diffusion(host, panel, gate):
    """How exact it is, is tested with a clock of its own: test_time_left.py."""
    from STEnhanceLib.panels import words

    panel.choose("test-diffusion")
    panel._form._fields["factor"].write(3)  # 12 frames of 10 steps, and 6 measured ones that come at once
    start_and_stand_still(host, panel, gate, r"^Frame 10 of 18, step 6 of 10, about \d+ (s|min) left$")
    assert panel.ui.progressBar.maximum == 1800 and panel.ui.progressBar.value == 1050
    for seconds, told in ((0.0, "about 1 s left"), (29.6, "about 30 s left"), (240.0, "about 4 min left")):
        assert words.progress(panel.run, seconds).endswith(told)
    gate.touch()
    host.wait_until(lambda: not panel.running)
    assert panel.run.error is None and "Done: 18 frames" in panel.ui.statusLabel.text


def test_a_killed_worker_is_one_sentence_in_the_panel_and_the_next_run_works(host, panel, gate):
    import psutil

    from STEnhanceLib.panels import session

    panel.choose("test-diffusion")
    start_and_stand_still(host, panel, gate, "left")
    psutil.Process(session.worker().pid).kill()
    host.wait_until(lambda: not panel.running)
    assert "worker process ended unexpectedly" in panel.ui.statusLabel.text
    assert panel.run.result is None
    panel.choose("linear")
    panel.ui.applyButton.click()
    host.wait_until(lambda: not panel.running)
    assert panel.run.error is None


def test_an_input_that_is_deleted_during_a_run_ends_it_in_words(host, panel, gate):
    import slicer

    panel.choose("test-diffusion")
    panel.parameters.keepPartial = True
    start_and_stand_still(host, panel, gate, "left")
    panel.ui.applyButton.click()
    slicer.mrmlScene.RemoveNode(panel.run.input)
    host.wait_until(lambda: not panel.running)
    host.wait(0.1)
    assert panel.ui.applyButton.text == "Apply"
