"""`slicer.app`, `slicer.modules` and the main window, as far as scripted modules reach them."""

from __future__ import annotations

import importlib.util
import sys
import tempfile
from pathlib import Path
from types import SimpleNamespace

import qt
import slicer
import vtk
from PySide6.QtCore import Property, Signal

from host.layout import qSlicerLayoutManager

# In Slicer the Sequences module looks this often whether a playing browser has a frame to show.
PLAYBACK_MS = 20

# Modules of Slicer, by name, with what their readers open: all of one confidence.
READERS = {
    "Data": {".mrml": "SceneFile", ".mrb": "SceneFile"},
    "Sequences": {".seq.nrrd": "SequenceFile", ".mrb": "SequenceFile"},
}


class qSlicerApplication(qt.QApplication):
    """The application; one per process, while scenes and modules come and go with `open` and `close`."""

    startupCompleted = Signal()
    aboutToQuit = Signal()
    applicationName = "Slicer"
    majorVersion, minorVersion, revision = 5, 13, "0"

    def open(self, made) -> None:
        """Take over a scene with its logics; `made` is a `headless.Host`."""
        self._made, self._testing = made, False
        self._temporary = tempfile.TemporaryDirectory(prefix="stenhance-host-")
        qt.QSettings.setDefaultFormat(qt.QSettings.IniFormat)
        qt.QSettings.setPath(qt.QSettings.IniFormat, qt.QSettings.UserScope, self._temporary.name)
        extra = [slicer.vtkSlicerMarkupsLogic(), slicer.vtkSlicerTablesLogic(), slicer.vtkSlicerPlotsLogic()]
        for logic in extra:
            logic.SetMRMLApplicationLogic(self.applicationLogic())
            logic.SetMRMLScene(made.scene)
        self._logics = {logic.GetClassName(): logic for logic in (*made.logics, *extra) if hasattr(logic, "IsA")}
        self._display_nodes = _DisplayNodes(made.scene)
        self._module_manager = qSlicerModuleManager()
        slicer.mrmlScene, slicer.app = made.scene, self
        slicer.modules = SimpleNamespace(sampleDataSources={})
        for name in ("Sequences", "Volumes", "Markups", "Tables", "Plots"):
            module = SimpleNamespace(name=name, logic=lambda key=f"vtkSlicer{name}Logic": self._logics[key])
            setattr(slicer.modules, name.lower(), module)
        slicer.modules.sequences.showSequenceBrowser = lambda browser: browser is not None  # there is no tool bar
        self._layout_manager = qSlicerLayoutManager(
            made.scene, self.applicationLogic(), self._logics["vtkMRMLLayoutLogic"]
        )
        self._layout_manager.setLayout(slicer.vtkMRMLLayoutNode.SlicerLayoutFourUpView)
        self._window = qSlicerMainWindow()
        self._playback = qt.QTimer()
        self._playback.connect("timeout()", self._logics["vtkSlicerSequencesLogic"].UpdateAllProxyNodes)
        self._playback.start(PLAYBACK_MS)

    def close(self) -> None:
        """End as Slicer does: the modules clean up, then the application quits."""
        self._playback.stop()
        try:
            self._module_manager.unload_all()
            self.aboutToQuit.emit()
            slicer.mrmlScene.Clear(0)
        finally:
            self._display_nodes.stop()
            self._layout_manager.close()
            self._window.deleteLater()
            self.idle()
            self._temporary.cleanup()
            del slicer.app, slicer.mrmlScene, slicer.modules

    def idle(self) -> None:
        """What an event loop does in one turn; `processEvents` alone deletes nothing that waits for `deleteLater`."""
        self.processEvents()
        self.sendPostedEvents(None, qt.QEvent.DeferredDelete)

    def testingEnabled(self) -> bool:
        return self._testing

    def commandOptions(self):
        return SimpleNamespace(noMainWindow=False, testingEnabled=self._testing, runPythonAndExit=False)

    def applicationLogic(self):
        return self._made.applicationLogic()

    def mrmlScene(self):
        return self._made.scene

    def layoutManager(self):
        return self._layout_manager

    def moduleManager(self):
        return self._module_manager

    def coreIOManager(self):
        return SimpleNamespace(fileType=self._file_type)

    def _file_type(self, path: str) -> str:
        """What a dropped file is taken for: of readers that are equally sure, the first that was registered wins."""
        for module in self._module_manager.order_of_loading():
            for ending, kind in READERS.get(module, {}).items():
                if path.lower().endswith(ending):
                    return kind
        return "NoFile"

    def settings(self):
        return qt.QSettings()

    userSettings = settings

    def translate(self, _context, text):
        return text

    def pauseRender(self):
        """Slice views here paint when the event loop gets to it."""

    resumeRender = pauseRender

    temporaryPath = Property(str, lambda self: self._temporary.name)
    cachePath = Property(str, lambda self: self._temporary.name)


