"""The smoke host itself: an example module, written as for Slicer, runs in it and is refused what Slicer refuses."""

from __future__ import annotations

import textwrap
from pathlib import Path

import numpy as np
import pytest

pytest.importorskip("PySide6")
pytest.importorskip("slicer")

PICTURES = Path(__file__).parents[1] / "output"

MODULE = """
import enum
from typing import Annotated, Union

import qt
import slicer
import vtk
from slicer.i18n import tr as _
from slicer.i18n import translate
from slicer.parameterNodeWrapper import Choice, Default, SingleStep, WithinRange, parameterNodeWrapper
from slicer.ScriptedLoadableModule import *
from slicer.util import VTKObservationMixin
from slicer import vtkMRMLScalarVolumeNode, vtkMRMLSequenceNode


class Example(ScriptedLoadableModule):
    def __init__(self, parent):
        ScriptedLoadableModule.__init__(self, parent)
        self.parent.title = _("Example")
        self.parent.categories = [translate("qSlicerAbstractCoreModule", "Sequences")]
        slicer.app.connect("startupCompleted()", register_sample)


def register_sample():
    import SampleData

    SampleData.SampleDataLogic.registerCustomSampleDataSource(
        category="Example", sampleName="ExampleSample", uris="made-on-demand", fileNames="none", nodeNames="none",
        customDownloader=lambda source: slicer.mrmlScene.AddNewNodeByClass("vtkMRMLTextNode", source.sampleName),
    )


class Speed(enum.Enum):
    SLOW = 1
    FAST = 2


@parameterNodeWrapper
class ExampleParameterNode:
    inputSequence: Union[vtkMRMLSequenceNode, vtkMRMLScalarVolumeNode, None]
    strength: Annotated[float, WithinRange(0, 4), SingleStep(0.5)] = 1.5
    rounds: Annotated[int, WithinRange(1, 40)] = 5
    duration: Annotated[float, WithinRange(0, 1000)] = 40.0
    invert: bool = True
    resultName: str = "Result"
    filter: Annotated[str, Choice(["median", "mean"])] = "mean"
    speed: Speed = Speed.FAST


class ExampleWidget(ScriptedLoadableModuleWidget, VTKObservationMixin):
    def __init__(self, parent=None):
        ScriptedLoadableModuleWidget.__init__(self, parent)
        VTKObservationMixin.__init__(self)
        self.logic = None
        self.log = []

    def setup(self):
        ScriptedLoadableModuleWidget.setup(self)
        uiWidget = slicer.util.loadUI(self.resourcePath("UI/Example.ui"))
        self.layout.addWidget(uiWidget)
        self.ui = slicer.util.childWidgetVariables(uiWidget)
        self.ui.inputSelector.addAttribute("vtkMRMLSequenceNode", "DataNodeClassName", "vtkMRMLScalarVolumeNode")
        uiWidget.setMRMLScene(slicer.mrmlScene)
        self.logic = ExampleLogic()
        self.addObserver(slicer.mrmlScene, slicer.mrmlScene.StartCloseEvent, self.onSceneStartClose)
        self.ui.applyButton.connect("clicked(bool)", self.onApply)
        self.ui.inputSelector.connect("currentNodeChanged(vtkMRMLNode*)", lambda node: self.log.append(node))
        self.ui.inputSelector.connect("currentNodeChanged(bool)", lambda valid: self.log.append(valid))
        self.timer = qt.QTimer()
        self.timer.setInterval(5)
        self.timer.connect("timeout()", self.onTick)
        self.parameters = self.logic.getParameterNode()
        self.tag = self.parameters.connectGui(self.ui)

    def enter(self):
        self.log.append("enter")

    def exit(self):
        self.log.append("exit")

    def cleanup(self):
        self.log.append("cleanup")
        self.timer.stop()
        self.removeObservers()

    def onSceneStartClose(self, caller, event):
        self.parameters.disconnectGui(self.tag)

    def onApply(self):
        with slicer.util.tryWithErrorDisplay(_("Failed.")):
            if self.parameters.inputSequence is None:
                raise ValueError("Select a sequence.")
            self.ui.progressBar.maximum = self.parameters.rounds
            self.ui.progressBar.value = 0
            self.ui.statusLabel.text = _("Starting") + "..."
            self.timer.start()

    def onTick(self):
        self.ui.progressBar.value += 1
        self.ui.statusLabel.text = _("Round {n} of {all}").format(
            n=self.ui.progressBar.value, all=self.ui.progressBar.maximum)
        if self.ui.progressBar.value == self.ui.progressBar.maximum:
            self.timer.stop()


class ExampleLogic(ScriptedLoadableModuleLogic):
    def getParameterNode(self):
        return ExampleParameterNode(super().getParameterNode())


class ExampleTest(ScriptedLoadableModuleTest):
    ran = []

    def setUp(self):
        slicer.mrmlScene.Clear()

    def test_one(self):
        self.delayDisplay("Starting")
        self.assertTrue(slicer.app.testingEnabled())
        self.ran.append("one")
"""


