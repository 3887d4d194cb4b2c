"""What puts a node of the scene beside another one, and takes it away without a trace."""

from __future__ import annotations

from dataclasses import replace
from typing import TypeVar

from STEnhanceLib.errors import STEnhanceError
from STEnhanceLib.scene import find_sequence
from STEnhanceLib.sequence import Grid, ImageSequence

Geometry = TypeVar("Geometry", Grid, ImageSequence)


def place_beside(node, neighbour) -> None:
    """Give a node the parent transform and, unless it is hidden, the folder of another one, where there is one.

    Args:
        node: a volume or transform of the scene.
        neighbour: the same, or None.
    """
    if neighbour is None:
        return
    node.SetAndObserveTransformNodeID(neighbour.GetTransformNodeID())
    if node.GetHideFromEditors():
        return
    hierarchy = node.GetScene().GetFirstNodeByClass("vtkMRMLSubjectHierarchyNode")
    item = hierarchy.GetItemByDataNode(neighbour) if hierarchy is not None else 0
    if item:
        parent = hierarchy.GetItemParent(item)
        own_item = hierarchy.GetItemByDataNode(node) or hierarchy.CreateItem(parent, node)
        hierarchy.SetItemParent(own_item, parent)


def volume_of(node):
    """The volume in which a browser shows a sequence; None where none does. Raises as `find_sequence`."""
    sequence, browser = find_sequence(node)
    return browser.GetProxyNode(sequence) if browser is not None else None


def shown_frame(sequence_node, browser) -> int:
    """The index of the frame of this sequence that is on screen."""
    if browser is None or browser.GetMasterSequenceNode() is None or browser.GetSelectedItemNumber() < 0:
        return 0
    value = browser.GetMasterSequenceNode().GetNthIndexValue(browser.GetSelectedItemNumber())
    return max(0, sequence_node.GetItemNumberFromIndexValue(value, False))


def seen_from(neighbour, volume, geometry: Geometry) -> Geometry:
    """Where a volume lies for another one, as views show the two: with the parent transforms of both.

    A registration in Slicer leaves the voxels as they are and puts the volume under a transform.

    Args:
        neighbour: a volume of the scene; None for one under no transform.
        volume: the same.
        geometry: of the volume, without its transform.

    Returns:
        The same voxels, without the transform of the neighbour.

    Raises:
        STEnhanceError: the transform between the two is no matrix.
    """
    import slicer
    from vtkmodules.vtkCommonMath import vtkMatrix4x4

    theirs, own = (node.GetParentTransformNode() if node is not None else None for node in (neighbour, volume))
    if own is theirs:
        return geometry
    moved, other = (volume, theirs) if own is not None else (neighbour, None)
    if not moved.GetParentTransformNode().IsTransformToNodeLinear(other):
        raise STEnhanceError(
            f"{moved.GetName()!r} is under a transform that bends; expected a linear one, or the same for all images. "
            "Harden the transform in the module Data."
        )
    matrix = vtkMatrix4x4()
    slicer.vtkMRMLTransformNode.GetMatrixTransformBetweenNodes(own, theirs, matrix)
    return replace(geometry, ijk_to_ras=slicer.util.arrayFromVTKMatrix(matrix) @ geometry.ijk_to_ras)


def sequences_of(browser) -> list:
    """The sequence nodes that a browser shows, its master among them."""
    from vtkmodules.vtkCommonCore import vtkCollection

    nodes = vtkCollection()
    browser.GetSynchronizedSequenceNodes(nodes, True)
    return [nodes.GetItemAsObject(index) for index in range(nodes.GetNumberOfItems())]


def add_in_passing(scene, *nodes) -> None:
    """Add nodes that views show for a while: in no list of nodes, not in the module Data, and not saved."""
    for node in nodes:
        node.SetHideFromEditors(True)  # before it is added: lists of nodes do not look again
        node.SetSaveWithScene(False)
        scene.AddNode(node)


def take_out(sequence, browser, volume=None) -> None:
    """Take a sequence out of its browser and the scene, with all that shows it.

    Args:
        sequence: the node.
        browser: that shows it; may be gone.
        volume: that was made to show it. Where the user removed that one, the browser has made another.
    """
    leftovers = with_helpers(volume)
    if browser.GetScene() is not None:
        leftovers += with_helpers(browser.GetProxyNode(sequence))
        leave_browser(sequence, browser)
    remove([*leftovers, sequence.GetStorageNode(), sequence])


def leave_browser(sequence, browser) -> None:
    """Take a sequence out of a browser, which goes on playing or recording if it was."""
    if sequence in sequences_of(browser):
        playing, recording = browser.GetPlaybackActive(), browser.GetRecordingActive()
        browser.RemoveSynchronizedSequenceNode(sequence.GetID())
        browser.SetPlaybackActive(playing)  # removing a sequence stops both
        browser.SetRecordingActive(recording)


def with_helpers(node) -> list:
    """A volume or transform with its display and storage nodes, which removing it would leave in the scene."""
    if node is None or node.GetScene() is None:
        return []
    displays = [node.GetNthDisplayNode(index) for index in range(node.GetNumberOfDisplayNodes())]
    return [node, *displays, node.GetStorageNode()]


def remove(nodes: list) -> None:
    """Remove nodes that are still in a scene, in this order; display nodes only when nothing shows with them."""
    for node in nodes:
        in_use = node is not None and node.IsA("vtkMRMLDisplayNode") and node.GetDisplayableNode() is not None
        if node is not None and node.GetScene() is not None and not in_use:
            node.GetScene().RemoveNode(node)
