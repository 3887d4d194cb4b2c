"""Lists of sequences without what only goes with a result, in which nothing is chosen that the user did not choose."""

from __future__ import annotations

import qt
import slicer
import vtk
from slicer.util import VTKObservationMixin

from STEnhanceLib import scene
from STEnhanceLib.comparison import DIFFERENCE
from STEnhanceLib.evaluation.removed import CONTENT
from STEnhanceLib.methods.declaration import MAP_KEY

NOT_IMAGES = (MAP_KEY, DIFFERENCE, CONTENT)  # attributes of their sequence nodes


class ImagesOnly(VTKObservationMixin):
    """Keeps maps, differences and what a method removed, and the volumes that show them, out of some lists.

    Elsewhere in Slicer they are as before. The lists catch up in the next turn of the event loop, because nodes get
    their attributes after they were added.

    When the chosen node is removed from the scene, nothing is chosen. By itself a list takes the next node: another
    scan would be the planning scan of a patient, or be compared, without anybody having chosen it.

    Args:
        selectors: of the type qMRMLNodeComboBox.
    """

    def __init__(self, *selectors):
        VTKObservationMixin.__init__(self)
        self._selectors = selectors
        self._soon = qt.QTimer()
        self._soon.setSingleShot(True)
        self._soon.setInterval(0)
        self._soon.connect("timeout()", self._update)
        self.addObserver(slicer.mrmlScene, slicer.mrmlScene.NodeAddedEvent, self._on_added)
        # Slicer's lists are told of it later, as their priority is -10.
        self.addObserver(slicer.mrmlScene, slicer.mrmlScene.NodeAboutToBeRemovedEvent, self._on_removal)
        self._update()

    def stop(self) -> None:
        """The panel goes."""
        self._soon.stop()
        self.removeObservers()

    def _on_added(self, _caller=None, _event=None) -> None:
        self._soon.start()

    @vtk.calldata_type(vtk.VTK_OBJECT)
    def _on_removal(self, _caller, _event, node) -> None:
        for selector in self._selectors:
            if selector.currentNodeID == node.GetID():
                selector.setCurrentNode(None)

    def _update(self) -> None:
        hidden = []
        for sequence in filter(is_no_image, slicer.util.getNodesByClass("vtkMRMLSequenceNode")):
            _, browser = scene.find_sequence(sequence)
            volume = browser.GetProxyNode(sequence) if browser is not None else None
            hidden += [node.GetID() for node in (sequence, volume) if node is not None]
        for selector in self._selectors:
            selector.sortFilterProxyModel().hiddenNodeIDs = hidden


def is_no_image(sequence_node) -> bool:
    """The sequence is a map of a result, a difference, or what a method removed."""
    return any(sequence_node.GetAttribute(name) for name in NOT_IMAGES)
