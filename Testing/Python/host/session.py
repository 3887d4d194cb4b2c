"""`Host`: what a test holds. It loads modules, waits, clicks through dialogs and takes pictures."""

from __future__ import annotations

import math
import os
import sys
import time
import traceback
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from types import ModuleType

TURN_S = 0.002


@dataclass(frozen=True)
class Dialog:
    """A modal dialog that would have waited for the user."""

    title: str
    text: str
    details: str = ""


class Host:
    """A scene, an application and the modules of one test.

    Attributes:
        application: `slicer.app`.
        dialogs: the modal dialogs that were asked for, oldest first; none is shown.
        accept_dialogs: True answers them with OK or Yes, False with Cancel or No.
        errors: exceptions in slots, timers and VTK observers, VTK's errors and Qt's warnings, as text. What is left in
            the list when the host closes fails the test, so a test that provokes one takes it out.
    """

    def __init__(self):
        self.dialogs: list[Dialog] = []
        self.accept_dialogs = True
        self.errors: list[str] = []
        self._hooks = _collect_errors(self.errors)
        self.application = install()
        import slicer

        from STEnhanceLib import headless

        if hasattr(slicer, "app"):  # a scene that another test left
            del slicer.app
        self.application.open(headless.new_host())
        _answer_dialogs(self)

    def close(self) -> list[str]:
        """Quit: modules clean up, the scene is cleared. Returns `errors`."""
        try:
            self.application.close()
        except Exception:
            self.errors.append(traceback.format_exc())
        finally:
            self._hooks()
        return self.errors

    def load_module(self, path: str | os.PathLike, enter: bool = True):
        """Load a scripted module, let its start-up code run, and show its panel.

        Returns:
            Its `<Module>Widget`.
        """
        manager = self.application.moduleManager()
        module = manager.load(Path(path).resolve())
        self.application.startupCompleted.emit()
        self.application.disconnect("startupCompleted()")  # Slicer emits it once
        widget = module.widgetRepresentation().self()
        if enter:
            manager.enter(module.name)
            self.wait(0)
        return widget

    def run_self_test(self, name: str) -> None:
        """`runTest` of a loaded module, as under `Slicer --testing`."""
        import slicer

        self.application._testing = True
        try:
            slicer.selfTests[name]()
        finally:
            self.application._testing = False

    def click_sample(self, name: str) -> None:
        """Click a button of the Sample Data module whose source has a download function of its own."""
        import slicer

        every = [source for sources in slicer.modules.sampleDataSources.values() for source in sources]
        source = next(source for source in every if source.sampleName == name)
        source.customDownloader(source)

    def wait(self, seconds: float) -> None:
        """Let timers and events run for so long at least, in as many turns as if nothing held this process up."""
        for _ in range(math.ceil(seconds / TURN_S)):
            self._idle()
        self._idle()

    def wait_until(self, predicate: Callable[[], bool], timeout_s: float = 240.0) -> None:
        """Let timers and events run until something is so; the limit is for what never comes, not for what is slow.

        Raises:
            TimeoutError: it was not so in time; the message holds the errors of the host.
        """
        end = time.monotonic() + timeout_s
        while not predicate():
            if time.monotonic() > end:
                raise TimeoutError(f"Not so within {timeout_s} s. Errors meanwhile: {self.errors or 'none'}")
            self._idle()

    def _idle(self) -> None:
        self.application.idle()
        time.sleep(TURN_S)

    def grab(self, widget, path: str | os.PathLike, width: int = 520) -> Path:
        """Save a picture of a widget, or of a module's panel, at its full height."""
        panel = getattr(widget, "parent", None)
        if panel is not None and not callable(panel):
            widget = panel
        widget.resize(width, 1)
        widget.show()
        self.wait(0)
        height = max(widget.sizeHint().height(), widget.layout().heightForWidth(width) if widget.layout() else 0)
        widget.resize(width, height)
        self.wait(0)
        return self._save(widget, path)

    def grab_slice_views(self, path: str | os.PathLike, width: int = 960, height: int = 540) -> Path:
        """Save a picture of the views of the current layout."""
        viewport = self.show_views(width, height)
        self.wait(0.05)  # linked views follow by events
        return self._save(viewport, path)

    def show_views(self, width: int = 960, height: int = 540):
        """Give the views of the layout their size, as Slicer's window would."""
        viewport = self.application.layoutManager().viewport()
        viewport.resize(width, height)
        viewport.show()
        self.wait(0)
        return viewport

    @staticmethod
    def _save(widget, path) -> Path:
        path = Path(path)
        path.parent.mkdir(parents=True, exist_ok=True)
        if not widget.grab().save(str(path)):
            raise OSError(f"Could not write {path}")
        return path


