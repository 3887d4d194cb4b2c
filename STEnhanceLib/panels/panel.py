"""The panel of a module: input, method, run. What differs between the modules is the task."""

from __future__ import annotations

import logging
from pathlib import Path

import qt
import slicer
import vtk
from slicer.i18n import tr as _
from slicer.util import VTKObservationMixin

from STEnhanceLib import device, scene
from STEnhanceLib.acquisition.kspace_kind import kspace_kind
from STEnhanceLib.enhancing import SceneRun
from STEnhanceLib.errors import STEnhanceError
from STEnhanceLib.methods import Method, Need, Task, methods_for
from STEnhanceLib.methods.run import NOT_FOR_CLINICAL_USE
from STEnhanceLib.origin import Lineage
from STEnhanceLib.panels import packages, plan, session, words
from STEnhanceLib.panels.compare_panel import ComparePanel
from STEnhanceLib.panels.images_only import ImagesOnly
from STEnhanceLib.panels.input_section import (
    forget_corrections_of_another_input,
    kspace_file_of,
    likely_input,
    show_input,
)
from STEnhanceLib.panels.kspace_field import KSpaceField
from STEnhanceLib.panels.kspace_images import KSpaceImages
from STEnhanceLib.panels.memory import free_memory
from STEnhanceLib.panels.method_selector import MethodSelector
from STEnhanceLib.panels.model_card import ModelCards
from STEnhanceLib.panels.parameter_form import ParameterForm
from STEnhanceLib.panels.parameter_node import EnhanceParameterNode, own_settings, remember_settings
from STEnhanceLib.panels.preview import Preview
from STEnhanceLib.panels.run_display import RunDisplay
from STEnhanceLib.panels.time_axis import TimeAxis
from STEnhanceLib.sequence import Grid

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
        self._source: Grid | None = None  # geometry and time of the input, with the user's corrections

        widget = slicer.util.loadUI(str(Path(__file__).with_name("EnhancePanel.ui")))
        layout.addWidget(widget)
        self.widget = widget
        self.ui = slicer.util.childWidgetVariables(widget)
        self.ui.inputSelector.addAttribute("vtkMRMLSequenceNode", "DataNodeClassName", "vtkMRMLScalarVolumeNode")
        self.ui.noticeLabel.text = f"<small>{_(NOT_FOR_CLINICAL_USE)} {_(words.GENERATED)}</small>"
        self._kspace_field = KSpaceField(self.ui.kspaceSelector, self._on_kspace_chosen)
        self._form = ParameterForm(self.ui.parametersWidget.layout(), self._on_settings_edited)
        self._display = RunDisplay(self.ui)
        self._say = self._display.say
        self._time_axis = TimeAxis(
            self.ui.timeAxisWidget,
            self.ui.timeAxisPicture,
            self.ui.timeAxisLabel,
            always=task is Task.TEMPORAL_INTERPOLATION,
        )
        self._images = KSpaceImages(self.ui.kspaceImagesButton, self._take_images, self._say)
        for name, label in zip(device.CHOICES, (_("automatic"), _("CPU"), _("NVIDIA GPU (CUDA)")), strict=True):
            self.ui.deviceSelector.addItem(label, name)
        self._methods = MethodSelector(self.ui.methodSelector, task)
        self._models = ModelCards(self.ui.modelsLabel, self.ui.modelCardBrowser)
        self.compare = ComparePanel(self.ui.comparePlace.layout())
        widget.setMRMLScene(slicer.mrmlScene)
        self._images_only = ImagesOnly(self.ui.inputSelector, self.ui.priorSelector)
        self._connect()
        self._timer = qt.QTimer()
        self._timer.setInterval(POLL_MS)
        self._timer.connect("timeout()", self._poll)
        self._take_up_parameters()

    # Life cycle, called by the module's widget

    def enter(self) -> None:
        """The module is shown."""
        self.compare.enter()
        if self._parameters is None:
            self._take_up_parameters()
        elif self._parameters.inputNode is None:
            self._parameters.inputNode = likely_input()
        self._update_packages()

    def on_scene_start_close(self, caller=None, event=None) -> None:
        """The scene is about to lose its nodes: the run ends now, before its nodes vanish."""
        self.abandon()
        self.compare.on_scene_start_close()
        self.set_parameters(None)

    def on_scene_start_import(self, caller=None, event=None) -> None:
        """Nodes come one by one, and lists of nodes lose their choice: what was chosen is not what they show."""
        self.set_parameters(None)

    def on_scene_ready(self, caller=None, event=None) -> None:
        """The scene is empty, or another one has been taken in: show what was chosen there."""
        self.compare.on_scene_ready()
        self._take_up_parameters()

    def cleanup(self) -> None:
        """The module is reloaded or Slicer quits: nothing of the panel stays behind."""
        self.abandon()
        self.compare.cleanup()
        self.set_parameters(None)
        self.removeObservers()
        self._images_only.stop()
        session.close_idle_worker()

    def exit(self) -> None:
        """Another module is shown: a run at work goes on, preview and comparison go."""
        if self._images.busy:
            self._images.stop()
            self._refresh()
        self.remove_preview()
        self.compare.exit()

    def abandon(self) -> None:
        """Cancel a run at work, and take back what it has published and the preview."""
        self._images.stop()
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

    @property
    def _takes_kspace(self) -> bool:
        return any(Need.KSPACE in method.takes for method in methods_for(self.task))

    def choose(self, method_key: str) -> None:
        """Select a method, as the user does."""
        self._methods.select(method_key)
        self._parameters.method = self.method.key

    def show_preview(self) -> None:
        """Enhance what is on screen only; what is wrong is said in the panel."""
        self.remove_preview()
        try:
            self.preview = Preview(
                session.worker(),
                self._parameters.inputNode,
                self.method,
                self._form.settings(),
                **plan.inputs(self._parameters, self.method),
            )
        except STEnhanceError as error:
            self._say(str(error), bad=True)
            return
        self._say(words.preview(self.preview))
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
                **plan.inputs(self._parameters, self.method),
            )
        except STEnhanceError as error:
            self._say(str(error), bad=True)
            return
        self._display.show_running()
        self._timer.start()

    # Parameter node: the widgets write into it, and the panel shows what it holds

    def _take_up_parameters(self) -> None:
        self.set_parameters(EnhanceParameterNode(self._logic.getParameterNode()))

    def set_parameters(self, parameters: EnhanceParameterNode | None) -> None:
        """Show and observe other choices, or none."""
        if self._parameters is not None:
            self._parameters.disconnectGui(self._gui_tag)
            self.removeObserver(self._parameters, vtk.vtkCommand.ModifiedEvent, self._refresh)
        self._parameters = parameters
        if parameters is None:
            return
        self._gui_tag = parameters.connectGui(self.ui)
        if parameters.inputNode is None:
            parameters.inputNode = likely_input()
        self.addObserver(parameters, vtk.vtkCommand.ModifiedEvent, self._refresh)
        self._form.show(self.method, own_settings(parameters, self.method.key))
        self._show_method()
        self._refresh()

    def _refresh(self, caller=None, event=None) -> None:
        """The choices changed: by the user, by a script, or because a scene was loaded."""
        if self._parameters is None or self.running:
            return
        forget_corrections_of_another_input(self._parameters)
        self._show_choices()
        self._source = show_input(self.ui, self._parameters)
        self._update_plan()

    def _show_choices(self) -> None:
        """Those that Slicer does not bind to a widget by itself."""
        path = self._parameters.kspacePath
        self._methods.offer(Path(path).is_file(), kspace_kind(Path(path)))
        self._images.offer(path if self._takes_kspace else "", kspace_file_of(self._parameters.inputNode))
        if self._parameters.method:
            self._methods.select(self._parameters.method)
        elif self._methods.suggest():
            self._form.show(self.method, own_settings(self._parameters, self.method.key))
            self._show_method()
        self._kspace_field.show(path)
        self.ui.deviceSelector.setCurrentIndex(self.ui.deviceSelector.findData(self._parameters.device))
        settings = own_settings(self._parameters, self.method.key)
        if settings and settings != self._form.settings():
            self._form.show(self.method, settings)

    def _on_cycle_clicked(self, on: bool) -> None:
        self._parameters.cycle = "yes" if on else "no"

    # Method

    def _on_method_chosen(self, _row: int) -> None:
        if self._parameters is None:
            return
        self._form.show(self.method, own_settings(self._parameters, self.method.key))
        self._show_method()
        self._parameters.method = self.method.key

    def _on_method_picked(self, _row: int) -> None:
        """By the user, who may also pick what was suggested: from now on it stays, whatever the input."""
        if self._parameters is not None:
            self._parameters.method = self.method.key

    def _show_method(self) -> None:
        method = self.method
        self.ui.methodSummaryLabel.text = words.method_card(method)
        self.ui.warningLabel.text = words.invention(method)
        self.ui.warningLabel.setVisible(method.generative)
        self._models.show(method)
        for widget in (self.ui.kspaceLabel, self.ui.kspaceSelector):  # it is chosen first, and decides on the methods
            widget.setVisible(self._takes_kspace)
        for widget in (self.ui.needsWidget, self.ui.priorLabel, self.ui.priorSelector):
            widget.setVisible(Need.PRIOR in method.takes)
        optional = Need.PRIOR in method.uses
        self.ui.priorLabel.text = _("Planning scan (optional):") if optional else _("Planning scan:")
        for widget in (self.ui.deviceLabel, self.ui.deviceSelector):
            widget.setVisible("torch" in method.requires or bool(method.models))
        self._update_packages()

    def _on_device_chosen(self, row: int) -> None:
        if self._parameters is not None:
            self._parameters.device = self.ui.deviceSelector.itemData(row)

    def _on_kspace_chosen(self, path: str) -> None:
        if self._parameters is not None and self._parameters.kspacePath != path:
            self._parameters.kspacePath = path

    def _take_images(self, node) -> None:
        self._parameters.inputNode = node

    def _on_settings_edited(self) -> None:
        remember_settings(self._parameters, self.method.key, self._form.settings())

    def _update_packages(self) -> None:
        missing = packages.missing_for(methods_for(self.task))
        self.ui.packagesWidget.setVisible(bool(missing))
        self.ui.packagesLabel.text = words.packages(missing)

    def _on_install(self) -> None:
        if packages.install(packages.missing_for(methods_for(self.task))):
            self._methods.refill()
            session.close_idle_worker()  # the next one sees the new packages
        self._update_packages()

    # Run

    def _update_plan(self) -> None:
        """Say what Apply would make, or why it cannot."""
        problem, planned = None, None
        try:
            planned = plan.planned(self._parameters, self.method, self._form.settings(), self._source)
        except STEnhanceError as error:
            problem = str(error)
        self.ui.memoryLabel.text = words.memory(self._source, planned, free_memory()) if planned else "–"
        self.ui.applyButton.enabled = problem is None
        self.ui.previewButton.enabled = problem is None
        self.ui.applyButton.toolTip = problem or _("Enhance all frames; the result appears beside the input.")
        result, measured = (planned.grid, self._measured(planned.grid)) if planned else (None, None)
        said = self._time_axis.show(self._source, result, problem, measured)
        self._say("" if said else problem or "")

    def _measured(self, result: Grid):
        """(T,) which frames of a result will be measured ones."""
        lineage = Lineage(scene.frame_origins(self._parameters.inputNode), self._source.times_ms, result)
        return lineage.measured & self._form.settings().get("keep_measured", True)

    def _on_apply_or_cancel(self) -> None:
        if self.running:
            self.run.cancel(keep_partial=self._parameters.keepPartial)
            self.ui.applyButton.enabled = False
            self._say(_("Cancelling…"))
        else:
            self.apply()

    def _poll(self) -> None:
        if self.running:
            self._poll_run()
        elif self.preview is not None and not self.preview.done:
            self.preview.poll()
            self._say(words.preview(self.preview), bad=self.preview.error is not None)
        else:
            self._timer.stop()

    def _poll_run(self) -> None:
        was_shown = self.run.result is not None
        try:
            self.run.poll()
        finally:  # what nobody foresaw goes to the log, and the panel says that the run has failed all the same
            self._show_run(was_shown)

    def _show_run(self, was_shown: bool) -> None:
        if self.run.done:
            self._show_idle()
            self._say(words.outcome(self.run), bad=self.run.error is not None)
        else:
            self._display.show_progress(self.run)
        if self.run.result is not None and not was_shown and self.run.publication.made_browser:
            slicer.modules.sequences.showSequenceBrowser(self.run.publication.browser)  # which nobody has seen yet
        if self.run.result is not None and (self.run.done or not was_shown) and self.run.input.GetScene() is not None:
            self.compare.set_run(self.run.input, self.run.result)

    def _show_idle(self) -> None:
        self._display.show_idle()
        self._refresh()

    def _connect(self) -> None:
        self.ui.cyclicCheckBox.connect("clicked(bool)", self._on_cycle_clicked)
        self.ui.methodSelector.connect("currentIndexChanged(int)", self._on_method_chosen)
        self.ui.methodSelector.connect("activated(int)", self._on_method_picked)
        self.ui.deviceSelector.connect("currentIndexChanged(int)", self._on_device_chosen)
        self.ui.installButton.connect("clicked(bool)", lambda _on: self._on_install())
        self.ui.applyButton.connect("clicked(bool)", lambda _on: self._on_apply_or_cancel())
        self.ui.previewButton.connect("clicked(bool)", lambda _on: self.show_preview())
