"""Reload, as a developer clicks it: the library is loaded anew, and nothing of the old panel acts any more."""

from __future__ import annotations

import dataclasses
import sys
from pathlib import Path

import pytest

from STEnhanceLib.phantoms.thorax import Thorax

REPOSITORY = Path(__file__).parents[2]


@pytest.fixture
def loaded_anew():
    """Other tests go on with the library as they have imported it."""
    before = {name: module for name, module in sys.modules.items() if name.partition(".")[0] == "STEnhanceLib"}
    yield
    for name in [name for name in sys.modules if name.partition(".")[0] == "STEnhanceLib"]:
        del sys.modules[name]
    sys.modules.update(before)


def test_after_a_reload_the_new_panel_works_and_the_old_one_keeps_quiet(host, loaded_anew):
    import slicer

    from STEnhanceLib import scene

    widget = host.load_module(REPOSITORY / "STEnhance/SuperResolve/SuperResolve.py")
    old = widget.panel
    phantom = dataclasses.replace(Thorax(breathing_mm=0).cine(frames=4, matrix=32, slices=2), name="Cine SAx")
    node = scene.add_sequence(phantom)
    old.ui.inputSelector.setCurrentNode(node)
    old.choose("zero-fill")
    old.apply()
    host.wait_until(lambda: not old.running)
    widget.onReload()
    panel = slicer.util.getModuleWidget("SuperResolve").panel
    assert panel is not old and type(panel) is not type(old)
    assert panel.parameters.inputNode is node and panel.method.key == "zero-fill"
    said = old.compare.ui.compareStatusLabel.text
    panel.apply()
    host.wait_until(lambda: not panel.running)
    assert panel.run.error is None
    slicer.mrmlScene.RemoveNode(node)
    host.wait(0.05)
    slicer.mrmlScene.Clear()
    assert old.compare.ui.compareStatusLabel.text == said, "its signals lead nowhere"
