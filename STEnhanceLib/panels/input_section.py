"""What was found in the input, what had to be assumed, and what the user knows better."""

from __future__ import annotations

import contextlib
import html
from typing import Any

import numpy as np
import slicer
from slicer.i18n import tr as _

from STEnhanceLib import scene
from STEnhanceLib.acquisition import acquired
from STEnhanceLib.errors import STEnhanceError
from STEnhanceLib.panels import words
from STEnhanceLib.panels.images_only import is_no_image
from STEnhanceLib.panels.parameter_node import EnhanceParameterNode
from STEnhanceLib.sequence import Grid

FRAMES_LOOKED_AT = 4  # to tell what was measured

_CYCLE = {"": None, "yes": True, "no": False}
_measured: dict[tuple, tuple[str, tuple[str, ...]]] = {}  # of the images that were last looked at


def corrections(parameters: EnhanceParameterNode) -> dict[str, Any]:
    """What the user knows better than the sequence, as `scene.read_sequence` takes it."""
    return {"frame_duration_ms": parameters.frameDurationMs or None, "periodic": _CYCLE[parameters.cycle]}


def forget_corrections_of_another_input(parameters: EnhanceParameterNode) -> None:
    """Frame duration, cycle and k-space file belong to the sequence that they were given for."""
    node_id = parameters.inputNode.GetID() if parameters.inputNode is not None else ""
    if parameters.correctionsFor != node_id:
        with slicer.util.NodeModify(parameters):
            parameters.correctionsFor = node_id
            parameters.frameDurationMs, parameters.cycle = 0.0, ""
            parameters.kspacePath = kspace_file_of(parameters.inputNode)


def likely_input():
    """The first sequence of images in the scene, to save a click; None where there is none."""
    sequences = (node for node in slicer.util.getNodesByClass("vtkMRMLSequenceNode") if not is_no_image(node))
    return next((node for node in sequences if node.GetDataNodeClassName() == "vtkMRMLScalarVolumeNode"), None)


def kspace_file_of(node) -> str:
    """The path of the k-space file that a sequence node names as its own; empty where it names none."""
    if node is not None:
        with contextlib.suppress(STEnhanceError):  # a plain volume has none, and the panel says what it is
            return scene.find_sequence(node)[0].GetAttribute(scene.KSPACE_FILE) or ""
    return ""


def measured(node, grid: Grid) -> tuple[str, tuple[str, ...]]:
    """What was measured of the images of a sequence, as a line, and notes: by the middle slice of a few frames.

    Kept until the images change, since it takes a tenth of a second. Empty where the voxels cannot be used, which a run
    will say.
    """
    sequence_node = scene.find_sequence(node)[0]
    frames = np.unique(np.linspace(0, len(grid) - 1, FRAMES_LOOKED_AT).astype(int))
    images = (sequence_node.GetNthDataNode(int(index)).GetImageData() for index in frames)
    key = (sequence_node.GetID(), sequence_node.GetMTime(), *(image.GetMTime() for image in images))
    if key not in _measured:
        middle = grid.shape[0] // 2
        _measured.clear()
        try:
            found = acquired.estimate(scene.read_part(sequence_node, grid, frames, slice(middle, middle + 1)))
            _measured[key] = words.measured(found), found.notes
        except STEnhanceError:
            _measured[key] = "", ()
    return _measured[key]


def show_input(ui, parameters: EnhanceParameterNode) -> Grid | None:
    """Describe the input in the panel.

    Returns:
        geometry and time with the corrections of the user; None where the input cannot be used.
    """
    ui.assumedLabel.text = "–"
    if parameters.inputNode is None:
        ui.foundLabel.text = _("Select a sequence. Sample Data offers one in the category STEnhance.")
        return None
    try:
        grid, notes = scene.describe_sequence(parameters.inputNode, **corrections(parameters))
    except STEnhanceError as error:
        ui.foundLabel.text = words.bad(str(error))
        return None
    line, more_notes = measured(parameters.inputNode, grid)
    ui.foundLabel.text = words.grid(grid) + (f"<br>{html.escape(line)}" if line else "")
    ui.assumedLabel.text = "<br>".join(map(html.escape, (*notes, *more_notes))) or _("nothing")
    ui.cyclicCheckBox.checked = grid.periodic
    return grid
