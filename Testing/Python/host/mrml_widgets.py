"""Slicer's own widgets, by their names in `slicer`, on real MRML nodes."""

from __future__ import annotations

import qt
import vtk
from PySide6.QtCore import Property, Signal
from slicer import vtkMRMLNode, vtkMRMLScene


class _Observations(list):
    """What a widget observes. C++ widgets stop observing when they are deleted, so these must as well."""

    def __init__(self, widget):
        super().__init__()
        widget.destroyed.connect(self.stop)

    def add(self, node, event, callback) -> None:
        self.append((node, node.AddObserver(event, callback)))

    def stop(self, *_arguments) -> None:
        for node, tag in self:
            node.RemoveObserver(tag)
        self.clear()


class qMRMLWidget(qt.QWidget):
    """Hands its scene on to what its `.ui` connects to `mrmlSceneChanged(vtkMRMLScene*)`."""

    mrmlSceneChanged = Signal(object)

    def __init__(self, parent=None):
        super().__init__(parent)
        self._scene = None

    def mrmlScene(self):
        return self._scene

    def setMRMLScene(self, scene) -> None:
        if scene is not self._scene:
            self._scene = scene
            self.mrmlSceneChanged.emit(scene)


class _Filter:
    """What panels use of a qMRMLSortFilterProxyModel."""

    def __init__(self, changed):
        self._hidden, self._changed = [], changed

    @property
    def hiddenNodeIDs(self) -> list[str]:
        return self._hidden

    @hiddenNodeIDs.setter
    def hiddenNodeIDs(self, identifiers: list[str]) -> None:
        self._hidden = list(identifiers)
        self._changed()


