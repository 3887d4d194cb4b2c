"""Publishes what a method yields beside the voxels of a result: one sequence per map, in the browser of the result.

Maps of values are volumes with colours of their own, maps of displacements are grid transforms. No view shows them by
itself: they wait in the lists of volumes and transforms until the user picks one.
"""

from __future__ import annotations

from collections.abc import Mapping

import numpy as np

from STEnhanceLib.beside import place_beside, take_out
from STEnhanceLib.methods import SideMap
from STEnhanceLib.node_events import silent
from STEnhanceLib.scene import describe, free_name, insert_frame

MAP_OF = "STEnhance.MapOf"  # attribute of the sequence node of a map: the name of the result
BRIGHT_PERCENTILE = 99  # of the first map that is not zero: what has the brightest colour

_COLOURS = ("vtkMRMLColorTableNodeFileInferno.txt", "vtkMRMLColorTableNodeIron")  # outside Slicer there are no files


class PublishedMap:
    """A map of a result in the scene; it comes and goes with the result.

    Attributes:
        sequence: the `vtkMRMLSequenceNode` of the map; None before its first frame and after `remove`.
        proxy: the volume or grid transform in which the browser shows it.
    """

    def __init__(self, side_map: SideMap, attributes: Mapping[str, str]):
        """Prepare to publish; the scene is not touched yet.

        Args:
            attributes: provenance of the result, which the map shares.
        """
        self.sequence = self.proxy = None
        self._side_map = side_map
        self._attributes = {**attributes, **side_map.attributes}
        self._browser = self._neighbour = None
        self._has_window = False

    def open(self, result, browser, neighbour, periodic: bool) -> None:
        """Make the sequence, still empty.

        Args:
            result: the sequence node of the result, which gives index and name.
            browser: the one that shows the result.
            neighbour: the volume beside which the map will lie.
            periodic: see `Grid`.
        """
        scene, self._browser, self._neighbour = result.GetScene(), browser, neighbour
        name = free_name(scene, f"{result.GetName()} ({self._side_map.title})")
        self.sequence = scene.AddNewNodeByClass("vtkMRMLSequenceNode", name)
        self.sequence.SetIndexName(result.GetIndexName())
        self.sequence.SetIndexUnit(result.GetIndexUnit())
        self.sequence.SetIndexType(result.GetIndexType())
        self.sequence.SetNumericIndexValueTolerance(result.GetNumericIndexValueTolerance())
        describe(self.sequence, {**self._attributes, MAP_OF: result.GetName()}, periodic)

    def add_frame(
        self, index_value: str, values: np.ndarray, ijk_to_ras: np.ndarray, attributes: Mapping[str, str]
    ) -> None:
        """Add the map of the next frame of the result, silently; one that the user took out of the scene stays out.

        Args:
            values: (K, J, I), or (3, K, J, I) of a vector map, copied once.
            attributes: of that frame of the result, which say when and where it comes from.
        """
        if self.sequence.GetScene() is None:
            return
        insert = _insert_displacements if self._side_map.vector else insert_frame
        insert(self.sequence, index_value, values, ijk_to_ras, attributes)
        if self.proxy is None:
            self._show()
        if not (self._side_map.vector or self._has_window) and values.any():
            self._set_window(values)

    def remove(self) -> None:
        """Take the map out of its browser and the scene."""
        if self.sequence is None:
            return
        take_out(self.sequence, self._browser, self.proxy)
        self.sequence = self.proxy = None

    def _show(self) -> None:
        import slicer

        with slicer.util.NodeModify(self._browser):  # as `Publication`: the proxy is there before the browser acts
            self._browser.AddSynchronizedSequenceNode(self.sequence)
            self.proxy = self._browser.AddProxyNode(self.sequence.GetNthDataNode(0), self.sequence, True)
            if not self._side_map.vector:
                self.proxy.CreateDefaultDisplayNodes()
                self.proxy.AddDefaultStorageNode()
                self._colour()
            place_beside(self.proxy, self._neighbour)

    def _colour(self) -> None:
        scene, display = self.proxy.GetScene(), self.proxy.GetDisplayNode()
        display.SetAndObserveColorNodeID(next(filter(scene.GetNodeByID, _COLOURS), None))
        display.SetAutoWindowLevel(False)
        display.SetWindowLevelMinMax(0.0, 1.0)

    def _set_window(self, values: np.ndarray) -> None:
        display = self.proxy.GetDisplayNode()
        if display is not None:
            display.SetWindowLevelMinMax(0.0, float(np.percentile(values, BRIGHT_PERCENTILE) or values.max()))
        self._has_window = True


def _insert_displacements(
    sequence_node, index_value: str, displacements: np.ndarray, ijk_to_ras, attributes: Mapping[str, str]
) -> None:
    """Insert (3, K, J, I) displacements in mm along RAS as a grid transform; like `scene.insert_frame`."""
    import slicer
    from vtk.util import numpy_support
    from vtkmodules.vtkCommonCore import VTK_FLOAT
    from vtkmodules.vtkCommonDataModel import vtkImageData

    spacing = np.linalg.norm(ijk_to_ras[:3, :3], axis=0)
    directions = np.eye(4)
    directions[:3, :3] = ijk_to_ras[:3, :3] / spacing
    image = vtkImageData()
    image.SetDimensions(displacements.shape[:0:-1])
    image.SetSpacing(spacing)
    image.SetOrigin(ijk_to_ras[:3, 3])
    image.AllocateScalars(VTK_FLOAT, 3)
    points = numpy_support.vtk_to_numpy(image.GetPointData().GetScalars())
    points.reshape(*displacements.shape[1:], 3)[:] = np.moveaxis(displacements, 0, -1)
    transform = slicer.vtkOrientedGridTransform()
    transform.SetGridDirectionMatrix(slicer.util.vtkMatrixFromArray(directions))
    transform.SetDisplacementGridData(image)
    with silent(sequence_node):
        node = sequence_node.SetDataNodeAtValue(slicer.vtkMRMLGridTransformNode(), index_value)
        node.SetName(f"{sequence_node.GetName()}_{sequence_node.GetNumberOfDataNodes() - 1:04d}")
        # Towards the parent, points move by the displacement; the other way Slicer would have to invert it.
        node.SetAndObserveTransformToParent(transform)
        for name, value in attributes.items():
            node.SetAttribute(name, value)