def _row(number: int, label: str, widget: str) -> str:
    return f"""
      <item row="{number}" column="0"><widget class="QLabel" name="label{number}">
       <property name="text"><string>{label}:</string></property></widget></item>
      <item row="{number}" column="1">{widget}</item>"""


def _widget(kind: str, name: str, parameter: str = "", extra: str = "") -> str:
    bound = f'<property name="SlicerParameterName" stdset="0"><string>{parameter}</string></property>'
    return f'<widget class="{kind}" name="{name}">{extra}{bound if parameter else ""}</widget>'


def _property(name: str, kind: str, value) -> str:
    return f'<property name="{name}"><{kind}>{value}</{kind}></property>'


NONE_ENABLED = _property("noneEnabled", "bool", "true")
ROWS = [
    ("Sequence", _widget("qMRMLNodeComboBox", "inputSelector", "inputSequence", NONE_ENABLED)),
    ("Strength", _widget("ctkSliderWidget", "strengthSlider", "strength", _property("decimals", "number", 1))),
    ("Rounds", _widget("QSpinBox", "roundsSpinBox", "rounds", _property("suffix", "string", " times"))),
    ("Frame duration", _widget("QDoubleSpinBox", "durationSpinBox", "duration", _property("suffix", "string", " ms"))),
    ("Filter", _widget("QComboBox", "filterSelector", "filter")),
    ("Speed", _widget("QComboBox", "speedSelector", "speed")),
    ("Result", _widget("QLineEdit", "nameEdit", "resultName")),
    ("k-space file", _widget("ctkPathLineEdit", "pathEdit")),
    ("Contrast", _widget("QCheckBox", "invertCheckBox", "invert", _property("text", "string", "Invert the result"))),
    ("Play", _widget("qMRMLSequenceBrowserPlayWidget", "playWidget")),
    ("Frame", _widget("qMRMLSequenceBrowserSeekWidget", "seekWidget")),
]  # fmt: skip

UI = f"""<?xml version="1.0" encoding="UTF-8"?>
<ui version="4.0"><class>Example</class>
 <widget class="qMRMLWidget" name="Example">
  <layout class="QVBoxLayout" name="verticalLayout">
   <item><widget class="ctkCollapsibleButton" name="inputSection">{_property("text", "string", "Input and parameters")}
     <layout class="QFormLayout" name="form">{"".join(_row(n, *row) for n, row in enumerate(ROWS))}</layout>
   </widget></item>
   <item><widget class="ctkCollapsibleButton" name="moreSection">{_property("text", "string", "Advanced")}
     {_property("collapsed", "bool", "true")}
     <layout class="QVBoxLayout" name="more"><item>{_widget("QToolButton", "moreButton")}</item></layout>
   </widget></item>
   <item><widget class="QProgressBar" name="progressBar">{_property("value", "number", 0)}</widget></item>
   <item><widget class="QLabel" name="statusLabel">{_property("text", "string", "Ready")}</widget></item>
   <item><widget class="QPushButton" name="applyButton">{_property("text", "string", "Apply")}</widget></item>
  </layout>
 </widget>
 <connections><connection><sender>Example</sender><signal>mrmlSceneChanged(vtkMRMLScene*)</signal>
   <receiver>inputSelector</receiver><slot>setMRMLScene(vtkMRMLScene*)</slot></connection></connections>
</ui>"""