class _DisplayNodes:
    """Go with the volume that is removed, unless another node shows with them, as in Slicer's window."""

    def __init__(self, scene):
        self._leaving = []
        self._scene = scene
        self._tags = (
            scene.AddObserver(scene.NodeAboutToBeRemovedEvent, self._note),
            scene.AddObserver(scene.NodeRemovedEvent, self._remove),
        )

    def stop(self) -> None:
        for tag in self._tags:
            self._scene.RemoveObserver(tag)

    @vtk.calldata_type(vtk.VTK_OBJECT)
    def _note(self, _scene, _event, node):
        if node.IsA("vtkMRMLDisplayableNode"):
            self._leaving += [node.GetNthDisplayNode(n) for n in range(node.GetNumberOfDisplayNodes())]

    @vtk.calldata_type(vtk.VTK_OBJECT)
    def _remove(self, scene, _event, node):
        if scene.IsClosing() or not node.IsA("vtkMRMLDisplayableNode"):
            return
        displays, self._leaving = self._leaving, []
        for display in displays:
            if display is not None and display.GetScene() is scene and display.GetDisplayableNode() is None:
                scene.RemoveNode(display)


class qSlicerMainWindow(qt.QMainWindow):
    """Never shown; `slicer.util.mainWindow()` finds it."""

    def __init__(self):
        super().__init__()
        self.setObjectName("qSlicerMainWindow")
        self.statusBar()

    def moduleSelector(self):
        manager = slicer.app.moduleManager()
        return SimpleNamespace(selectModule=manager.enter, selectedModule=manager.entered)


class qSlicerScriptedLoadableModule:
    """What a module's constructor fills in, and where its widget is made."""

    def __init__(self, path: Path):
        self.path, self.name = str(path), path.stem
        self.icon, self.hidden = None, False
        self._source = _import(path)
        self._representation = None
        self.instance = getattr(self._source, self.name)(self)

    def logic(self):
        """Scripted modules have none on the C++ side; see `slicer.util.getModuleLogic`."""

    def widgetRepresentation(self):
        if self._representation is None:
            self._representation = qSlicerScriptedLoadableModuleWidget(self)
        return self._representation


class qSlicerScriptedLoadableModuleWidget(qt.QWidget):
    """The parent of a module's Python widget class."""

    def __init__(self, module):
        super().__init__()
        self._module, self._entered = module, False
        qt.QVBoxLayout(self)
        self.reload()

    def self(self):
        return self._python

    def reload(self):
        cls = getattr(sys.modules[self._module.name], f"{self._module.name}Widget")
        self._python = cls(self)
        setattr(slicer.modules, cls.__name__, self._python)
        self._python.setup()

    def switch(self, entered: bool) -> None:
        """Call `enter` or `exit` of the Python class, where it has them."""
        self._entered = entered
        method = getattr(self._python, "enter" if entered else "exit", None)
        if method is not None:
            method()

    isEntered = Property(bool, lambda self: self._entered)


class qSlicerModuleManager(qt.QObject):
    """The loaded scripted modules, by name."""

    moduleAboutToBeUnloaded = Signal(str)

    def __init__(self):
        super().__init__()
        self._modules, self._entered = {}, ""

    def load(self, path: Path):
        module = qSlicerScriptedLoadableModule(path)
        self._modules[module.name] = module
        setattr(slicer.modules, module.name.lower(), module)
        return module

    def enter(self, name: str) -> None:
        """Leave the module that is shown and show this one."""
        if self._entered:
            self._modules[self._entered].widgetRepresentation().switch(False)
        self._entered = name
        if name:
            self._modules[name].widgetRepresentation().switch(True)

    @property
    def entered(self) -> str:
        return self._entered

    def module(self, name: str):
        return self._modules.get(name) or getattr(slicer.modules, name.lower(), None)

    def order_of_loading(self) -> list[str]:
        """As Slicer starts with these modules installed: by name, but what a module depends on comes before it."""
        order: list[str] = []

        def load(name: str) -> None:
            if name not in order:
                for other in self._modules[name].dependencies if name in self._modules else ():
                    load(other)
                order.append(name)

        for name in sorted({*READERS, *self._modules}):
            load(name)
        return order

    def factoryManager(self):
        return SimpleNamespace(loadedModuleNames=lambda: tuple(self._modules))

    def unload_all(self) -> None:
        """As when Slicer quits."""
        self.enter("")
        for name, module in list(self._modules.items()):
            self.moduleAboutToBeUnloaded.emit(name)
            module.widgetRepresentation().deleteLater()
            del self._modules[name], sys.modules[name]


def _import(path: Path):
    specification = importlib.util.spec_from_file_location(path.stem, path)
    source = importlib.util.module_from_spec(specification)
    sys.modules[path.stem] = source
    if str(path.parent) not in sys.path:
        sys.path.insert(0, str(path.parent))  # as Slicer does, so that a module finds its own sub-packages
    specification.loader.exec_module(source)
    return source
