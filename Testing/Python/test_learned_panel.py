"""What the panel shows of a method that computes with models and takes a planning scan if there is one."""

from __future__ import annotations

import dataclasses
from pathlib import Path

import pytest
from learned import LEARNED, NAME, save_tiny

from STEnhanceLib.methods import Need, all_methods
from STEnhanceLib.phantoms.thorax import Thorax

pytest.importorskip("torch")
pytest.importorskip("safetensors")
pytestmark = pytest.mark.usefixtures("bundle", "learned_method")  # before the host, and longer than it

REPOSITORY = Path(__file__).parents[2]


@pytest.fixture
def panel(host):
    from STEnhanceLib import scene

    panel = host.load_module(REPOSITORY / "STEnhance" / "SuperResolve" / "SuperResolve.py").panel
    panel.parameters.inputNode = scene.add_sequence(Thorax(breathing_mm=0).cine(frames=4, matrix=32, slices=2))
    return panel


def given(panel) -> dict:
    from STEnhanceLib.panels import plan

    return plan.inputs(panel.parameters, panel.method)


def shown(widget) -> bool:
    return not widget.isHidden()


def test_the_model_card_opens_and_closes_by_its_link(host, panel, bundle):
    save_tiny(bundle.with_name("mine"), title="My <own> EDSR")
    panel.choose(LEARNED.key)
    label, browser = panel.ui.modelsLabel, panel.ui.modelCardBrowser
    assert "A tiny EDSR 1.2" in label.text and "My &lt;own&gt; EDSR 1.2" in label.text
    assert shown(label) and not shown(browser)
    label.linkActivated.emit(NAME)
    assert shown(browser)
    for words in ("A tiny EDSR", "no data at all", "It was never trained."):
        assert words in browser.plainText
    host.grab(panel.widget, REPOSITORY / "Testing" / "output" / "model_card.png")
    label.linkActivated.emit("mine")
    assert shown(browser) and "My <own> EDSR" in browser.plainText
    label.linkActivated.emit("mine")
    assert not shown(browser)
    label.linkActivated.emit(NAME)
    panel.choose("zero-fill")
    assert not shown(browser) and not shown(label)


def test_the_planning_scan_is_asked_for_where_it_is_of_use(host, panel):
    panel.choose(LEARNED.key)
    assert shown(panel.ui.needsWidget) and shown(panel.ui.priorSelector) and not shown(panel.ui.kspaceSelector)
    assert panel.ui.priorLabel.text == "Planning scan (optional):"
    assert panel.ui.applyButton.enabled and panel.ui.previewButton.enabled, "it can do without"
    panel.choose("zero-fill")
    assert not shown(panel.ui.needsWidget)


def test_a_chosen_planning_scan_goes_with_the_run(host, panel):
    import numpy as np
    import slicer

    volume = slicer.util.addVolumeFromArray(np.ones((2, 8, 8), np.float32), name="planning")
    panel.parameters.priorVolume = volume
    panel.choose("zero-fill")
    assert given(panel)["prior"] is None, "zero-filling has no use for it"
    panel.choose(LEARNED.key)
    assert given(panel)["prior"].frames.shape == (1, 2, 8, 8)


def test_a_measurement_that_is_optional_may_be_left_out_but_not_missing(host, panel, monkeypatch, tmp_path):
    def from_kspace(sequence, choice, kspace):
        return LEARNED.enhance(sequence, choice, prior=None)

    other = dataclasses.replace(LEARNED, uses=(Need.KSPACE,), enhance=from_kspace)
    monkeypatch.setitem(all_methods(), LEARNED.key, other)
    panel.choose(LEARNED.key)
    assert shown(panel.ui.kspaceSelector) and given(panel)["kspace_path"] is None
    panel.ui.kspaceSelector.currentPath = str(tmp_path / "measured.npz")
    assert not panel.ui.applyButton.enabled and "choose its k-space file" in panel.ui.statusLabel.text
    (tmp_path / "measured.npz").touch()
    assert given(panel)["kspace_path"] == tmp_path / "measured.npz"


def test_a_text_that_the_user_leaves_empty_is_the_default(host, panel):
    panel.choose(LEARNED.key)
    assert panel._form.settings() == {"model": ""}
    assert panel.ui.applyButton.enabled, panel.ui.statusLabel.text


def test_a_model_that_is_missing_or_unusable_is_told_before_apply(host, panel, bundle):
    panel.choose(LEARNED.key)
    panel._form._fields["model"].write("nowhere")
    assert not panel.ui.applyButton.enabled
    assert "There is no model" in panel.ui.statusLabel.text
    panel._form._fields["model"].write("")
    assert panel.ui.applyButton.enabled
    (bundle / "configs" / "metadata.json").write_text("{")
    panel.choose("zero-fill")
    panel.choose(LEARNED.key)
    assert "is not valid JSON" in panel.ui.modelsLabel.text
    assert not panel.ui.applyButton.enabled