LAYOUT = """
<layout type="horizontal">
 <item><view class="vtkMRMLSliceNode" singletontag="ExampleBefore">
  <property name="orientation" action="default">Axial</property><property name="viewlabel" action="default">B</property>
  <property name="viewgroup" action="default">511</property></view></item>
 <item><view class="vtkMRMLSliceNode" singletontag="ExampleAfter">
  <property name="orientation" action="default">Axial</property><property name="viewlabel" action="default">A</property>
  <property name="viewgroup" action="default">511</property></view></item>
</layout>"""


@pytest.fixture
def module_path(tmp_path) -> Path:
    folder = tmp_path / "Example"
    (folder / "Resources" / "UI").mkdir(parents=True)
    (folder / "Resources" / "UI" / "Example.ui").write_text(UI)
    (folder / "Example.py").write_text(textwrap.dedent(MODULE))
    return folder / "Example.py"


@pytest.fixture
def two_sequences(host, beating_disc):
    """The disc and a brighter copy, in one browser; as (browser, sequence nodes)."""
    import slicer

    from STEnhanceLib.publication import Publication
    from STEnhanceLib.scene import add_sequence, find_sequence

    before = add_sequence(beating_disc, slicer.mrmlScene)
    publication = Publication(before, beating_disc.grid, "after")
    for frame in beating_disc.frames:
        publication.add_frame(np.roll(frame, -8, axis=2))
    publication.finish()
    return find_sequence(before)[1], (before, publication.sequence)


def test_a_module_runs_from_its_ui_to_a_finished_job(host, module_path, two_sequences):
    browser, (before, after) = two_sequences
    widget = host.load_module(module_path)
    ui = widget.ui
    assert {before, after, browser.GetProxyNode(before)} <= set(ui.inputSelector.nodes())
    assert (ui.inputSelector.currentNode(), ui.inputSelector.currentNodeID) == (None, "")
    ui.inputSelector.setCurrentNode(before)
    assert widget.log == ["enter", before, True]
    assert widget.parameters.inputSequence is before
    ui.playWidget.setMRMLSequenceBrowserNode(browser)
    ui.seekWidget.setMRMLSequenceBrowserNode(browser)
    ui.seekWidget.slider().value = 3
    assert browser.GetSelectedItemNumber() == 3
    ui.applyButton.click()
    assert ui.progressBar.value == 0  # the timer has not fired: nothing ran the event loop
    host.wait_until(lambda: not widget.timer.active)
    assert ui.statusLabel.text == "Round 5 of 5"
    assert host.grab(widget, PICTURES / "host_panel.png").stat().st_size > 5000


def test_parameters_and_widgets_follow_each_other(host, module_path):
    widget = host.load_module(module_path)
    ui, parameters = widget.ui, widget.parameters
    assert (ui.strengthSlider.value, ui.roundsSpinBox.value, ui.speedSelector.currentText) == (1.5, 5, "FAST")
    parameters.strength, parameters.filter, parameters.resultName = 3.5, "median", "Sharper"
    assert (ui.strengthSlider.value, ui.filterSelector.currentText, ui.nameEdit.text) == (3.5, "median", "Sharper")
    ui.invertCheckBox.checked, ui.durationSpinBox.value, ui.speedSelector.currentIndex = False, 62.5, 0
    assert (parameters.invert, parameters.duration, parameters.speed.name) == (False, 62.5, "SLOW")
    with pytest.raises(ValueError, match="within range"):
        parameters.strength = 9.0
    parameters.disconnectGui(widget.tag)
    ui.nameEdit.text = "unbound"
    assert parameters.resultName == "Sharper"


