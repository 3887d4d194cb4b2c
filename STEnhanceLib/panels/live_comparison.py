"""Compared sequences in views of their own: side by side, or as wipe, flicker or fade, while the browser plays."""

from __future__ import annotations

import enum
from collections.abc import Callable, Mapping
from xml.sax.saxutils import quoteattr

import qt
import slicer
from slicer.util import VTKObservationMixin

from STEnhanceLib.comparison import show_linked
from STEnhanceLib.panels.wipe import Wipe

FIRST_LAYOUT = 511  # the numbers up to 100 are Slicer's own; one for every set of panes, see `_layout_number`
VIEW_GROUP = 511
SETTLE_MS = 50  # until the views of a new layout have their size
SLOWEST_FLICKER_HZ, FASTEST_FLICKER_HZ = 1.0, 5.0

# View names, and labels: Slicer cuts labels after two letters.
PANES = {"before": ("STEnhanceBefore", "B"), "after": ("STEnhanceAfter", "A"),
         "reference": ("STEnhanceReference", "R"), "difference": ("STEnhanceDifference", "D")}  # fmt: skip
PLOT = "STEnhancePlot"


class Mode(enum.IntEnum):
    """How before and after are compared; all but the first lay the one over the other in a single pane."""

    SIDE_BY_SIDE = 0
    WIPE = 1
    FLICKER = 2
    FADE = 3


class LiveComparison(VTKObservationMixin):
    """The layout with the compared panes. It never touches the views of the user, nor the selected frame.

    Args:
        on_left: called when the comparison ended because the user chose another layout.

    Attributes:
        panes: what is shown, name of `PANES` to `vtkMRMLSliceNode`; empty when not active.
    """

    def __init__(self, on_left: Callable[[], None] = lambda: None):
        VTKObservationMixin.__init__(self)
        self.panes = {}
        self._on_left = on_left
        self._mode, self._amount = Mode.SIDE_BY_SIDE, 0.5
        self._volumes: dict = {}
        self._number = self._user_layout = None
        self._user_maximized: list = []
        self._slice_offset = None
        self._switching = False
        self._wipe: Wipe | None = None
        self._flicker = qt.QTimer()
        self._flicker.connect("timeout()", self._swap)
        self._settle = qt.QTimer()
        self._settle.setSingleShot(True)
        self._settle.setInterval(SETTLE_MS)
        self._settle.connect("timeout()", self._fit)

    @property
    def active(self) -> bool:
        """The layout of the comparison is on."""
        return self._number is not None

    def show(self, volumes: Mapping[str, object], mode: Mode = Mode.SIDE_BY_SIDE, plot_chart=None) -> None:
        """Enter the comparison, or change what it shows.

        Args:
            volumes: names of `PANES` to the volumes that show the sequences; `before` and `after` at least.
            mode: how the two are compared.
            plot_chart: a `vtkMRMLPlotChartNode` to show below; None for no plot.
        """
        self._volumes = {name: volumes[name] for name in PANES if volumes.get(name) is not None}
        self._mode = mode
        names = [name for name in self._volumes if mode == Mode.SIDE_BY_SIDE or name != "after"]
        if self.panes:
            self._slice_offset = next(iter(self.panes.values())).GetSliceOffset()
        self._switch_layout(_layout_number(names, plot_chart is not None), _description(names, plot_chart is not None))
        scene = slicer.mrmlScene
        self.panes = {name: scene.GetSingletonNode(PANES[name][0], "vtkMRMLSliceNode") for name in names}
        for node in self.panes.values():
            composite = self._composite(node)
            for own in (node, composite):
                own.SetSaveWithScene(False)
            composite.SetDoPropagateVolumeSelection(False)
            # Linked views hand their volumes on whenever a selector of one refreshes, as it does while playing.
            flags = composite.BackgroundVolumeFlag | composite.ForegroundVolumeFlag | composite.LabelVolumeFlag
            composite.SetInteractionFlagsModifier(0x7FFFFFFF & ~flags)
        if plot_chart is not None:
            plot = scene.GetSingletonNode(PLOT, "vtkMRMLPlotViewNode")
            plot.SetSaveWithScene(False)
            plot.SetDoPropagatePlotChartSelection(False)
            plot.SetPlotChartNodeID(plot_chart.GetID())
        self._fit()
        self._settle.start()

    @property
    def amount(self) -> float:
        """0 … 1: where the line of the wipe is, how opaque the result is in a fade, how fast the flicker."""
        return self._amount

    @amount.setter
    def amount(self, amount: float) -> None:
        self._amount = amount
        self._apply_amount()

    def leave(self) -> None:
        """Go back to the layout and the maximized views of the user, and remove all that helped."""
        if not self.active:
            return
        layout = _layout_node()
        users_choice = layout.GetViewArrangement() != self._number
        self._end_overlay()
        self._settle.stop()
        self.removeObservers()
        layout.SetSaveWithScene(True)
        if not users_choice:
            layout.SetViewArrangement(self._user_layout)
            for view in self._user_maximized:
                layout.AddMaximizedViewNode(view)
        # Slicer keeps the views of every layout it has shown; empty and unlinked they cost nothing.
        for name, _label in PANES.values():
            node = slicer.mrmlScene.GetSingletonNode(name, "vtkMRMLSliceNode")
            if node is not None:
                composite = self._composite(node)
                composite.SetLinkedControl(False)
                composite.SetHotLinkedControl(False)
                composite.SetBackgroundVolumeID(None)
                composite.SetForegroundVolumeID(None)
        plot = slicer.mrmlScene.GetSingletonNode(PLOT, "vtkMRMLPlotViewNode")
        if plot is not None:
            plot.SetPlotChartNodeID(None)
        self.panes, self._volumes = {}, {}
        self._number = self._user_layout = self._slice_offset = None
        self._user_maximized = []

    def _switch_layout(self, number: int, description: str) -> None:
        layout = _layout_node()
        self._switching = True
        if not self.active:
            self._user_layout = layout.GetViewArrangement()
            self._user_maximized = [
                layout.GetMaximizedViewNode(n) for n in range(layout.GetNumberOfMaximizedViewNodes())
            ]
            layout.RemoveAllMaximizedViewNodes()
            self.addObserver(layout, "ModifiedEvent", self._on_layout_modified)
            # A scene file keeps the number of a layout without its description: with ours, it would open empty.
            layout.SetSaveWithScene(False)
        if not layout.IsLayoutDescription(number):
            layout.AddLayoutDescription(number, description)
        self._number = number
        layout.SetViewArrangement(number)
        self._switching = False

    def _on_layout_modified(self, layout, _event) -> None:
        if not self._switching and layout.GetViewArrangement() != self._number:
            self.leave()
            self._on_left()

    def _fit(self) -> None:
        """Show the volumes in the plane of the acquired slices, the whole image in view, at the slice as before."""
        self._end_overlay()
        logics = [_logic(node) for node in self.panes.values()]
        show_linked(logics, [self._volumes[name] for name in self.panes])
        if self._slice_offset is not None:
            for logic in logics:
                logic.SetSliceOffset(self._slice_offset)
        self._begin_overlay()

    def _begin_overlay(self) -> None:
        composite = self._composite(self.panes["before"])
        composite.SetForegroundOpacity(1.0)
        composite.SetCompositing(composite.Alpha)
        if self._mode == Mode.WIPE:
            self._wipe = Wipe(self._volumes["after"], self.panes["before"])
            composite.SetForegroundVolumeID(self._wipe.volume.GetID())
        elif self._mode != Mode.SIDE_BY_SIDE:
            composite.SetForegroundVolumeID(self._volumes["after"].GetID())
        if self._mode == Mode.FLICKER:
            self._flicker.start()
        self._apply_amount()

    def _end_overlay(self) -> None:
        self._flicker.stop()
        if self._wipe is not None:
            self._wipe.remove()
            self._wipe = None

    def _apply_amount(self) -> None:
        if self._wipe is not None:
            self._wipe.position = self._amount
        elif self._mode == Mode.FADE and self.panes:
            self._composite(self.panes["before"]).SetForegroundOpacity(self._amount)
        rate_hz = SLOWEST_FLICKER_HZ + self._amount * (FASTEST_FLICKER_HZ - SLOWEST_FLICKER_HZ)
        self._flicker.setInterval(round(1000 / rate_hz))

    def _swap(self) -> None:
        composite = self._composite(self.panes["before"])
        composite.SetForegroundOpacity(0.0 if composite.GetForegroundOpacity() else 1.0)

    @staticmethod
    def _composite(slice_node):
        return _logic(slice_node).GetSliceCompositeNode()