class qMRMLNodeComboBox(qt.QWidget):
    """Lists the nodes of the scene that pass its filters; grey until it has a scene."""

    currentNodeChanged = Signal((object,), (bool,))
    currentNodeIDChanged = Signal(str)
    nodeActivated = Signal(object)
    nodeAdded = Signal(object)
    nodeAboutToBeRemoved = Signal(object)

    def __init__(self, parent=None):
        super().__init__(parent)
        self._box = qt.QComboBox(self)
        self._box.setSizeAdjustPolicy(qt.QComboBox.AdjustToMinimumContentsLengthWithIcon)
        self._box.setIconSize(qt.QSize(1, 1))
        row = qt.QHBoxLayout(self)
        row.setContentsMargins(0, 0, 0, 0)
        row.addWidget(self._box)
        self.setSizePolicy(qt.QSizePolicy.Preferred, qt.QSizePolicy.Fixed)
        self._scene, self._requested_id, self._current_id = None, "", ""
        self._observations = _Observations(self)
        self._filter = _Filter(self._refresh)
        self._attributes: dict[str, tuple] = {}
        self._labels: dict[str, str] = {}
        self._kept = {
            "nodeTypes": [], "hideChildNodeTypes": [], "showHidden": False, "showChildNodeTypes": True,
            "noneEnabled": False, "addEnabled": True, "removeEnabled": True, "editEnabled": False,
            "renameEnabled": False, "noneDisplay": "None", "baseName": "",
        }  # fmt: skip
        self._box.currentIndexChanged.connect(lambda _index: self._announce())
        self._box.activated.connect(lambda _index: self.nodeActivated.emit(self.currentNode()))
        self.setEnabled(False)

    def mrmlScene(self):
        return self._scene

    def setMRMLScene(self, scene) -> None:
        if scene is self._scene:
            return
        self._scene = scene
        self._observe()
        self._refresh()
        if self._requested_id:
            self.setCurrentNodeID(self._requested_id)
            self._requested_id = ""
        self.setEnabled(scene is not None)

    @vtk.calldata_type(vtk.VTK_OBJECT)
    def _on_added(self, _scene, _event, node) -> None:
        self._follow(node)
        if self._scene.IsBatchProcessing() or self._scene.IsImporting():
            return
        self._refresh()
        if self._accepts(node):
            self.nodeAdded.emit(node)

    @vtk.calldata_type(vtk.VTK_OBJECT)
    def _on_about_to_be_removed(self, _scene, _event, node) -> None:
        if self._accepts(node):
            self.nodeAboutToBeRemoved.emit(node)

    def _observe(self) -> None:
        self._observations.stop()
        if self._scene is None:
            return
        for node in (self._scene.GetNthNode(index) for index in range(self._scene.GetNumberOfNodes())):
            self._follow(node)
        self._observations.add(self._scene, vtkMRMLScene.NodeAddedEvent, self._on_added)
        self._observations.add(self._scene, vtkMRMLScene.NodeAboutToBeRemovedEvent, self._on_about_to_be_removed)
        for event in (vtkMRMLScene.NodeRemovedEvent, vtkMRMLScene.EndBatchProcessEvent):
            self._observations.add(self._scene, event, lambda *_: self._refresh())
        for event in (vtkMRMLScene.EndImportEvent, vtkMRMLScene.EndCloseEvent):
            self._observations.add(self._scene, event, lambda *_: self._rebuild())

    def _follow(self, node) -> None:
        """As Slicer: a list with an attribute filter looks at its nodes anew at every change, others see names only.

        So in those, a node that is hidden from editors after it was added stays.
        """
        if any(node.IsA(kind) for kind in self._attributes):
            self._observations.add(node, "ModifiedEvent", lambda *_: self._refresh(reset=True))
        elif not self.nodeTypes or any(node.IsA(kind) for kind in self.nodeTypes):
            self._observations.add(node, "ModifiedEvent", lambda *_: self._on_perhaps_renamed(node))

    def _on_perhaps_renamed(self, node) -> None:
        row = self._box.findData(node.GetID())
        if row >= 0 and self._box.itemText(row) != node.GetName():
            self._refresh()

    def _rebuild(self) -> None:
        """Slicer takes all rows away and puts them back, which no choice survives."""
        self._box.blockSignals(True)
        self._box.clear()
        self._box.blockSignals(False)
        self._announce()
        self._refresh()

    def _accepts(self, node) -> bool:
        if node.GetID() in self._filter.hiddenNodeIDs or (node.GetHideFromEditors() and not self.showHidden):
            return False
        if any(node.IsA(kind) for kind in self.hideChildNodeTypes) and self.showChildNodeTypes:
            return False
        if not self.nodeTypes:
            return True
        for kind in self.nodeTypes:
            if node.IsA(kind) and (self.showChildNodeTypes or node.GetClassName() == kind):
                name, wanted = self._attributes.get(kind, (None, None))
                found = node.GetAttribute(name) if name else None
                if name is None or (found is not None and wanted in (None, found)):
                    return True
        return False

    def nodes(self) -> list:
        """All nodes in the list, in the order of the scene."""
        count = self._scene.GetNumberOfNodes() if self._scene is not None else 0
        every = [self._scene.GetNthNode(index) for index in range(count)]
        return [node for node in every if node.GetID() and self._accepts(node)]

    def _refresh(self, reset: bool = False) -> None:
        if self._scene is not None and self._scene.IsImporting():
            return  # references are not valid yet
        nodes, row = self.nodes(), self._box.currentIndex
        items = [(self.noneDisplay, "")] if self.noneEnabled else []
        items += [(node.GetName() or "", node.GetID()) for node in nodes]
        was_empty = self._box.count == 0
        self._box.blockSignals(True)
        self._box.setPlaceholderText(f"Select a {self.nodeTypeLabel(self.nodeTypes[0] if self.nodeTypes else '')}")
        if items != [(self._box.itemText(i), self._box.itemData(i)) for i in range(self._box.count)]:
            self._box.clear()
            for text, identifier in items:
                self._box.addItem(text, identifier)
        ids = [identifier for _text, identifier in items]
        if self._current_id in ids:
            self._box.setCurrentIndex(ids.index(self._current_id))
        elif self._current_id and not (was_empty or reset):  # Qt takes the row that moved up, also where None is one
            self._box.setCurrentIndex(min(max(row, 0), len(ids) - 1))
        elif self.noneEnabled or was_empty:  # Qt selects the first item of a list that was empty
            self._box.setCurrentIndex(min(0, len(ids) - 1))
        else:
            self._box.setCurrentIndex(-1)
        self._box.blockSignals(False)
        self._announce()

    def _announce(self) -> None:
        identifier = self._box.currentData or ""
        if identifier == self._current_id:
            return
        self._current_id = identifier
        node = self.currentNode()
        self.currentNodeChanged.emit(node)
        self.currentNodeChanged[bool].emit(node is not None)
        self.currentNodeIDChanged.emit(identifier)

    def currentNode(self):
        return self._scene.GetNodeByID(self._current_id) if self._scene is not None and self._current_id else None

    def setCurrentNode(self, node: vtkMRMLNode | None) -> None:
        if node is not None and not isinstance(node, vtkMRMLNode):
            raise ValueError(f"setCurrentNode takes a node or None, not {node!r}; see setCurrentNodeID")
        self.setCurrentNodeID(node.GetID() if node is not None and node.GetID() else "")

    def setCurrentNodeID(self, identifier: str) -> None:
        if self._scene is None:
            self._requested_id = identifier
        found = self._box.findData(identifier) if identifier else -1
        self._box.setCurrentIndex(0 if found < 0 and self.noneEnabled and self._box.count else found)

    def addAttribute(self, kind: str, name: str, value: str | None = None) -> None:
        self._attributes[kind] = (name, value)  # one per type, as in qMRMLSortFilterProxyModel
        self._observe()
        self._refresh()

    def sortFilterProxyModel(self) -> _Filter:
        return self._filter

    def setNodeTypeLabel(self, label: str, kind: str) -> None:
        self._labels[kind] = label
        self._refresh()

    def nodeTypeLabel(self, kind: str) -> str:
        known = self._scene.GetTypeDisplayNameByClassName(kind) if self._scene is not None else ""
        return self._labels.get(kind) or known or "node"

    def _option(kind, name):
        def write(self, value):
            self._kept[name] = list(value) if kind == "QStringList" else value
            self._observe()
            self._refresh()

        return Property(kind, lambda self: self._kept[name], write)

    currentNodeID = Property(str, lambda self: self._current_id, setCurrentNodeID)
    nodeTypes, hideChildNodeTypes = _option("QStringList", "nodeTypes"), _option("QStringList", "hideChildNodeTypes")
    showHidden, showChildNodeTypes = _option(bool, "showHidden"), _option(bool, "showChildNodeTypes")
    noneEnabled, addEnabled = _option(bool, "noneEnabled"), _option(bool, "addEnabled")
    removeEnabled, editEnabled = _option(bool, "removeEnabled"), _option(bool, "editEnabled")
    renameEnabled = _option(bool, "renameEnabled")
    noneDisplay, baseName = _option(str, "noneDisplay"), _option(str, "baseName")


