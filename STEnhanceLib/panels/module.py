"""What the three scripted modules have in common, so that their files only say how they differ."""

from __future__ import annotations

import sys

import slicer
from slicer.i18n import tr as _
from slicer.i18n import translate
from slicer.ScriptedLoadableModule import ScriptedLoadableModule, ScriptedLoadableModuleWidget
from slicer.util import VTKObservationMixin

from STEnhanceLib.methods import Task
from STEnhanceLib.methods.run import NOT_FOR_CLINICAL_USE
from STEnhanceLib.panels import generated_labels, sample_data
from STEnhanceLib.panels.panel import EnhancePanel


class EnhanceModule(ScriptedLoadableModule):
    """Title, help and credits of a module.

    Attributes:
        title: as Slicer's menu shows it.
        help: what the module does, in a few sentences.
    """

    title = ""
    help = ""

    def __init__(self, parent):
        ScriptedLoadableModule.__init__(self, parent)
        self.parent.title = _(self.title)
        self.parent.categories = [translate("qSlicerAbstractCoreModule", "Sequences"), "Cardiac"]
        # Slicer loads modules by name, dependencies first, and the first reader of a file name wins: with Sequences
        # alone, a module whose name comes before "Data" makes every .mrb file of the user open as a sequence.
        self.parent.dependencies = ["Data", "Sequences"]
        self.parent.contributors = ["STEnhance developers"]
        self.parent.helpText = f"<p>{_(self.help)}</p><p>{_(NOT_FOR_CLINICAL_USE)}</p>"
        self.parent.acknowledgementText = _(
            "The methods are re-implemented from their publications; the panel names the source of each. The real cine "
            "MRI behind the published measurements is the Sunnybrook Cardiac Data (CC0; Radau et al., MIDAS J. 2009)."
        )
        slicer.app.connect("startupCompleted()", sample_data.register)
        slicer.app.connect("startupCompleted()", generated_labels.start)


class EnhanceModuleWidget(ScriptedLoadableModuleWidget, VTKObservationMixin):
    """The widget of a module: its `.ui` frame around the shared panel.

    Attributes:
        task: which methods the panel offers.
        logic_class: the module's logic, which keeps the parameter node.
    """

    task: Task
    logic_class: type

    def __init__(self, parent=None):
        ScriptedLoadableModuleWidget.__init__(self, parent)
        VTKObservationMixin.__init__(self)
        self.panel = None

    def setup(self):
        """Build the panel and follow the scene."""
        ScriptedLoadableModuleWidget.setup(self)
        frame = slicer.util.loadUI(self.resourcePath(f"UI/{self.moduleName}.ui"))
        self.layout.addWidget(frame)
        self.ui = slicer.util.childWidgetVariables(frame)
        self.logic = self.logic_class()
        self.panel = EnhancePanel(self.ui.panelPlace.layout(), self.task, self.logic)
        scene = slicer.mrmlScene
        # After the panel was made: its lists of nodes are told of the end of an import first, and list them again.
        self.addObserver(scene, scene.StartCloseEvent, self.panel.on_scene_start_close)
        self.addObserver(scene, scene.EndCloseEvent, self.panel.on_scene_ready)
        self.addObserver(scene, scene.StartImportEvent, self.panel.on_scene_start_import)
        self.addObserver(scene, scene.EndImportEvent, self.panel.on_scene_ready)

    def enter(self):
        """The user opens the module."""
        if self.panel is not None:
            self.panel.enter()

    def exit(self):
        """The user opens another module; a run at work goes on."""
        if self.panel is not None:
            self.panel.exit()

    def onReload(self):
        """Load the library anew too, else a developer would test yesterday's code."""
        generated_labels.stop()
        for name in [name for name in sys.modules if name.partition(".")[0] == "STEnhanceLib"]:
            del sys.modules[name]
        ScriptedLoadableModuleWidget.onReload(self)

    def cleanup(self):
        """The module is reloaded or Slicer quits."""
        self.removeObservers()
        if self.panel is not None:
            self.panel.cleanup()
            self.panel = None
