"""Whoever looks at a generated frame sees that it is one: in every view and in the toolbar, whatever module is open."""

from __future__ import annotations

from collections.abc import Iterator

import slicer
from slicer.util import VTKObservationMixin
from vtkmodules.util.misc import calldata_type
from vtkmodules.vtkCommonCore import VTK_OBJECT

from STEnhanceLib.origin import Origin
from STEnhanceLib.panels import words
from STEnhanceLib.panels.frame_label import origin_on_screen
from STEnhanceLib.panels.time_label import TimeLabel

UPPER_EDGE = 7  # of a vtkCornerAnnotation; Slicer writes into its corners, which are 0 to 3
SHOWS = "stenhanceShows"  # node reference of a helper volume: the volume of which it shows a part

_labels: GeneratedLabels | None = None


def start() -> None:
    """Label generated frames of this scene from now on; once is enough, more often does no harm."""
    global _labels  # noqa: PLW0603  (one for all modules, like slicer.mrmlScene)
    if _labels is None or _labels.scene is not slicer.mrmlScene:
        stop()
        _labels = GeneratedLabels(slicer.mrmlScene)
        slicer.app.connect("aboutToQuit()", stop)


def stop() -> None:
    """Give views and toolbar back; before the library is loaded anew, or Slicer quits."""
    global _labels  # noqa: PLW0603
    if _labels is not None:
        slicer.app.disconnect("aboutToQuit()", stop)
        _labels.stop()
        _labels = None


class GeneratedLabels(VTKObservationMixin):
    """Follows every sequence browser and every slice view of a scene.

    Args:
        scene: the `vtkMRMLScene`.
    """

    def __init__(self, scene):
        VTKObservationMixin.__init__(self)
        self.scene = scene
        self._said: dict[str, str] = {}  # names of views that say it, to what their upper edge said before
        self._in_toolbar: dict = {}  # browsers to their label
        self.addObserver(scene, scene.NodeAddedEvent, self._on_node_added)
        self.addObserver(scene, scene.NodeRemovedEvent, self._on_node_removed)
        for event in (scene.EndImportEvent, scene.EndRestoreEvent, scene.EndCloseEvent):
            self.addObserver(scene, event, self._on_another_scene)
        for class_name in ("vtkMRMLSequenceBrowserNode", "vtkMRMLSliceCompositeNode"):
            for node in slicer.util.getNodesByClass(class_name, scene):
                self._follow(node)
        self.update()

    def update(self, _caller=None, _event=None) -> None:
        """Another frame is on screen, or views show something else."""
        if self.scene.IsClosing() or self.scene.IsImporting():
            return
        manager = slicer.app.layoutManager()
        if manager is None:
            return
        texts = {}
        for composite in slicer.util.getNodesByClass("vtkMRMLSliceCompositeNode", self.scene):
            origin = next(self._generated_in(composite), None)
            if origin is not None:
                texts[composite.GetLayoutName()] = words.generated_by(origin.method)
        for name in {*texts, *self._said}:
            self._write(manager.sliceWidget(name), name, texts.get(name))

    def stop(self) -> None:
        """Give views and toolbar back as they were."""
        self.removeObservers()
        for label in self._in_toolbar.values():
            label.stop()
        self._in_toolbar.clear()
        manager = slicer.app.layoutManager()
        for name in list(self._said) if manager is not None else ():
            self._write(manager.sliceWidget(name), name, None)
        self._said.clear()

    def _generated_in(self, composite) -> Iterator[Origin]:
        """Of the volumes of a view, from the topmost one, those that stand at a generated frame."""
        for volume_id in (composite.GetForegroundVolumeID(), composite.GetBackgroundVolumeID()):
            volume = self.scene.GetNodeByID(volume_id) if volume_id else None
            volume = volume and (volume.GetNodeReference(SHOWS) or volume)
            for browser in self._in_toolbar if volume is not None else ():
                sequence = browser.GetSequenceNode(volume)
                origin = origin_on_screen(sequence, browser) if sequence is not None else None
                if origin is not None and origin.generated:
                    yield origin

    def _write(self, widget, name: str, text: str | None) -> None:
        """Into the upper edge of a view; None brings back what it said before."""
        if widget is None:  # the view is gone
            self._said.pop(name, None)
            return
        corners = widget.sliceView().cornerAnnotation()
        now = corners.GetText(UPPER_EDGE) or ""
        if text is None:
            text = self._said.pop(name)
        else:
            self._said.setdefault(name, now)
        if text != now:
            corners.SetText(UPPER_EDGE, text)
            widget.sliceView().scheduleRender()

    def _follow(self, node) -> None:
        if node.IsA("vtkMRMLSequenceBrowserNode") and node not in self._in_toolbar:
            self._in_toolbar[node] = TimeLabel(node)
        elif not node.IsA("vtkMRMLSliceCompositeNode"):
            return
        if not self.hasObserver(node, "ModifiedEvent", self.update):
            self.addObserver(node, "ModifiedEvent", self.update)

    @calldata_type(VTK_OBJECT)
    def _on_node_added(self, _scene, _event, node) -> None:
        self._follow(node)

    @calldata_type(VTK_OBJECT)
    def _on_node_removed(self, _scene, _event, node) -> None:
        label = self._in_toolbar.pop(node, None)
        if label is not None:
            label.stop()
        if self.hasObserver(node, "ModifiedEvent", self.update):
            self.removeObserver(node, "ModifiedEvent", self.update)
        self.update()

    def _on_another_scene(self, _scene, _event) -> None:
        for browser in [browser for browser in self._in_toolbar if browser.GetScene() is None]:
            self._in_toolbar.pop(browser).stop()
        for label in self._in_toolbar.values():
            label.say()
        self.update()
