"""Lists of sequences without what only goes with a result: maps, differences, and what a method removed."""

from __future__ import annotations

import qt
import slicer
from slicer.util import VTKObservationMixin

from STEnhanceLib import scene
from STEnhanceLib.comparison import DIFFERENCE
from STEnhanceLib.evaluation.removed import CONTENT
from STEnhanceLib.methods.declaration import MAP_KEY

NOT_IMAGES = (MAP_KEY, DIFFERENCE, CONTENT)  # attributes of their sequence nodes


class ImagesOnly(VTKObservationMixin):
    """Keeps such sequences, and the volumes that show them, out of some lists; elsewhere in Slicer they are as before.

    The lists catch up in the next turn of the event loop, because nodes get their attributes after they were added.

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
        self._update()

    def stop(self) -> None:
        """The panel goes."""
        self._soon.stop()
        self.removeObservers()

    def _on_added(self, _caller=None, _event=None) -> None:
        self._soon.start()

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
