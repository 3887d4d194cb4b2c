"""The section "Compare" of a panel: before, after, reference and difference in views of their own, and in numbers."""

from __future__ import annotations

import html
import logging
from collections.abc import Generator
from pathlib import Path

import qt
import slicer
from slicer.i18n import tr as _

from STEnhanceLib.comparison import shown_volume
from STEnhanceLib.errors import STEnhanceError
from STEnhanceLib.panels import generated_labels, score_nodes, words
from STEnhanceLib.panels.companions import Companions
from STEnhanceLib.panels.frame_label import FrameLabel
from STEnhanceLib.panels.images_only import ImagesOnly
from STEnhanceLib.panels.live_comparison import PANES, LiveComparison, Mode
from STEnhanceLib.panels.measuring import Measuring
from STEnhanceLib.panels.profile_line import ProfileLine
from STEnhanceLib.panels.steps import Steps

logger = logging.getLogger(__name__)

_AMOUNT_LABELS = {Mode.WIPE: "Wipe position:", Mode.FLICKER: "Flicker speed:", Mode.FADE: "Fade to After:"}


class ComparePanel:
    """The section and all that it shows. The user's views, browser and selected frame stay as they are.

    Args:
        layout: of the widget that the section is added to.

    Attributes:
        ui: the widgets of `ComparePanel.ui` by name.
        views: the comparison on screen.
    """

    def __init__(self, layout):
        widget = slicer.util.loadUI(str(Path(__file__).with_name("ComparePanel.ui")))
        layout.addWidget(widget)
        self.widget = widget
        self.ui = slicer.util.childWidgetVariables(widget)
        self.views = LiveComparison(on_left=self._on_views_left)
        self._companions = Companions()
        self._arranging = Steps(self._say_bad)
        self._measuring = Measuring(self._on_measured, self._say_bad)
        self._profile = ProfileLine(self._on_profile)
        self._frame_label = FrameLabel(self._on_frame_text)
        generated_labels.start()
        self._chart = None
        self._entered = True
        for selector in self._selectors:
            selector.addAttribute("vtkMRMLSequenceNode", "DataNodeClassName", "vtkMRMLScalarVolumeNode")
        widget.setMRMLScene(slicer.mrmlScene)
        self._images_only = ImagesOnly(*self._selectors)
        for selector in self._selectors:
            selector.setCurrentNode(None)
        self.ui.profileWidget.setVisible(False)
        self.ui.frameLabel.setVisible(False)
        self.ui.legendLabel.setVisible(False)
        self._connect()
        self._on_choice()

    # Life cycle, called by the panel around

    def set_run(self, before_node, after_node) -> None:
        """A run has brought a result, or more frames of it: offer it for comparison, or compare what is new."""
        self._arranging.stop()
        self._companions.remove()
        for selector, node in ((self.ui.beforeSelector, before_node), (self.ui.afterSelector, after_node)):
            if selector.currentNode() is not node:
                selector.setCurrentNode(node)
        self._on_choice()

    def enter(self) -> None:
        """The module is shown, and says again which frame is on screen."""
        self._entered = True
        self._companions.remove_leftovers()
        self._frame_label.follow(self.after)

    def exit(self) -> None:
        """The module is left: the user's views come back and all helpers go. Metrics stay, they are a result."""
        self.ui.compareButton.checked = False
        self.ui.profileButton.checked = False
        self._measuring.stop()
        self._companions.remove()
        self._entered = False
        self._frame_label.stop()

    def on_scene_start_close(self) -> None:
        """The scene is about to lose its nodes; the module stays as it is, shown or not."""
        entered = self._entered
        self.exit()
        self._entered, self._chart = entered, None

    def on_scene_ready(self) -> None:
        """Another scene has been taken in."""
        if self._entered:  # else another module may compare
            self._companions.remove_leftovers()

    def cleanup(self) -> None:
        """The module is reloaded or Slicer quits."""
        self.exit()
        self.widget.setMRMLScene(None)  # a reload only hides widgets: their signals would still lead here
        self._images_only.stop()

    # What self tests and scripts use

    @property
    def before(self):
        """The sequence node before."""
        return self.ui.beforeSelector.currentNode()

    @property
    def after(self):
        """The sequence node after."""
        return self.ui.afterSelector.currentNode()

    @property
    def reference(self):
        """The sequence node of the truth, or None."""
        return self.ui.referenceSelector.currentNode()

    @property
    def mode(self) -> Mode:
        """How before and after are compared."""
        return Mode(self.ui.modeSelector.currentIndex)

    @property
    def busy(self) -> bool:
        """Something is still being prepared, measured or written."""
        return self._arranging.busy or self._measuring.busy

    def measure(self) -> None:
        """Score before and after against the reference; tables and a chart appear in the scene."""
        self._say(_("Measuring…"))
        self._measuring.start(self.before, self.after, self.reference)

    def save_report(self, folder: str) -> None:
        """Write the HTML page into a folder, in a process of its own."""
        self._say(_("Writing the report…"))
        self._measuring.start(self.before, self.after, self.reference, report=Path(folder))

    # Choices

    @property
    def _selectors(self):
        return self.ui.beforeSelector, self.ui.afterSelector, self.ui.referenceSelector

    def _on_choice(self) -> None:
        """Another sequence: what belongs to the former choice ends, what is on is shown anew."""
        two = self.before is not None and self.after is not None and self.before is not self.after
        self._measuring.stop()
        self._arranging.stop()
        self._chart = None
        self.ui.metricsLabel.text = ""
        self.ui.metricsLabel.setVisible(False)
        for widget in (self.ui.compareButton, self.ui.profileButton, self.ui.reportButton):
            widget.enabled = two
        self.ui.metricsButton.enabled = two and self.reference is not None
        self.ui.referenceCheckBox.enabled = self.reference is not None
        self._say("" if two else _("Choose two sequences to compare; a finished run chooses them."))
        if not two:
            self.ui.compareButton.checked = self.ui.profileButton.checked = False
        if not self.ui.compareButton.checked:
            self._companions.remove()
        self._frame_label.follow(self.after if self._entered else None)
        self._on_view_choice()
        self._profile.show(self._compared(), self.after)

    def _compared(self) -> dict:
        named = {"before": self.before, "after": self.after, "reference": self.reference}
        return {name: node for name, node in named.items() if node is not None}

    # Views

    def _on_compare(self, on: bool) -> None:
        if on and slicer.app.layoutManager() is None:
            self._say_bad(_("There are no views: Slicer runs without its main window."))
            self.ui.compareButton.checked = False
        elif on:
            self._on_view_choice()
        else:
            self._arranging.stop()
            self.views.leave()
            self._companions.remove()
            self.ui.legendLabel.text = ""
        self.ui.legendLabel.setVisible(on)

    def _on_views_left(self) -> None:
        self.ui.compareButton.checked = False

    def _on_view_choice(self) -> None:
        """Show what is chosen; the views come at once, what has to be computed for them when it is there."""
        mode = self.mode
        for widget in (self.ui.amountSliderLabel, self.ui.amountSlider):
            widget.setVisible(mode != Mode.SIDE_BY_SIDE)
        self.ui.amountSliderLabel.text = _(_AMOUNT_LABELS.get(mode, ""))
        if self.ui.compareButton.checked:
            self._arranging.start(self._arrange())

    def _arrange(self) -> Generator[None, None, None]:
        before, after, reference = self.before, self.after, self.reference
        self.views.amount = self.ui.amountSlider.value / 100
        if not self.ui.differenceCheckBox.checked:
            self._companions.remove_difference()
            yield
        try:
            result_volume = shown_volume(after)
            if self._companions.beside(before, after) is not None:
                self._show(result_volume)
            yield from self._companions.bring_beside(before, after)
            if reference is not None and self.ui.referenceCheckBox.checked:
                yield from self._companions.bring_beside(reference, after)
            self._show(result_volume)
            if self.ui.differenceCheckBox.checked:
                self._say(_("Computing the difference…"))
                base = before if reference is None else reference
                yield from self._companions.make_difference(after, base, same_moments=reference is not None)
                self._show(result_volume)
            self._say("")
        except STEnhanceError:
            if not self.views.active:
                self.ui.compareButton.checked = False
            raise

    def _show(self, result_volume) -> None:
        base = self.before if self.reference is None else self.reference
        volumes = {"before": self._companions.beside(self.before, self.after), "after": result_volume}
        if self.reference is not None and self.ui.referenceCheckBox.checked:
            volumes["reference"] = self._companions.beside(self.reference, self.after)
        if self.ui.differenceCheckBox.checked:
            volumes["difference"] = self._companions.difference(self.after, base)
        self.views.show(volumes, self.mode, self._chart)
        names = {name: node.GetName() for name, node in self._compared().items()}
        names["difference"] = f"{self.after.GetName()} − {base.GetName()}"
        sides = {"before": _("right of the line"), "after": _("left of the line")} if self.mode == Mode.WIPE else {}
        self.ui.legendLabel.text = "<br>".join(
            f"<b>{PANES[name][1]}</b>&nbsp; {html.escape(names[name])}" + (f", {sides[name]}" if name in sides else "")
            for name in PANES
            if volumes.get(name) is not None
        )

    # Numbers

    def _on_measured(self, answer: dict) -> None:
        if answer["page"]:
            self._say(_("The report is in {page}").format(page=answer["page"]))
            return
        _summary, _frames, self._chart = score_nodes.publish(answer, self.before, self.after)
        self.ui.metricsLabel.text = score_nodes.as_html(answer)
        self.ui.metricsLabel.setVisible(True)
        self._say(
            _("Scored {count} of the {all} frames of the reference; tables and plot are in the scene.").format(
                count=len(answer["times_ms"]), all=self.reference.GetNumberOfDataNodes()
            )
        )
        if self.views.active:
            self._show(shown_volume(self.after))

    def _on_report(self) -> None:
        folder = qt.QFileDialog.getExistingDirectory(self.widget, _("Folder for the report"))
        if folder:
            self.save_report(folder)

    # Profile

    def _on_profile_button(self, on: bool) -> None:
        self.ui.profileWidget.setVisible(on)
        if on:
            self._profile.start(self._compared(), self.after)
        else:
            self._profile.stop()

    def _on_profile(self, text: str) -> None:
        self.ui.profileLabel.text = text

    # Frame

    def _on_frame_text(self, text: str) -> None:
        self.ui.frameLabel.text = text
        self.ui.frameLabel.setVisible(bool(text))

    def _say(self, text: str) -> None:
        self.ui.compareStatusLabel.text = html.escape(text)

    def _say_bad(self, text: str) -> None:
        self.ui.compareStatusLabel.text = words.bad(text)

    def _connect(self) -> None:
        for selector in self._selectors:
            selector.connect("currentNodeChanged(vtkMRMLNode*)", lambda _node: self._on_choice())
        self.ui.compareButton.connect("toggled(bool)", self._on_compare)
        self.ui.modeSelector.connect("currentIndexChanged(int)", lambda _index: self._on_view_choice())
        for box in (self.ui.referenceCheckBox, self.ui.differenceCheckBox):
            box.connect("toggled(bool)", lambda _on: self._on_view_choice())
        self.ui.amountSlider.connect("valueChanged(double)", lambda value: setattr(self.views, "amount", value / 100))
        self.ui.metricsButton.connect("clicked(bool)", lambda _on: self.measure())
        self.ui.profileButton.connect("toggled(bool)", self._on_profile_button)
        self.ui.drawLineButton.connect("clicked(bool)", lambda _on: self._profile.draw())
        self.ui.reportButton.connect("clicked(bool)", lambda _on: self._on_report())
