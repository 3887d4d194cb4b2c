"""Adapting the learned motion to a patient from the panel: minutes in the form, step and time meanwhile, Cancel."""

from __future__ import annotations

import time
from pathlib import Path

import pytest

from STEnhanceLib.phantoms.thorax import Thorax

pytest.importorskip("torch")
pytest.importorskip("safetensors")
pytest.importorskip("PySide6")
pytest.importorskip("slicer")

REPOSITORY = Path(__file__).parents[2]


@pytest.fixture
def panel(untrained, host, monkeypatch):
    from STEnhanceLib import scene
    from STEnhanceLib.jobs import Worker
    from STEnhanceLib.panels import session

    with Worker() as worker:  # a process that starts now finds the untrained models
        monkeypatch.setattr(session, "_worker", worker)
        panel = host.load_module(REPOSITORY / "STEnhance" / "TemporalInterpolation" / "TemporalInterpolation.py").panel
        panel.parameters.inputNode = scene.add_sequence(Thorax(breathing_mm=0).cine(frames=4, matrix=32, slices=1))
        panel.choose("learned-motion")
        yield panel


def test_a_preview_does_not_adapt_and_says_so(host, panel):
    field = panel._form._fields["adapt_minutes"]
    field.write(30)
    said = set()
    panel.ui.previewButton.click()

    def ended() -> bool:
        said.add(panel.ui.statusLabel.text)
        return panel.preview.done

    host.wait_until(ended)
    assert panel.preview.error is None and not any("Adapting" in text for text in said)
    assert "over the input. Without “Adapt to this patient”, which only a run" in panel.ui.statusLabel.text
    assert field.read() == 30 and panel._form.settings()["adapt_minutes"] == 30, "the run will"
    field.write(0)
    panel.ui.previewButton.click()
    host.wait_until(lambda: panel.preview.done)
    assert panel.ui.statusLabel.text.startswith("Preview of one frame, over the input. No view")


def test_minutes_of_adapting_can_be_watched_and_cancelled(host, panel):
    import slicer

    field = panel._form._fields["adapt_minutes"]
    assert panel.ui.parametersWidget.layout().labelForField(field.widget).text == "Adapt to this patient:"
    assert field.widget.suffix == " min" and field.read() == 0, "none unless it is asked for"
    field.write(0.01)
    panel.ui.applyButton.click()
    host.wait_until(lambda: not panel.running)
    assert panel.run.error is None
    assert "Done: 8 frames" in panel.ui.statusLabel.text and "The network practised for" in panel.ui.statusLabel.text
    field.write(2)
    assert panel.ui.applyButton.enabled, panel.ui.timeAxisLabel.text
    nodes = slicer.mrmlScene.GetNumberOfNodes()
    panel.ui.applyButton.click()
    host.wait_until(lambda: "until the first frame" in panel.ui.statusLabel.text)
    said = panel.ui.statusLabel.text
    assert "Adapting to this patient, step" in said and "about " in said
    assert panel.ui.progressBar.value >= 1
    start = time.monotonic()
    panel.ui.applyButton.click()
    host.wait_until(lambda: not panel.running)
    assert time.monotonic() - start < 60, "of the two minutes"
    assert panel.ui.statusLabel.text == "Cancelled; the scene is as it was before."
    assert slicer.mrmlScene.GetNumberOfNodes() == nodes