def test_linked_views_show_each_its_own_sequence(host, two_sequences):
    import slicer

    from STEnhanceLib.comparison import pane_pixels

    browser, sequences = two_sequences
    manager = slicer.app.layoutManager()
    original = manager.layout
    manager.layoutLogic().GetLayoutNode().AddLayoutDescription(511, LAYOUT)
    manager.setLayout(511)
    host.show_views()
    widgets = [manager.sliceWidget(name) for name in ("ExampleBefore", "ExampleAfter")]
    for widget, sequence in zip(widgets, sequences, strict=True):
        widget.mrmlSliceCompositeNode().SetBackgroundVolumeID(browser.GetProxyNode(sequence).GetID())
        widget.sliceView().cornerAnnotation().SetText(2, sequence.GetName())
    for widget in widgets:
        widget.mrmlSliceCompositeNode().SetLinkedControl(True)
    widgets[0].mrmlSliceNode().RotateToVolumePlane(browser.GetProxyNode(sequences[0]))
    widgets[1].mrmlSliceNode().RotateToVolumePlane(browser.GetProxyNode(sequences[1]))
    manager.resetSliceViews()
    host.grab_slice_views(PICTURES / "host_views.png")
    left, right = (pane_pixels(widget.mrmlSliceNode()) for widget in widgets)
    assert left.shape == right.shape
    assert left.max() > 100
    assert np.abs(left.astype(int) - right).max() > 100
    manager.layout = original
    assert manager.layout == original
    host.grab_slice_views(PICTURES / "host_four_up.png")


def test_a_browser_plays_while_the_event_loop_runs(host, two_sequences):
    browser, _sequences = two_sequences
    browser.SetPlaybackRateFps(50)
    first = browser.GetSelectedItemNumber()
    browser.SetPlaybackActive(True)
    host.wait_until(lambda: browser.GetSelectedItemNumber() != first)
    browser.SetPlaybackActive(False)


def test_errors_in_slots_are_collected_and_dialogs_recorded(host, module_path):
    widget = host.load_module(module_path)
    widget.ui.applyButton.click()
    assert "Select a sequence." in host.errors.pop()
    assert not host.errors
    assert "Select a sequence." in host.dialogs.pop().text
    import slicer

    assert slicer.util.confirmOkCancelDisplay("Install?")
    host.accept_dialogs = False
    assert not slicer.util.confirmYesNoDisplay("Sure?")
    assert [dialog.text for dialog in host.dialogs] == ["Install?", "Sure?"]
    slicer.util.delayDisplay("A popup that closes itself", 400)
    host.wait(0.5)


def test_errors_in_vtk_observers_are_collected(host):
    import slicer

    def broken(_caller, _event):
        raise RuntimeError("broken observer")

    node = slicer.mrmlScene.AddNewNodeByClass("vtkMRMLTextNode")
    node.AddObserver("ModifiedEvent", broken)
    node.Modified()
    assert "broken observer" in host.errors.pop()
    slicer.mrmlScene.AddNewNodeByClass("vtkMRMLNoSuchNode")
    assert any("vtkMRMLNoSuchNode" in error for error in host.errors)
    host.errors.clear()


def test_closing_the_scene_and_leaving_the_module_reach_the_widget(host, module_path, two_sequences):
    import slicer

    widget = host.load_module(module_path)
    widget.ui.inputSelector.setCurrentNode(two_sequences[1][0])
    slicer.mrmlScene.Clear(0)
    assert widget.ui.inputSelector.currentNode() is None
    slicer.util.reloadScriptedModule("Example")
    assert widget.log[-1] == "cleanup"
    assert slicer.util.getModuleWidget("Example") is not widget
    host.application.moduleManager().enter("")
    assert slicer.modules.ExampleWidget.log[-1] == "exit"


def test_self_tests_and_sample_data_run(host, module_path):
    import slicer

    host.load_module(module_path)
    host.run_self_test("Example")
    assert slicer.modules.ExampleWidget.logic is not None
    host.click_sample("ExampleSample")
    assert slicer.mrmlScene.GetFirstNodeByName("ExampleSample") is not None


def test_what_slicer_refuses_is_refused(host, module_path):
    import qt
    import slicer

    label = qt.QLabel("text")
    with pytest.raises(TypeError):
        label.text()  # a property, not a method
    with pytest.raises(AttributeError, match="not allowed"):
        label.txet = "typo"
    with pytest.raises(ValueError, match="no signal"):
        qt.QPushButton().connect("klicked()", print)
    ui = module_path.parent / "Resources" / "UI" / "Example.ui"
    ui.write_text(ui.read_text().replace("ctkPathLineEdit", "ctkUnknownWidget"))
    with pytest.raises(RuntimeError, match="ctkUnknownWidget"):
        slicer.util.loadUI(str(ui))
    selector = slicer.qMRMLNodeComboBox()
    assert not selector.enabled  # no scene: its .ui lacks the connection
