"""One enhanced frame over the one on screen, to try parameters before a run over all frames."""

from __future__ import annotations

import dataclasses
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import numpy as np
import slicer

from STEnhanceLib import scene
from STEnhanceLib.beside import add_in_passing, shown_frame
from STEnhanceLib.errors import STEnhanceError
from STEnhanceLib.jobs import Failed, FrameReady, Job, Planned, Worker, Working
from STEnhanceLib.methods import Method, Task, parse_parameters
from STEnhanceLib.panels.parameter_form import label_of
from STEnhanceLib.sequence import Grid, ImageSequence

IN_PLANE = 0.9  # cosine between the normal of a view and that of the stack


class Preview:
    """The frame on screen, enhanced and laid over it; for temporal interpolation, the moment after it.

    Attributes:
        done: the frame is shown, or there will be none.
        error: why there will be none; None otherwise.
        stage: what is computed, where the method tells; empty otherwise.
        left_out: labels of the parameters that were not as the user chose, because a preview cannot wait for them.
        slice_number: of the only slice that is enhanced, from 1; None where all are.
        volume: the `vtkMRMLScalarVolumeNode` that shows it; None before.
    """

    def __init__(
        self,
        worker: Worker,
        input_node,
        method: Method,
        settings: Mapping[str, Any],
        *,
        prior: ImageSequence | None = None,
        kspace_path: Path | None = None,
        device: str = "automatic",
        **overrides: Any,
    ):
        """Hand the frames that the method needs to the worker; `overrides` as in `scene.read_sequence`.

        With a measurement (`kspace_path`) that is the slice on screen only, since slices are independent there.

        Raises:
            STEnhanceError: the node is no sequence of greyscale volumes, or it is too short.
        """
        self.done, self.error, self.volume = False, None, None
        self.stage, self.slice_number = "", None
        settings, self.left_out = _without_waiting(method, settings)
        sequence_node, self._browser = scene.find_sequence(input_node)
        self._input_volume = self._browser.GetProxyNode(sequence_node) if self._browser is not None else None
        grid, _notes = scene.describe_sequence(sequence_node, **overrides)
        shown = shown_frame(sequence_node, self._browser)
        whole_cycle = getattr(parse_parameters(method, settings), "whole_cycle", False)
        frames, self._wanted_ms = _frames_for_preview(
            grid, shown, None if whole_cycle else method.preview_frames, method.task
        )
        slices = slice(0, grid.shape[0])
        if kspace_path is not None:
            k = _shown_slice(self._input_volume, grid)
            slices, self.slice_number = slice(k, k + 1), k + 1
        self._index = 0
        self._grid = None
        self._foregrounds: list[tuple[Any, str | None, float]] = []  # what the views showed there before
        self._job: Job | None = worker.submit(
            method.key,
            settings,
            scene.read_part(sequence_node, grid, frames, slices),
            prior=prior,
            kspace_path=kspace_path,
            kspace_part=None if kspace_path is None else (frames, slices),
            device=device,
        )

    @property
    def on_screen(self) -> bool:
        """A view showed the input when the frame came, and now shows the frame."""
        return bool(self._foregrounds)

    def poll(self) -> None:
        """Show the frame if it has come."""
        for event in () if self._job is None else self._job.poll():
            if isinstance(event, Planned):
                self._grid = event.grid
                self._index = int(np.abs(event.grid.times_ms - self._wanted_ms).argmin())
            elif isinstance(event, Working):
                self.stage = event.text
            elif isinstance(event, FrameReady) and event.index == self._index:
                self._show(event.voxels)
                self._finish()
                return
            elif isinstance(event, Failed):
                self.error = event.message
                self._finish()
                return

    def remove(self) -> None:
        """Take the picture away; the views show the input as before."""
        self._finish()
        if self.volume is not None and self.volume.GetScene() is not None:
            for composite, volume_id, opacity in self._foregrounds:
                if composite.GetForegroundVolumeID() == self.volume.GetID():
                    composite.SetForegroundVolumeID(volume_id)
                    composite.SetForegroundOpacity(opacity)
            self._foregrounds.clear()
            slicer.mrmlScene.RemoveNode(self.volume)
        self.volume = None

    def _finish(self) -> None:
        self.done = True
        if self._job is not None:
            self._job.cancel()
        self._job = None

    def _show(self, voxels: np.ndarray) -> None:
        name = f"{self._input_volume.GetName() if self._input_volume else 'Input'} preview"
        self.volume = slicer.vtkMRMLScalarVolumeNode()
        self.volume.SetName(name)
        add_in_passing(slicer.mrmlScene, self.volume)
        self.volume.SetIJKToRASMatrix(slicer.util.vtkMatrixFromArray(self._grid.ijk_to_ras))
        slicer.util.updateVolumeFromArray(self.volume, np.array(voxels))
        if self._input_volume is None:
            self.volume.CreateDefaultDisplayNodes()
            return
        self.volume.SetAndObserveTransformNodeID(self._input_volume.GetTransformNodeID())
        self.volume.SetAndObserveDisplayNodeID(self._input_volume.GetDisplayNodeID())
        for composite in slicer.util.getNodesByClass("vtkMRMLSliceCompositeNode"):
            if composite.GetBackgroundVolumeID() == self._input_volume.GetID():
                before = (composite, composite.GetForegroundVolumeID(), composite.GetForegroundOpacity())
                self._foregrounds.append(before)
                composite.SetForegroundVolumeID(self.volume.GetID())
                composite.SetForegroundOpacity(1.0)


