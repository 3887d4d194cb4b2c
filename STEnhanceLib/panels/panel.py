"""The panel of a module: input, method, run. What differs between the modules is the task."""

from __future__ import annotations

import html
import logging
from pathlib import Path
from typing import Any

import qt
import slicer
import vtk
from slicer.i18n import tr as _
from slicer.util import VTKObservationMixin

from STEnhanceLib import device, scene
from STEnhanceLib.enhancing import SceneRun
from STEnhanceLib.errors import STEnhanceError
from STEnhanceLib.methods import Method, Need, Task, methods_for, parse_parameters
from STEnhanceLib.methods.run import NOT_FOR_CLINICAL_USE, expected_result
from STEnhanceLib.panels import packages, session, words
from STEnhanceLib.panels.compare_panel import ComparePanel
from STEnhanceLib.panels.memory import free_memory
from STEnhanceLib.panels.method_selector import MethodSelector
from STEnhanceLib.panels.parameter_form import ParameterForm
from STEnhanceLib.panels.parameter_node import EnhanceParameterNode, own_settings, remember_settings
from STEnhanceLib.panels.preview import Preview

logger = logging.getLogger(__name__)

POLL_MS = 20


class EnhancePanel(VTKObservationMixin):
    """Everything below a module's title.

    Args:
        layout: of the module's widget; the panel adds itself.
        task: which methods it offers.
        logic: the module's logic, which keeps the parameter node.

    Attributes:
        ui: the widgets of `EnhancePanel.ui` by name.
        run: the run at work, else the last one; None before the first.
        preview: the enhanced frame that lies over the input; None while there is none.
        compare: the section below, which shows input and result side by side.
    """

    def __init__(self, layout, task: Task, logic):
        VTKObservationMixin.__init__(self)
        self.task = task
        self.run: SceneRun | None = None
        self.preview: Preview | None = None
        self._logic = logic
        self._parameters: EnhanceParameterNode | None = None
        self._gui_tag = None

        widget = slicer.util.loadUI(str(Path(__file__).with_name("EnhancePanel.ui")))
        layout.addWidget(widget)
        self.widget = widget
        self.ui = slicer.util.childWidgetVariables(widget)
        self.ui.inputSelector.addAttribute("vtkMRMLSequenceNode", "DataNodeClassName", "vtkMRMLScalarVolumeNode")
        self.ui.noticeLabel.text = f"<small>{_(NOT_FOR_CLINICAL_USE)} {_(words.GENERATED)}</small>"
        self.ui.kspaceSelector.nameFilters = ["*.npz"]
        self._form = ParameterForm(self.ui.parametersWidget.layout(), self._on_settings_edited)
        self.ui.progressBar.visible = False
        for name, label in zip(device.CHOICES, (_("automatic"), _("CPU"), _("NVIDIA GPU (CUDA)")), strict=True):
            self.ui.deviceSelector.addItem(label, name)
        self._methods = MethodSelector(self.ui.methodSelector, task)
        self.compare = ComparePanel(self.ui.comparePlace.layout())
        widget.setMRMLScene(slicer.mrmlScene)
        self._connect()
        self._timer = qt.QTimer()
        self._timer.setInterval(POLL_MS)
        self._timer.connect("timeout()", self._poll)
        self.set_parameters(EnhanceParameterNode(logic.getParameterNode()))

    # Life cycle, called by the module's widget

    def enter(self) -> None:
        """The module is shown."""
        if self._parameters is None:
            self.set_parameters(EnhanceParameterNode(self._logic.getParameterNode()))
        self._update_packages()

    def on_scene_start_close(self, caller=None, event=None) -> None:
        """The scene is about to lose its nodes: the run ends now, before its nodes vanish."""
        self.abandon()
        self.compare.on_scene_start_close()
        self.set_parameters(None)

    def on_scene_end_close(self, caller=None, event=None) -> None:
        """The scene is empty; start over."""
        self.set_parameters(EnhanceParameterNode(self._logic.getParameterNode()))

    def cleanup(self) -> None:
        """The module is reloaded or Slicer quits: nothing of the panel stays behind."""
        self.abandon()
        self.compare.cleanup()
        self.set_parameters(None)
        self.removeObservers()
        session.close_worker()

    def exit(self) -> None:
        """Another module is shown: a run at work goes on, preview and comparison go."""
        self.remove_preview()
        self.compare.exit()

    def abandon(self) -> None:
        """Cancel a run at work, and take back what it has published and the preview."""
        if self.running:
            self.run.abandon()
        self.remove_preview()
        self._timer.stop()
        self._show_idle()

    # What self tests and scripts use

    @property
    def running(self) -> bool:
        """A run is at work."""
        return self.run is not None and not self.run.done

    @property
    def parameters(self) -> EnhanceParameterNode:
        """The choices of the user."""
        return self._parameters

    @property
    def method(self) -> Method:
        """The chosen method."""
        return self._methods.method

    def choose(self, method_key: str) -> None:
        """Select a method, as the user does."""
        self._methods.select(method_key)

    def show_preview(self) -> None:
        """Enhance what is on screen only; what is wrong is said in the panel."""
        self.remove_preview()
        try:
            self.preview = Preview(
                session.worker(), self._parameters.inputNode, self.method, self._form.settings(), **self._corrections()
            )
        except STEnhanceError as error:
            self._say(str(error), bad=True)
            return
        self._say(_("Computing the preview…"))
        self._timer.start()

    def remove_preview(self) -> None:
        """Show the input as it is."""
        if self.preview is not None:
            self.preview.remove()
            self.preview = None

    def apply(self) -> None:
        """Start a run with what is chosen; what is wrong is said in the panel."""
        self.remove_preview()
        try:
            input_sequence, _browser = scene.find_sequence(self._parameters.inputNode)
            self.run = SceneRun(
                session.worker(),
                input_sequence,
                self.method.key,
                self._form.settings(),
                name=self._parameters.resultName or f"{input_sequence.GetName()} ({self.method.title})",
                prior=self._prior(),
                kspace_path=self._kspace_path(),
                device=self._parameters.device,
                **self._corrections(),
            )
        except STEnhanceError as error:
            self._say(str(error), bad=True)
            return
        self._show_running()
        self._timer.start()

    # Parameter node

    def set_parameters(self, parameters: EnhanceParameterNode | None) -> None:
        """Show and observe other choices, or none."""
        if self._parameters is not None:
            self._parameters.disconnectGui(self._gui_tag)
            self.removeObserver(self._parameters, vtk.vtkCommand.ModifiedEvent, self._on_parameters_modified)
        self._parameters = parameters
        if parameters is None:
            return
        self._gui_tag = parameters.connectGui(self.ui)
        if parameters.method:
            self._methods.select(parameters.method)
        self.ui.kspaceSelector.currentPath = parameters.kspacePath
        self.ui.deviceSelector.setCurrentIndex(self.ui.deviceSelector.findData(parameters.device))
        if parameters.inputNode is None:
            parameters.inputNode = _likely_input()
        self._form.show(self.method, own_settings(parameters, self.method.key))
        self.addObserver(parameters, vtk.vtkCommand.ModifiedEvent, self._on_parameters_modified)
        self._on_input_changed()
        self._show_method()

    def _on_parameters_modified(self, caller=None, event=None) -> None:
        self._update_plan()

    # Input

    def _on_input_changed(self, *_args) -> None:
        if self._parameters is None or self._parameters.inputNode is None:
            self.ui.foundLabel.text = _("Select a sequence. Sample Data offers one in the category STEnhance.")
            self.ui.assumedLabel.text = "–"
        else:
            try:
                grid, notes = scene.describe_sequence(
                    self._parameters.inputNode, frame_duration_ms=self._parameters.frameDurationMs or None
                )
            except STEnhanceError as error:
                self.ui.foundLabel.text = words.bad(str(error))
                self.ui.assumedLabel.text = "–"
            else:
                self.ui.foundLabel.text = words.grid(grid)
                self.ui.assumedLabel.text = "<br>".join(map(html.escape, notes)) or _("nothing")
                self.ui.cyclicCheckBox.checked = grid.periodic
        self._update_plan()

    def _corrections(self) -> dict[str, Any]:
        """What the user knows better than the sequence."""
        return {
            "frame_duration_ms": self._parameters.frameDurationMs or None,
            "periodic": self.ui.cyclicCheckBox.checked,
        }

    # Method

    def _on_method_chosen(self, _row: int) -> None:
        if self._parameters is None:
            return
        self._parameters.method = self.method.key
        self._form.show(self.method, own_settings(self._parameters, self.method.key))
        self._show_method()

    def _show_method(self) -> None:
        method = self.method
        self.ui.methodSummaryLabel.text = words.method_card(method)
        for need, widgets in (
            (Need.PRIOR, (self.ui.priorLabel, self.ui.priorSelector)),
            (Need.KSPACE, (self.ui.kspaceLabel, self.ui.kspaceSelector)),
        ):
            for widget in widgets:
                widget.setVisible(need in method.needs)
        self.ui.needsWidget.setVisible(bool(method.needs))
        for widget in (self.ui.deviceLabel, self.ui.deviceSelector):
            widget.setVisible("torch" in method.requires)
        self._update_packages()
        self._update_plan()

    def _on_device_chosen(self, row: int) -> None:
        if self._parameters is not None:
            self._parameters.device = self.ui.deviceSelector.itemData(row)

    def _on_kspace_chosen(self, path: str) -> None:
        if self._parameters is not None:
            self._parameters.kspacePath = path

    def _on_settings_edited(self) -> None:
        remember_settings(self._parameters, self.method.key, self._form.settings())

    def _update_packages(self) -> None:
        missing = packages.missing_for(methods_for(self.task))
        self.ui.packagesWidget.setVisible(bool(missing))
        self.ui.packagesLabel.text = words.packages(missing)

    def _on_install(self) -> None:
        if packages.install(packages.missing_for(methods_for(self.task))):
            self._methods.refill()
            session.close_worker()  # the next one sees the new packages
        self._update_packages()

    # Run

    def _update_plan(self) -> None:
        """Say what Apply would make, or why it cannot."""
        if self.running:
            return
        problem, result = None, None
        if self._parameters is None or self._parameters.inputNode is None:
            problem = _("Select an input sequence first.")
        else:
            try:
                method_parameters = parse_parameters(self.method, self._form.settings())
                source, _notes = scene.describe_sequence(self._parameters.inputNode, **self._corrections())
                result = expected_result(self.method, source, method_parameters)
                if Need.KSPACE in self.method.needs:
                    self._kspace_path()
            except STEnhanceError as error:
                problem = str(error)
        self.ui.memoryLabel.text = words.memory(source, result, free_memory()) if result else "–"
        self.ui.applyButton.enabled = problem is None
        self.ui.previewButton.enabled = problem is None and Need.KSPACE not in self.method.needs
        self.ui.applyButton.toolTip = problem or _("Enhance all frames; the result appears beside the input.")
        self._say(problem or "", bad=False)

    def _prior(self):
        volume = self._parameters.priorVolume if Need.PRIOR in self.method.needs else None
        return volume and scene.read_volume(volume)

    def _kspace_path(self) -> Path | None:
        if Need.KSPACE not in self.method.needs:
            return None
        path = Path(self.ui.kspaceSelector.currentPath)
        if not path.is_file():
            raise STEnhanceError(_("This method works on the measurement: choose its k-space file (.npz)."))
        return path

    def _on_apply_or_cancel(self) -> None:
        if self.running:
            self.run.cancel(keep_partial=self._parameters.keepPartial)
            self.ui.applyButton.enabled = False
            self._say(_("Cancelling…"))
        else:
            self.apply()

    def _poll(self) -> None:
        if self.preview is not None and not self.preview.done:
            self.preview.poll()
            if self.preview.done:
                self._timer.stop()
                self._say(
                    self.preview.error or _("Preview of one frame, over the input."), bad=bool(self.preview.error)
                )
            return
        shown_before = self.run.result
        self.run.poll()
        self.ui.progressBar.maximum = self.run.count
        self.ui.progressBar.value = self.run.finished_frames
        if self.run.result is not None and (self.run.done or shown_before is None):
            self.compare.set_run(scene.find_sequence(self._parameters.inputNode)[0], self.run.result)
        if not self.run.done:
            self._say(words.progress(self.run))
            return
        self._timer.stop()
        self._show_idle()
        self._say(words.outcome(self.run), bad=self.run.error is not None)

    def _show_running(self) -> None:
        self._lock(True)
        self.ui.applyButton.text = _("Cancel")
        self.ui.applyButton.toolTip = _(
            "Stop within a second; the scene is as before, unless finished frames are kept."
        )
        self.ui.progressBar.reset()
        self.ui.progressBar.visible = True
        self._say(_("Starting…"))

    def _show_idle(self) -> None:
        self._lock(False)
        self.ui.applyButton.text = _("Apply")
        self.ui.progressBar.visible = False
        self._update_plan()

    def _lock(self, locked: bool) -> None:
        for section in (self.ui.inputSection, self.ui.methodSection, self.ui.runSection, self.ui.previewButton):
            section.enabled = not locked
        self.ui.applyButton.enabled = True

    def _say(self, text: str, bad: bool = False) -> None:
        self.ui.statusLabel.text = words.bad(text) if bad else html.escape(text)

    def _connect(self) -> None:
        self.ui.inputSelector.connect("currentNodeChanged(vtkMRMLNode*)", self._on_input_changed)
        self.ui.frameDurationSpinBox.connect("valueChanged(double)", self._on_input_changed)
        self.ui.cyclicCheckBox.connect("toggled(bool)", lambda _on: self._update_plan())
        self.ui.methodSelector.connect("currentIndexChanged(int)", self._on_method_chosen)
        self.ui.deviceSelector.connect("currentIndexChanged(int)", self._on_device_chosen)
        self.ui.kspaceSelector.connect("currentPathChanged(QString)", self._on_kspace_chosen)
        self.ui.installButton.connect("clicked(bool)", lambda _on: self._on_install())
        self.ui.applyButton.connect("clicked(bool)", lambda _on: self._on_apply_or_cancel())
        self.ui.previewButton.connect("clicked(bool)", lambda _on: self.show_preview())


def _likely_input() -> Any:
    """The first volume sequence of the scene, to save a click."""
    sequences = slicer.util.getNodesByClass("vtkMRMLSequenceNode")
    return next((node for node in sequences if node.GetDataNodeClassName() == "vtkMRMLScalarVolumeNode"), None)
