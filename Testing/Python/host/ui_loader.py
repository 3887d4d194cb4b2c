"""`QUiLoader` that knows the stand-ins, as Slicer's loader knows their designer plugins."""

from __future__ import annotations

from xml.etree import ElementTree

import qt
from PySide6.QtUiTools import QUiLoader as PySideLoader

from host import ctk_widgets, mrml_widgets


class QUiLoader(PySideLoader):
    """Loads a `.ui` file; a custom widget without a stand-in raises, for Slicer would show an empty one."""

    def load(self, device, parent=None):
        document = ElementTree.fromstring(bytes(device.readAll().data()))
        scene_links = _take_scene_links(document)
        buffer = qt.QBuffer()
        buffer.setData(ElementTree.tostring(document))
        buffer.open(qt.QIODevice.ReadOnly)
        self._unknown = []
        widget = super().load(buffer, parent)
        if self._unknown:
            raise RuntimeError(f"The smoke host has no stand-in for {', '.join(self._unknown)}")
        named = {child.objectName: child for child in [widget, *widget.findChildren(qt.QWidget)]}
        for sender, receiver in scene_links:
            named[sender].mrmlSceneChanged.connect(named[receiver].setMRMLScene)
        return widget

    def createWidget(self, class_name, parent=None, name=""):
        stand_in = getattr(ctk_widgets, class_name, None) or getattr(mrml_widgets, class_name, None)
        if stand_in is None:
            if not class_name.startswith("Q") and class_name != "Line":
                self._unknown.append(class_name)
                class_name = "QWidget"
            return super().createWidget(class_name, parent, name)
        widget = stand_in(parent)
        widget.setObjectName(name)
        return widget


def _take_scene_links(document) -> list[tuple[str, str]]:
    """Remove the connections that carry the scene, whose C++ type Qt does not know here, and return them."""
    links = []
    connections = document.find("connections")
    for connection in list(connections) if connections is not None else []:
        if connection.findtext("signal") == "mrmlSceneChanged(vtkMRMLScene*)":
            connections.remove(connection)
            links.append((connection.findtext("sender"), connection.findtext("receiver")))
    return links