def _without_waiting(method: Method, settings: Mapping[str, Any]) -> tuple[dict[str, Any], tuple[str, ...]]:
    """The settings of a preview, and the labels of what differs from those of the user."""
    chosen = parse_parameters(method, settings)
    instead = {
        field.name: field
        for field in dataclasses.fields(chosen)
        if field.metadata["preview"] not in (None, getattr(chosen, field.name))
    }
    quick = {name: field.metadata["preview"] for name, field in instead.items()}
    return {**settings, **quick}, tuple(map(label_of, instead.values()))


def _shown_slice(volume, grid: Grid) -> int:
    """The index of the slice that a view shows in the plane of the stack; the middle one where none does."""
    middle = grid.shape[0] // 2
    if volume is None:
        return middle
    to_ijk = np.linalg.inv(grid.ijk_to_ras)
    across = grid.ijk_to_ras[:3, 2] / grid.spacing_mm[2]
    for composite in slicer.util.getNodesByClass("vtkMRMLSliceCompositeNode"):
        view = slicer.mrmlScene.GetSingletonNode(composite.GetLayoutName(), "vtkMRMLSliceNode")
        if view is None or composite.GetBackgroundVolumeID() != volume.GetID():
            continue
        plane = slicer.util.arrayFromVTKMatrix(view.GetSliceToRAS())
        centre, above = (_untransformed(volume, point) for point in (plane[:3, 3], plane[:3, 3] + plane[:3, 2]))
        k = (to_ijk @ [*centre, 1])[2]
        normal = (above - centre) / np.linalg.norm(above - centre)
        if abs(normal @ across) > IN_PLANE and -0.5 <= k < grid.shape[0] - 0.5:
            return int(np.rint(k))
    return middle


def _untransformed(volume, point: np.ndarray) -> np.ndarray:
    """A place in the views, as (3,) RAS of the volume before the transform that it may be under."""
    local = [0.0, 0.0, 0.0]
    volume.TransformPointFromWorld(point.tolist(), local)
    return np.array(local)


def _frames_for_preview(grid: Grid, shown: int, needed: int | None, task: Task) -> tuple[np.ndarray, float]:
    """The frames that a method needs for one, in a cycle on both sides of it, and the moment to show."""
    last = len(grid) - 1
    in_between = task is Task.TEMPORAL_INTERPOLATION
    if in_between:
        if last < 1:
            raise STEnhanceError("The sequence has 1 frame; expected at least 2 to fill in the time between them.")
        shown = min(shown, last - 1)
    if needed is None or needed >= len(grid):
        frames = np.arange(len(grid))
    else:
        first = shown - (needed - 1) // 2
        if not grid.periodic:
            first = min(max(0, first), len(grid) - needed)
        frames = np.arange(first, first + needed) % len(grid)
    times = grid.part(frames, slice(None)).times_ms
    place = int(np.flatnonzero(frames == shown)[0])
    return frames, float(np.mean(times[place : place + 2])) if in_between else float(times[place])