def install():
    """Make `qt`, `ctk` and the missing parts of `slicer` importable and return the one application of the process."""
    if "qt" in sys.modules:
        return sys.modules["qt"].QApplication.instance()
    os.environ["QT_QPA_PLATFORM"] = "offscreen"
    os.environ.setdefault("MPLBACKEND", "Agg")  # else matplotlib takes to the running Qt
    import slicer
    import slicer.util

    from host import pythonqt

    qt = sys.modules["qt"] = pythonqt.make_module()
    from host import ctk_widgets, mrml_widgets

    sys.modules["ctk"] = ctk_widgets
    from host import application, sample_data, scripted_module, ui_loader

    qt.QUiLoader = ui_loader.QUiLoader
    for source in (mrml_widgets, application):
        for name, thing in vars(source).items():
            if name.startswith(("qMRML", "qSlicer")):
                setattr(slicer, name, thing)
    from host import parameter_node

    i18n = ModuleType("slicer.i18n")
    i18n.tr, i18n.translate = lambda text: text, lambda _context, text: text
    sys.modules["SampleData"] = sample_data
    for name, module in (
        ("ScriptedLoadableModule", scripted_module),
        ("parameterNodeWrapper", parameter_node),
        ("i18n", i18n),
    ):
        sys.modules[f"slicer.{name}"] = module
        setattr(slicer, name, module)
    made = application.qSlicerApplication(["Slicer"])
    made.setOrganizationName("NA-MIC")
    made.setStyle("Fusion")
    font = made.font()
    font.setPointSize(9)
    made.setFont(font)
    return made


def _answer_dialogs(host: Host) -> None:
    import qt

    def answer(dialog) -> int:
        text = getattr(dialog, "text", "") if isinstance(dialog, qt.QMessageBox) else ""
        details = dialog.detailedText if isinstance(dialog, qt.QMessageBox) else ""
        host.dialogs.append(Dialog(dialog.windowTitle, text, details))
        if not isinstance(dialog, qt.QMessageBox):
            return int(host.accept_dialogs)
        box = qt.QMessageBox
        buttons = (box.Ok, box.Yes, box.Retry) if host.accept_dialogs else (box.Cancel, box.No, box.Close, box.Ok)
        offered = dialog.standardButtons
        return next((button for button in buttons if int(button) & int(offered)), box.Ok)

    qt.QDialog.exec_ = qt.QDialog.exec = answer


def _collect_errors(errors: list[str]) -> Callable[[], None]:
    """Collect what Qt, VTK and Python would only print; call the result to stop."""
    import vtk
    from PySide6.QtCore import QtMsgType, qInstallMessageHandler

    def on_exception(kind, error, trace):
        errors.append("".join(traceback.format_exception(kind, error, trace)))

    def on_qt_message(kind, _context, message):
        # The offscreen platform says of itself what it cannot do.
        if kind != QtMsgType.QtDebugMsg and not message.startswith("This plugin does not support"):
            errors.append(f"Qt: {message}")

    @vtk.calldata_type(vtk.VTK_STRING)
    def on_vtk_message(_window, _event, message):
        errors.append(f"VTK: {message}")

    usual_hook, sys.excepthook = sys.excepthook, on_exception
    usual_window, window = vtk.vtkOutputWindow.GetInstance(), vtk.vtkOutputWindow()
    window.SetDisplayModeToNever()
    for event in ("ErrorEvent", "WarningEvent"):
        window.AddObserver(event, on_vtk_message)
    vtk.vtkOutputWindow.SetInstance(window)
    usual_handler = qInstallMessageHandler(on_qt_message)

    def stop():
        sys.excepthook = usual_hook
        vtk.vtkOutputWindow.SetInstance(usual_window)
        qInstallMessageHandler(usual_handler)

    return stop
