"""A wipe between two volumes of a slice view, for which Slicer's compositing has no mode."""

from __future__ import annotations

import numpy as np
import slicer
from slicer.util import VTKObservationMixin
from vtk.util import numpy_support
from vtkmodules.vtkCommonCore import VTK_FLOAT
from vtkmodules.vtkCommonDataModel import vtkImageData

from STEnhanceLib.beside import add_in_passing, remove, with_helpers
from STEnhanceLib.panels.generated_labels import SHOWS

# Far below every intensity: what a view interpolates between a voxel and a hidden neighbour is hidden as well.
_HIDDEN, _LOWEST_SHOWN = -1e30, -1e20


class Wipe(VTKObservationMixin):
    """A helper volume that holds the left part of a volume as a view sees it; to be the foreground over another one.

    It follows the volume while a browser plays: new images, another place, window and level.

    Args:
        source: the volume whose left part is to be seen.
        view: the `vtkMRMLSliceNode` that says where left is.

    Attributes:
        volume: the helper; neither listed nor saved.
    """

    def __init__(self, source, view):
        VTKObservationMixin.__init__(self)
        self._source, self._view = source, view
        self._position = 0.5
        self.volume, display = slicer.vtkMRMLScalarVolumeNode(), slicer.vtkMRMLScalarVolumeDisplayNode()
        self.volume.SetName("STEnhance wipe")
        add_in_passing(source.GetScene(), self.volume, display)
        self.volume.SetNodeReferenceID(SHOWS, source.GetID())
        self.volume.SetAndObserveDisplayNodeID(display.GetID())
        self._follow_display()
        self._update()
        self.addObserver(source, source.ImageDataModifiedEvent, lambda *_: self._update())
        self.addObserver(source.GetDisplayNode(), "ModifiedEvent", lambda *_: self._follow_display())

    @property
    def position(self) -> float:
        """Where the line is: 0 is the left border of the image, 1 the right one."""
        return self._position

    @position.setter
    def position(self, position: float) -> None:
        self._position = position
        self._update()

    def remove(self) -> None:
        """Take the helper out of the scene."""
        self.removeObservers()
        remove(with_helpers(self.volume))

    def _update(self) -> None:
        image = self._source.GetImageData()
        if image is None or self.volume.GetScene() is None:
            return
        self.volume.CopyOrientation(self._source)
        self.volume.SetAndObserveTransformNodeID(self._source.GetTransformNodeID())
        own = self.volume.GetImageData()
        if own is None or own.GetDimensions() != image.GetDimensions():
            own = vtkImageData()
            own.SetDimensions(image.GetDimensions())
            own.AllocateScalars(VTK_FLOAT, 1)
            self.volume.SetAndObserveImageData(own)
        scalars = own.GetPointData().GetScalars()
        shape = image.GetDimensions()[::-1]
        shown = numpy_support.vtk_to_numpy(image.GetPointData().GetScalars()).reshape(shape)
        masked = numpy_support.vtk_to_numpy(scalars).reshape(shape)
        masked[...] = shown
        masked[self._right_of_line(shape)] = _HIDDEN
        scalars.Modified()
        own.Modified()

    def _right_of_line(self, shape: tuple[int, int, int]) -> np.ndarray:
        from STEnhanceLib.comparison import directions_in_world

        to_right = np.array([self._view.GetSliceToRAS().GetElement(row, 0) for row in range(3)])
        per_voxel = (to_right @ directions_in_world(self._source)) * self._source.GetSpacing()
        i, j, k = (per_voxel[axis] * np.arange(shape[2 - axis]) for axis in range(3))
        x = i + j[:, None] + k[:, None, None]
        half_voxel = np.abs(per_voxel).max() / 2
        line = x.min() - half_voxel + self._position * (x.max() - x.min() + 2 * half_voxel)
        return x > line

    def _follow_display(self) -> None:
        display, source = self.volume.GetDisplayNode(), self._source.GetDisplayNode()
        with slicer.util.NodeModify(display):
            display.SetAutoWindowLevel(False)
            display.SetWindowLevel(source.GetWindow(), source.GetLevel())
            display.SetAndObserveColorNodeID(source.GetColorNodeID())
            display.SetInterpolate(source.GetInterpolate())
            display.SetAutoThreshold(False)
            display.SetThreshold(_LOWEST_SHOWN, -_LOWEST_SHOWN)
            display.SetApplyThreshold(True)
