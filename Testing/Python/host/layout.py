"""The layout manager and its slice views, which paint the image of their slice logic: no OpenGL, no markups."""

from __future__ import annotations

from xml.etree import ElementTree

import numpy as np
import qt
import slicer
import vtk
from PySide6.QtCore import Property, Signal
from vtk.util import numpy_support


class qMRMLSliceView(qt.QWidget):
    """The image, and the texts of the corner annotation over it, in its corners and at its edges.

    With `paints_at_once` it is painted when what it shows changes, as in Slicer, not when the event loop comes to it.
    """

    paints_at_once = False  # all views; most tests would wait for pictures that nobody looks at
    renders = 0  # of all views, at once

    def __init__(self, parent, logic):
        super().__init__(parent)
        self._logic = logic
        self._tag = logic.AddObserver("ModifiedEvent", lambda *_: self._render())
        self._corners = vtk.vtkCornerAnnotation()
        self.setMinimumSize(64, 64)
        self.setSizePolicy(qt.QSizePolicy.Ignored, qt.QSizePolicy.Ignored)

    def stop(self) -> None:
        """The scene goes away."""
        self._logic.RemoveObserver(self._tag)

    def _render(self) -> None:
        scene = self._logic.GetMRMLScene()
        if (
            self.paints_at_once
            and self.isVisible()
            and scene is not None
            and not (scene.IsClosing() or scene.IsImporting())
        ):
            type(self).renders += 1
            self.repaint()

    def cornerAnnotation(self):
        return self._corners

    def mrmlSliceNode(self):
        return self._logic.GetSliceNode()

    def scheduleRender(self):
        self.update()

    forceRender = scheduleRender

    def resizeEvent(self, event):
        self.mrmlSliceNode().SetDimensions(max(event.size().width(), 1), max(event.size().height(), 1), 1)

    def paintEvent(self, _event):
        painter = qt.QPainter(self)
        painter.fillRect(self.rect, qt.QColor("black"))
        pixels = self._pixels()
        if pixels is not None:
            rows, columns, _ = pixels.shape
            image = qt.QImage(pixels.data, columns, rows, 4 * columns, qt.QImage.Format_RGBA8888)
            painter.drawImage(0, 0, image)
        painter.setPen(qt.QColor("yellow"))
        align, area = qt.Qt, self.rect.adjusted(6, 4, -6, -4)
        sides = (align.AlignBottom | align.AlignLeft, align.AlignBottom | align.AlignRight,
                 align.AlignTop | align.AlignLeft, align.AlignTop | align.AlignRight,
                 align.AlignBottom | align.AlignHCenter, align.AlignRight | align.AlignVCenter,
                 align.AlignLeft | align.AlignVCenter, align.AlignTop | align.AlignHCenter)  # fmt: skip
        for corner, side in enumerate(sides):
            painter.drawText(area, side, self._corners.GetText(corner) or "")
        painter.end()

    def _pixels(self) -> np.ndarray | None:
        connection = self._logic.GetImageDataConnection()
        if connection is None:
            return None
        connection.GetProducer().Update()
        image = connection.GetProducer().GetOutputDataObject(connection.GetIndex())
        columns, rows, _ = image.GetDimensions()
        if columns * rows <= 0 or image.GetPointData().GetScalars() is None:
            return None
        scalars = numpy_support.vtk_to_numpy(image.GetPointData().GetScalars()).reshape(rows, columns, -1)
        pixels = np.full((rows, columns, 4), 255, np.uint8)
        pixels[..., : scalars.shape[2]] = scalars[::-1]
        return pixels


class qMRMLSliceWidget(qt.QWidget):
    """A slice view under a strip with its name."""

    def __init__(self, logic):
        super().__init__()
        self._logic = logic
        self._bar, self._view = qt.QLabel(logic.GetSliceNode().GetLayoutLabel(), self), qMRMLSliceView(self, logic)
        column = qt.QVBoxLayout(self)
        column.setContentsMargins(0, 0, 0, 0)
        column.setSpacing(0)
        column.addWidget(self._bar)
        column.addWidget(self._view, 1)

    def sliceLogic(self):
        return self._logic

    def mrmlSliceNode(self):
        return self._logic.GetSliceNode()

    def mrmlSliceCompositeNode(self):
        return self._logic.GetSliceCompositeNode()

    def sliceView(self):
        return self._view

    def sliceController(self):
        return self

    def fitSliceToBackground(self):
        self._logic.StartSliceNodeInteraction(slicer.vtkMRMLSliceNode.ResetFieldOfViewFlag)
        self._logic.FitSliceToBackground()
        self._logic.EndSliceNodeInteraction()


