"""What Slicer's and Qt's own widgets do with what the panels give them: collapsed sections, labels, lists of nodes."""

from __future__ import annotations

import dataclasses

import pytest

from STEnhanceLib.phantoms.thorax import Thorax


@pytest.fixture(scope="module")
def phantom():
    return dataclasses.replace(Thorax(breathing_mm=0).cine(frames=4, matrix=32, slices=2), name="Cine SAx")


@pytest.fixture
def panel(temporal_panel):
    return temporal_panel


def test_the_time_axis_is_that_of_the_input_when_its_section_is_opened_again(host, panel, phantom):
    from STEnhanceLib import scene

    panel.ui.inputSelector.setCurrentNode(scene.add_sequence(phantom))
    panel.ui.methodSection.collapsed = True
    panel.ui.frameDurationSpinBox.value = 500
    panel.ui.methodSection.collapsed = False
    assert "2000 ms" in panel.ui.timeAxisLabel.text
    panel.ui.methodSection.collapsed = True
    panel.ui.inputSelector.setCurrentNode(None)
    panel.ui.methodSection.collapsed = False
    assert panel.ui.timeAxisWidget.isHidden()


def test_quotation_marks_are_read_as_such(host, panel, phantom):
    import slicer

    from STEnhanceLib import scene

    node = scene.add_sequence(dataclasses.replace(phantom, name="Tom & Ann's", notes=("Tom & Ann's",)))
    node.RemoveAttribute(scene.PERIODIC)
    panel.ui.inputSelector.setCurrentNode(None)
    panel.ui.inputSelector.setCurrentNode(node)
    panel.choose("linear")
    panel.apply()
    host.wait_until(lambda: not panel.running)
    panel.compare._say("Tom & Ann's")
    for label in (panel.ui.assumedLabel, panel.ui.statusLabel, panel.compare.ui.compareStatusLabel):
        assert "'s" in as_read(label), as_read(label)
        assert "&" not in as_read(label).replace("Tom & Ann", "")
    slicer.mrmlScene.Clear()


def as_read(label) -> str:
    """What a label shows."""
    import qt
    from PySide6.QtGui import Qt, QTextDocument

    if label.textFormat == qt.Qt.PlainText or (
        label.textFormat == qt.Qt.AutoText and not Qt.mightBeRichText(label.text)
    ):
        return label.text
    document = QTextDocument()
    document.setHtml(label.text)
    return document.toPlainText()


def test_neither_preview_nor_wipe_is_offered_as_a_planning_scan(host, panel, phantom):
    import slicer

    from STEnhanceLib import scene
    from STEnhanceLib.comparison import shown_volume
    from STEnhanceLib.panels.wipe import Wipe

    node = scene.add_sequence(phantom)
    panel.ui.inputSelector.setCurrentNode(node)
    panel.choose("linear")
    panel.show_preview()
    host.wait_until(lambda: panel.preview.done)
    assert panel.preview.volume is not None
    wipe = Wipe(shown_volume(node), slicer.mrmlScene.GetFirstNodeByClass("vtkMRMLSliceNode"))
    assert panel.ui.priorSelector.nodes() == [shown_volume(node)]
    offered = [panel.ui.priorSelector._box.itemText(row) for row in range(panel.ui.priorSelector._box.count)]
    assert offered == ["None", shown_volume(node).GetName()]
    wipe.remove()


def test_no_list_of_volumes_offers_the_hidden_copy_of_a_reference_nor_does_the_module_data(host, panel, run, reference):
    import slicer

    tree = slicer.mrmlScene.GetSubjectHierarchyNode()
    assert tree.CreateItem(tree.GetSceneItemID(), run[0].GetProxyNode(run[2]))
    compare = panel.compare
    compare.set_run(*run[1:])
    compare.ui.referenceSelector.setCurrentNode(reference)
    compare.ui.referenceCheckBox.checked = True
    compare.ui.compareButton.click()
    host.wait_until(lambda: not compare.busy)
    copy = slicer.mrmlScene.GetFirstNodeByName("truth (compared)")
    assert copy.GetNumberOfDataNodes() == reference.GetNumberOfDataNodes()
    box = panel.ui.priorSelector._box
    assert [box.itemText(row) for row in range(box.count)] == ["None", "cine", "cine (enhanced)", "truth"]
    assert not tree.GetItemByDataNode(run[0].GetProxyNode(copy))


