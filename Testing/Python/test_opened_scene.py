"""Scenes that are opened while a module is open: what was chosen comes back with them."""

from __future__ import annotations

import dataclasses
from pathlib import Path

import pytest

from STEnhanceLib.phantoms.thorax import Thorax


@pytest.fixture(scope="module")
def phantom():
    return dataclasses.replace(Thorax(breathing_mm=0).cine(frames=4, matrix=32, slices=2), name="Cine SAx")


@pytest.fixture
def panel(temporal_panel):
    return temporal_panel


def test_corrections_and_choices_come_back_with_a_scene_that_is_opened_in_an_open_module(
    host, panel, phantom, tmp_path
):
    import slicer

    from STEnhanceLib import scene

    scene.add_sequence(dataclasses.replace(phantom, name="Another"))
    panel.ui.inputSelector.setCurrentNode(scene.add_sequence(phantom))
    panel.ui.frameDurationSpinBox.value = 20
    panel.ui.cyclicCheckBox.click()
    panel.ui.resultNameEdit.text = "Mine"
    panel.choose("linear")
    cyclic = panel.ui.cyclicCheckBox.checked
    path = scene.save_scene(tmp_path / "saved.mrb")
    slicer.mrmlScene.Clear()
    scene.load_scene(path)
    assert panel.parameters.inputNode.GetName() == "Cine SAx"
    assert panel.ui.inputSelector.currentNode() is panel.parameters.inputNode
    assert panel.ui.frameDurationSpinBox.value == 20
    assert panel.ui.cyclicCheckBox.checked is cyclic
    assert panel.ui.resultNameEdit.text == "Mine"
    assert panel.method.key == "linear"


def test_a_scene_that_is_added_leaves_input_and_run_as_they_are(host, panel, phantom, tmp_path):
    import slicer

    from STEnhanceLib import scene

    scene.add_sequence(dataclasses.replace(phantom, name="Added"))
    slicer.mrmlScene.RemoveNode(panel.parameters.parameterNode)  # a scene from before the module was used
    path = scene.save_scene(tmp_path / "added.mrb")
    slicer.mrmlScene.Clear()
    mine = scene.add_sequence(phantom)
    panel.ui.inputSelector.setCurrentNode(mine)
    panel.choose("linear")
    panel.apply()
    assert slicer.mrmlScene.ReadFromMRB(str(path), False, None)
    host.wait_until(lambda: not panel.running)
    assert panel.run.error is None
    assert panel.parameters.inputNode is mine
    assert panel.ui.inputSelector.currentNode() is mine
    assert slicer.mrmlScene.GetFirstNodeByName("Added") is not None


@pytest.mark.parametrize("module_is_open", [True, False])
def test_what_a_comparison_added_is_not_there_in_a_scene_that_was_saved_meanwhile(
    host, panel, run, reference, module_is_open
):
    """The copy of the reference is hidden: nobody could take it out of the scene."""
    import slicer

    from STEnhanceLib import scene
    from STEnhanceLib.beside import sequences_of

    compare = panel.compare
    compare.set_run(*run[1:])
    compare.ui.referenceSelector.setCurrentNode(reference)
    compare.ui.referenceCheckBox.checked = compare.ui.differenceCheckBox.checked = True
    compare.ui.compareButton.click()
    host.wait_until(lambda: not compare.busy)
    assert len(sequences_of(run[0])) == 4
    path = scene.save_scene(Path(slicer.app.temporaryPath) / "comparing.mrb")
    slicer.mrmlScene.Clear()
    if not module_is_open:
        panel.exit()
    scene.load_scene(path)
    panel.enter()
    browser = scene.find_sequence(slicer.mrmlScene.GetFirstNodeByName("cine"))[1]
    assert [node.GetName() for node in sequences_of(browser)] == ["cine (enhanced)", "cine"]
    kinds = ("vtkMRMLSequenceNode", "vtkMRMLScalarVolumeNode")
    assert [len(slicer.util.getNodesByClass(kind)) for kind in kinds] == [3, 3]
    assert slicer.mrmlScene.GetFirstNodeByName("truth") is not None


def test_a_clone_of_a_difference_is_the_users_own_and_whole(host, panel, run):
    import slicer

    compare = panel.compare
    compare.set_run(*run[1:])
    compare.ui.differenceCheckBox.checked = True
    compare.ui.compareButton.click()
    host.wait_until(lambda: not compare.busy)
    difference = slicer.mrmlScene.GetFirstNodeByName("cine (enhanced) − cine")
    assert difference.GetNumberOfDataNodes() == run[2].GetNumberOfDataNodes()
    assert difference.GetAttribute("STEnhance.Partial") is None
    clone = slicer.mrmlScene.AddNewNodeByClass("vtkMRMLSequenceNode")
    clone.Copy(difference)
    panel.exit()
    panel.enter()
    assert difference.GetScene() is None and clone.GetScene() is slicer.mrmlScene