class qSlicerLayoutManager(qt.QObject):
    """Shows the views of the current layout in `viewport()`."""

    layoutChanged = Signal(int)

    def __init__(self, scene, application_logic, layout_logic):
        super().__init__()
        self._scene, self._application_logic, self._layout_logic = scene, application_logic, layout_logic
        self._viewport, self._widgets, self._shown = qt.QWidget(), {}, None
        qt.QVBoxLayout(self._viewport).setContentsMargins(0, 0, 0, 0)
        self._viewport.resize(960, 540)
        self._node = scene.GetFirstNodeByClass("vtkMRMLLayoutNode")
        self._tag = self._node.AddObserver("ModifiedEvent", lambda *_: self._show())

    def close(self) -> None:
        """The scene goes away."""
        self._node.RemoveObserver(self._tag)
        for widget in self._widgets.values():
            widget.sliceView().stop()
        self._viewport.deleteLater()

    def viewport(self):
        return self._viewport

    def layoutLogic(self):
        return self._layout_logic

    def mrmlScene(self):
        return self._scene

    def setLayout(self, number: int) -> None:
        known = self._node.IsLayoutDescription(number)
        self._node.SetViewArrangement(number if known else slicer.vtkMRMLLayoutNode.SlicerLayoutConventionalView)

    layout = Property(int, lambda self: self._node.GetViewArrangement(), setLayout)
    threeDViewCount = Property(int, lambda self: self._count("vtkMRMLViewNode"))
    tableViewCount = Property(int, lambda self: self._count("vtkMRMLTableViewNode"))
    plotViewCount = Property(int, lambda self: self._count("vtkMRMLPlotViewNode"))

    def _count(self, kind: str) -> int:
        return self._scene.GetNumberOfNodesByClass(kind)

    def sliceViewNames(self):
        return tuple(node.GetLayoutName() for node in slicer.util.getNodesByClass("vtkMRMLSliceNode", self._scene))

    def sliceWidget(self, name: str):
        if name not in self._widgets:
            node = self._scene.GetSingletonNode(name, "vtkMRMLSliceNode")
            if node is None:
                return None
            self._widgets[name] = qMRMLSliceWidget(self._application_logic.GetSliceLogic(node))
        return self._widgets[name]

    def mrmlSliceLogics(self):
        return self._application_logic.GetSliceLogics()

    def resetSliceViews(self) -> None:
        for name in self.sliceViewNames():
            self.sliceWidget(name).fitSliceToBackground()

    def _show(self) -> None:
        arrangement = (self._node.GetViewArrangement(), self._node.GetCurrentLayoutDescription())
        if arrangement == self._shown:
            return
        self._shown = arrangement
        outer = self._viewport.layout()
        for widget in self._widgets.values():  # slice widgets outlive the layouts that show them
            widget.setParent(None)
        while outer.count():
            old = outer.takeAt(0).widget()
            old.setVisible(False)
            old.deleteLater()
        if arrangement[1]:
            outer.addWidget(self._panes(ElementTree.fromstring(arrangement[1])))
        self._viewport.layout().activate()
        self.layoutChanged.emit(arrangement[0])

    def _panes(self, element):
        if element.tag == "view":
            tag, kind = element.get("singletontag"), element.get("class")
            widget = self.sliceWidget(tag) if kind == "vtkMRMLSliceNode" else None
            if widget is None:
                widget = qt.QLabel(f"{kind} {tag}")
                widget.setAlignment(qt.Qt.AlignCenter)
            widget.setVisible(True)
            return widget
        directions = {"vertical": qt.QBoxLayout.TopToBottom, "horizontal": qt.QBoxLayout.LeftToRight}
        pane = qt.QWidget()
        box = qt.QBoxLayout(directions[element.get("type")], pane)
        box.setContentsMargins(0, 0, 0, 0)
        for item in element.findall("item"):
            box.addWidget(self._panes(item[0]), int(item.get("splitSize") or 1))
        return pane