def _logic(slice_node):
    return slicer.app.applicationLogic().GetSliceLogic(slice_node)


def _layout_node():
    return slicer.app.layoutManager().layoutLogic().GetLayoutNode()


def _layout_number(names: list[str], plot: bool) -> int:
    shown = ("after" in names, "reference" in names, "difference" in names, plot)
    return FIRST_LAYOUT + sum(1 << n for n, is_shown in enumerate(shown) if is_shown)


def _description(names: list[str], plot: bool) -> str:
    views = [_view("vtkMRMLSliceNode", *PANES[name]) for name in names]
    rows = [views] if len(views) < 4 else [views[:2], views[2:]]
    described = [_box("horizontal", row) for row in rows]
    if plot:
        described = [_box("vertical", described), _view("vtkMRMLPlotViewNode", PLOT, "P")]
        return _box("vertical", described, sizes=(700, 300))
    return _box("vertical", described)


def _box(direction: str, contents: list[str], sizes: tuple[int, ...] = ()) -> str:
    shares = [f' splitSize="{size}"' for size in sizes] or [""] * len(contents)
    items = "".join(f"<item{share}>{content}</item>" for share, content in zip(shares, contents, strict=True))
    return f'<layout type="{direction}"' + (' split="true"' if sizes else "") + f">{items}</layout>"


def _view(class_name: str, name: str, label: str) -> str:
    properties = {"viewlabel": label, "viewgroup": VIEW_GROUP}
    if class_name == "vtkMRMLSliceNode":
        properties["orientation"] = "Axial"
    inner = "".join(f'<property name="{key}" action="default">{value}</property>' for key, value in properties.items())
    return f"<view class={quoteattr(class_name)} singletontag={quoteattr(name)}>{inner}</view>"