def test_a_sequence_that_was_loaded_without_showing_it_is_shown_beside_its_result(host, panel, phantom, monkeypatch):
    """Slicer's dialog for adding data offers that: such a sequence has no browser, and the toolbar is hidden."""
    import slicer

    from STEnhanceLib import scene

    node = scene.add_sequence(phantom)
    _, browser = scene.find_sequence(node)
    for each in (browser.GetProxyNode(node), browser):
        slicer.mrmlScene.RemoveNode(each)
    in_toolbar = []
    monkeypatch.setattr(slicer.modules.sequences, "showSequenceBrowser", in_toolbar.append)
    panel.ui.inputSelector.setCurrentNode(node)
    panel.choose("linear")
    for _ in range(2):
        panel.apply()
        host.wait_until(lambda: not panel.running)
    assert in_toolbar == [scene.find_sequence(panel.run.result)[1]], "once, for the second run found it there"


def test_a_preview_that_no_view_shows_says_so(host, panel, phantom):
    import slicer

    from STEnhanceLib import scene
    from STEnhanceLib.comparison import shown_volume

    node = scene.add_sequence(phantom)
    panel.ui.inputSelector.setCurrentNode(node)
    panel.choose("linear")
    said = []
    for shown in (None, shown_volume(node)):
        for composite in slicer.util.getNodesByClass("vtkMRMLSliceCompositeNode"):
            composite.SetBackgroundVolumeID(shown and shown.GetID())
        panel.show_preview()
        host.wait_until(lambda: panel.preview.done)
        said.append(panel.ui.statusLabel.text)
    assert [text.count("No view shows the input") for text in said] == [1, 0]


def test_what_goes_while_its_section_is_collapsed_does_not_come_back_with_it(host, panel, phantom):
    from STEnhanceLib import scene
    from STEnhanceLib.scene import add_sequence

    compare = panel.compare
    compare.set_run(add_sequence(phantom), scene.add_sequence(phantom))
    compare.ui.profileButton.click()
    assert not compare.ui.profileWidget.isHidden()
    compare.ui.compareSection.collapsed = True
    panel.exit()
    panel.enter()
    compare.ui.compareSection.collapsed = False
    assert compare.ui.profileWidget.isHidden()


def test_a_path_that_the_user_deletes_is_no_longer_taken(host, panel, tmp_path):
    typed = panel.ui.kspaceSelector.comboBox().lineEdit()
    for text in (str(tmp_path / "measured.npz"), str(tmp_path / "measured.np"), ""):
        typed.setText(text)
        assert panel.parameters.kspacePath == text
        assert panel.ui.kspaceSelector.currentPath == text


def test_nothing_takes_the_place_of_a_chosen_scan_that_is_removed(host, panel, phantom):
    import slicer

    from STEnhanceLib import scene
    from STEnhanceLib.comparison import shown_volume

    chosen, unrelated = (scene.add_sequence(dataclasses.replace(phantom, name=name)) for name in ("Mine", "Unrelated"))
    panel.ui.inputSelector.setCurrentNode(chosen)
    panel.ui.priorSelector.setCurrentNode(shown_volume(chosen))
    panel.compare.ui.beforeSelector.setCurrentNode(unrelated)
    panel.compare.ui.afterSelector.setCurrentNode(chosen)
    for node in (shown_volume(chosen), chosen):
        slicer.mrmlScene.RemoveNode(node)
    assert panel.parameters.inputNode is None and panel.parameters.priorVolume is None
    assert panel.compare.after is None and panel.compare.before is unrelated