class _BrowserWidget(qMRMLWidget):
    """Follows a sequence browser node."""

    def __init__(self, parent=None):
        super().__init__(parent)
        self._browser, self._observations = None, _Observations(self)
        self._row = qt.QHBoxLayout(self)
        self._row.setContentsMargins(0, 0, 0, 0)
        self.setEnabled(False)

    def setMRMLSequenceBrowserNode(self, browser) -> None:
        self._observations.stop()
        self._browser = browser
        if browser is not None:
            self._observations.add(browser, "ModifiedEvent", lambda *_: self._update())
        self._update()


class qMRMLSequenceBrowserPlayWidget(_BrowserWidget):
    """Play and pause."""

    def __init__(self, parent=None):
        super().__init__(parent)
        self._button = qt.QPushButton("Play", self)
        self._button.connect("clicked()", self.onVcrPlayPause)
        self._row.addWidget(self._button)

    def _update(self) -> None:
        self.setEnabled(self._browser is not None and self._browser.GetMasterSequenceNode() is not None)
        self._button.text = "Pause" if self._browser and self._browser.GetPlaybackActive() else "Play"

    def onVcrPlayPause(self):
        self._browser.SetPlaybackActive(not self._browser.GetPlaybackActive())


class qMRMLSequenceBrowserSeekWidget(_BrowserWidget):
    """Slider through the items of the master sequence."""

    def __init__(self, parent=None):
        super().__init__(parent)
        self._slider, self._label = qt.QSlider(qt.Qt.Horizontal, self), qt.QLabel(self)
        self._row.addWidget(self._slider, 1)
        self._row.addWidget(self._label)
        self._slider.valueChanged.connect(self.setSelectedItemNumber)

    def slider(self):
        return self._slider

    def setSelectedItemNumber(self, number: int) -> None:
        self._browser.SetSelectedItemNumber(number)

    def _update(self) -> None:
        master = self._browser.GetMasterSequenceNode() if self._browser is not None else None
        self.setEnabled(master is not None)
        if master is None:
            return
        number = self._browser.GetSelectedItemNumber()
        self._slider.blockSignals(True)
        self._slider.setRange(0, master.GetNumberOfDataNodes() - 1)
        self._slider.setValue(number)
        self._slider.blockSignals(False)
        self._label.text = f"{self._browser.GetFormattedIndexValue(number)} {master.GetIndexUnit()}"
