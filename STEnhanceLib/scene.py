"""MRML sequence nodes to `ImageSequence` and back: reads what the user loaded, publishes results beside it.

Runs unchanged inside Slicer and on `slicer-core` (see `headless`). Only to be called from the main thread.
"""

from __future__ import annotations

import logging
import os
import tempfile
from collections.abc import Callable, Iterator, Mapping, Sequence
from pathlib import Path

import numpy as np

from STEnhanceLib.assumed import NOT_A_CYCLE, without_doubts
from STEnhanceLib.errors import STEnhanceError
from STEnhanceLib.files.replace import keep_mode, refuse_irregular
from STEnhanceLib.node_events import silent
from STEnhanceLib.node_times import FRAME_TIME_MS, frame_times
from STEnhanceLib.origin import Origin, read_origins
from STEnhanceLib.printed_by_libraries import kept_back
from STEnhanceLib.sequence import Grid, ImageSequence

logger = logging.getLogger(__name__)

# Node attributes. They survive in .seq.nrrd and .mrb files, where `files` reads and writes the same ones.
PERIODIC = "STEnhance.Periodic"
NOTES = "STEnhance.Notes"
KSPACE_FILE = "STEnhance.KSpaceFile"  # of the measurement that belongs to the images

_NOT_PROVENANCE = ("DataNodeClassName", PERIODIC, NOTES, "STEnhance.Name", "STEnhance.Voxels")


def find_sequence(node):
    """The sequence that a node stands for, and the browser that shows it.

    Args:
        node: a `vtkMRMLSequenceNode`, or the volume in which a browser shows one.

    Returns:
        (sequence node, browser node); the browser is None where none shows the sequence.

    Raises:
        STEnhanceError: nothing was selected, or a node that belongs to no sequence.
    """
    if node is None:
        raise STEnhanceError("No sequence is selected; expected a 4D image. Load one and select it as the input.")
    browsers = list(_nodes(node.GetScene(), "vtkMRMLSequenceBrowserNode"))
    if node.IsA("vtkMRMLSequenceNode"):
        return node, next((b for b in browsers if b.IsSynchronizedSequenceNode(node, True)), None)
    for browser in browsers:
        sequence = browser.GetSequenceNode(node)
        if sequence is not None:
            return sequence, browser
    raise STEnhanceError(
        f"{node.GetName()!r} is a {node.GetNodeTagName()} that belongs to no sequence; expected a 4D image. "
        "Load the images as a sequence (in the DICOM module: as a volume sequence) and select that."
    )


def read_sequence(
    sequence_node,
    allocate: Callable[..., np.ndarray] = np.empty,
    *,
    frame_duration_ms: float | None = None,
    periodic: bool | None = None,
) -> ImageSequence:
    """Read all frames of a sequence node; the node, its browser and its proxy stay as they are.

    Args:
        sequence_node: a `vtkMRMLSequenceNode` of scalar volumes, or the volume in which a browser shows it; a parent
            transform is not applied.
        allocate: `allocate(shape, dtype)` makes the (T, K, J, I) float32 array into which each frame is copied once,
            for example a memory-mapped file that another process reads.
        frame_duration_ms: overrides the times of the node, in ms between frames.
        periodic: overrides what is known about the last frame being followed by the first.

    Raises:
        STEnhanceError: not a sequence of scalar volumes, empty, frames that differ in size or geometry, or NaN voxels.
    """
    *_steps, sequence = reading(sequence_node, allocate, frame_duration_ms=frame_duration_ms, periodic=periodic)
    return sequence


def reading(
    sequence_node,
    allocate: Callable[..., np.ndarray] = np.empty,
    *,
    frame_duration_ms: float | None = None,
    periodic: bool | None = None,
) -> Iterator[ImageSequence | None]:
    """`read_sequence` in steps, between which the application may go on; what is read is the node at the first step.

    Yields:
        None once all but the voxels is known, and after each frame but the last; then the sequence.

    Raises:
        STEnhanceError: at the first step or, where voxels are NaN, at the last, as `read_sequence`; or at any of them
            that the voxels of a frame were changed meanwhile.
    """
    sequence_node, _ = find_sequence(sequence_node)
    grid, notes = describe_sequence(sequence_node, frame_duration_ms=frame_duration_ms, periodic=periodic)
    name, attributes = sequence_node.GetName() or "", _provenance(sequence_node)
    of_frames = _attributes_of_frames(sequence_node)
    # Images stay as long as they are held here, also when their node gets another one or leaves the scene.
    images = [(volume.GetImageData(), volume.GetImageData().GetMTime()) for volume in _scalar_volumes(sequence_node)]
    frames = allocate((len(grid), *grid.shape), np.float32)
    for index, (image, changed) in enumerate(images):
        yield None
        if image.GetMTime() != changed:
            raise STEnhanceError(
                f"Frame {index + 1} of {name!r} was changed while the sequence was read; expected it to stay as it is. "
                "Run again."
            )
        frames[index] = _voxels(image)
    yield ImageSequence(frames, grid.ijk_to_ras, grid.times_ms, grid.periodic, name, notes, attributes, of_frames)


def read_part(sequence_node, grid: Grid, frames: Sequence[int], slices: slice) -> ImageSequence:
    """Read some frames of some neighbouring slices, and no other voxels; arguments as `Grid.part`.

    Args:
        grid: of the whole sequence, see `describe_sequence`.
    """
    sequence_node, _ = find_sequence(sequence_node)
    images = (sequence_node.GetNthDataNode(int(index)).GetImageData() for index in frames)
    voxels = [_voxels(image)[slices].astype(np.float32) for image in images]
    of_frames = _attributes_of_frames(sequence_node)
    return ImageSequence.from_frames(
        voxels,
        grid.part(frames, slices),
        name=sequence_node.GetName() or "",
        attributes=_provenance(sequence_node),
        frame_attributes=[of_frames[int(index)] for index in frames],
    )


def frame_origins(sequence_node) -> tuple[Origin, ...]:
    """Where each frame of a sequence node comes from, see `origin.read_origins`."""
    sequence_node, _ = find_sequence(sequence_node)
    frames = _attributes_of_frames(sequence_node)
    return read_origins(frames, _provenance(sequence_node), len(frames))


def describe_sequence(
    sequence_node, *, frame_duration_ms: float | None = None, periodic: bool | None = None
) -> tuple[Grid, tuple[str, ...]]:
    """Geometry and time of a sequence without its voxels, and what had to be assumed; arguments as `read_sequence`."""
    sequence_node, _ = find_sequence(sequence_node)
    volumes = _scalar_volumes(sequence_node)
    matrix = _common_geometry(sequence_node, volumes)
    times_ms, assumed = frame_times(sequence_node, frame_duration_ms)
    stored = filter(None, (sequence_node.GetAttribute(NOTES) or "").split("\n"))
    kept = without_doubts(stored, times=frame_duration_ms is not None, cycle=periodic is not None)
    notes = tuple(dict.fromkeys((*kept, *assumed)))
    if periodic is None:
        known = sequence_node.GetAttribute(PERIODIC)
        periodic = known == "yes"
        if known is None and NOT_A_CYCLE not in notes:
            notes += (NOT_A_CYCLE,)
    return Grid(volumes[0].GetImageData().GetDimensions()[::-1], matrix, times_ms, periodic), notes


def read_volume(volume_node) -> ImageSequence:
    """Read a single volume, such as a planning scan, as a sequence of one frame.

    Raises:
        STEnhanceError: not a greyscale volume with voxels.
    """
    found = _not_greyscale(volume_node)
    if found:
        raise STEnhanceError(f"{volume_node.GetName()!r} is {found}; expected a greyscale volume. Select another one.")
    frames = _voxels(volume_node.GetImageData()).astype(np.float32)[None]
    return ImageSequence(frames, _ijk_to_ras(volume_node), [0.0], name=volume_node.GetName() or "")


def add_sequence(sequence: ImageSequence, scene=None):
    """Put a sequence into a scene as nodes of its own, with a browser that shows its first frame.

    Args:
        sequence: complex frames are stored as their magnitude, since MRML volumes are real.
        scene: a `vtkMRMLScene`; the application's where not given.

    Returns:
        The new `vtkMRMLSequenceNode`; `find_sequence` gives its browser.
    """
    scene = scene or _application_scene()
    node = scene.AddNewNodeByClass("vtkMRMLSequenceNode", free_name(scene, sequence.name or "Sequence"))
    node.SetIndexName("time")
    node.SetIndexUnit("ms")
    assumed = {NOTES: "\n".join(sequence.notes)} if sequence.notes else {}
    describe(node, {**sequence.attributes, **assumed}, sequence.periodic)
    for index, (frame, time) in enumerate(zip(sequence.magnitude(), sequence.times_ms, strict=True)):
        own = sequence.frame_attributes[index] if sequence.frame_attributes else {}
        insert_frame(node, f"{time:.9g}", frame, sequence.ijk_to_ras, {FRAME_TIME_MS: repr(float(time)), **own})
    node.InvokePendingModifiedEvent()
    add_browser(node)
    return node


def add_browser(sequence_node):
    """A new browser whose master is this sequence; its proxy volume appears in the scene."""
    scene = sequence_node.GetScene()
    browser = scene.AddNewNodeByClass(
        "vtkMRMLSequenceBrowserNode", free_name(scene, f"{sequence_node.GetName()} browser")
    )
    browser.SetAndObserveMasterSequenceNodeID(sequence_node.GetID())
    return browser


def free_name(scene, name: str) -> str:
    """This name, with a number behind it where a node bears it already."""
    return name if scene.GetFirstNodeByName(name) is None else scene.GenerateUniqueName(name)


def describe(sequence_node, attributes: Mapping[str, str], periodic: bool) -> None:
    """Write provenance into the attributes of a sequence node."""
    for name, value in {**attributes, PERIODIC: "yes" if periodic else "no"}.items():
        if value:
            sequence_node.SetAttribute(name, str(value))


def insert_frame(
    sequence_node, index_value: str, voxels: np.ndarray, ijk_to_ras, attributes: Mapping[str, str]
) -> None:
    """Insert one (K, J, I) frame as float32, silently: see `node_events.silent`.

    The voxels are copied once, into memory that VTK owns, so the caller may reuse or unmap its own at once.
    """
    import slicer
    from vtk.util import numpy_support
    from vtkmodules.vtkCommonCore import VTK_FLOAT
    from vtkmodules.vtkCommonDataModel import vtkImageData

    image = vtkImageData()
    image.SetDimensions(voxels.shape[::-1])
    image.AllocateScalars(VTK_FLOAT, 1)
    numpy_support.vtk_to_numpy(image.GetPointData().GetScalars())[:] = np.ravel(voxels)
    with silent(sequence_node):
        # SetDataNodeAtValue copies deeply, so it gets an empty volume and the voxels follow.
        volume = sequence_node.SetDataNodeAtValue(slicer.vtkMRMLScalarVolumeNode(), index_value)
        volume.SetName(f"{sequence_node.GetName()}_{sequence_node.GetNumberOfDataNodes() - 1:04d}")
        volume.SetIJKToRASMatrix(slicer.util.vtkMatrixFromArray(ijk_to_ras))
        volume.SetAndObserveImageData(image)
        for name, value in attributes.items():
            volume.SetAttribute(name, value)


def save_scene(path: str | os.PathLike, scene=None) -> Path:
    """Write a scene with all its data as one `.mrb` file; the path holds the whole file or stays as it was.

    Raises:
        STEnhanceError: not an `.mrb` path, no such folder, or the data could not be written.
    """
    scene = scene or _application_scene()
    target = Path(path).resolve()
    if target.suffix != ".mrb":
        raise STEnhanceError(f"{target.name!r} was given for a scene; expected a file name that ends in .mrb.")
    if not target.parent.is_dir():
        raise STEnhanceError(f"The folder {target.parent} does not exist; create it, or choose another one.")
    refuse_irregular(target)
    import slicer

    messages = slicer.vtkMRMLMessageCollection()
    try:
        # The folder inside the bundle takes the name of the file, so the unfinished file bears the final name already.
        with kept_back(), tempfile.TemporaryDirectory(prefix=".saving-", dir=target.parent) as folder:
            unfinished = Path(folder) / target.name
            written = scene.WriteToMRB(str(unfinished), None, messages)
            if not written or not unfinished.is_file():
                told = messages.GetAllMessagesAsString().strip()
                logger.debug("%s", told)
                _, _, reason = told.rpartition("': ")  # of the last message, behind the name of the unfinished file
                raise STEnhanceError(
                    f"{target} could not be written ({reason or 'no reason given'}); expected room on the disks and "
                    "folders that may be written. Check both."
                )
            keep_mode(target, unfinished)
            unfinished.replace(target)
    except OSError as error:
        raise STEnhanceError(f"{target} could not be written: {error.strerror}.") from error
    return target


def load_scene(path: str | os.PathLike, scene=None) -> None:
    """Replace the content of a scene by that of an `.mrb` file.

    Raises:
        STEnhanceError: the file does not exist or is not a scene.
    """
    scene = scene or _application_scene()
    source = Path(path).resolve()
    if not source.is_file():
        raise STEnhanceError(f"{source} does not exist; expected an .mrb file.")
    import slicer

    messages = slicer.vtkMRMLMessageCollection()
    working_folder = Path.cwd()
    read = scene.ReadFromMRB(str(source), True, messages)
    os.chdir(working_folder)  # a file that is no archive makes vtkArchive::UnZip stay in a folder that is deleted later
    if not read:
        raise STEnhanceError(f"{source} could not be read as a scene: {messages.GetAllMessagesAsString().strip()}")


def _application_scene():
    from STEnhanceLib import headless

    return headless.running_scene()


def _nodes(scene, class_name: str):
    if scene is None:
        return
    for index in range(scene.GetNumberOfNodesByClass(class_name)):
        yield scene.GetNthNodeByClass(index, class_name)


def _scalar_volumes(sequence_node) -> list:
    name, count = sequence_node.GetName(), sequence_node.GetNumberOfDataNodes()
    if count == 0:
        raise STEnhanceError(f"The sequence {name!r} has no frames; expected at least one. Load its images first.")
    volumes = [sequence_node.GetNthDataNode(index) for index in range(count)]
    for index, volume in enumerate(volumes):
        found = _not_greyscale(volume)
        if found:
            raise STEnhanceError(
                f"Frame {index + 1} of the sequence {name!r} is {found}; expected greyscale volumes. "
                "Choose a sequence of MR images."
            )
    return volumes


def _not_greyscale(volume) -> str | None:
    """What a node is if it is no greyscale volume with voxels; None if it is one."""
    if volume is None:
        return "nothing"
    if volume.GetClassName() != "vtkMRMLScalarVolumeNode":
        # Label maps and vector volumes are kinds of scalar volumes too, so the class itself is asked.
        return f"a {volume.GetNodeTagName()}"
    if volume.GetImageData() is None or volume.GetImageData().GetNumberOfPoints() == 0:
        return "a volume without voxels"
    components = volume.GetImageData().GetNumberOfScalarComponents()
    return None if components == 1 else f"a colour image of {components} components"


def _provenance(sequence_node) -> dict[str, str]:
    """The attributes of a sequence node."""
    names = (name for name in sequence_node.GetAttributeNames() if name not in _NOT_PROVENANCE)
    return {name: sequence_node.GetAttribute(name) for name in names}


def _attributes_of_frames(sequence_node) -> list[dict[str, str]]:
    """Our own ones of every frame; when it was taken is known to the sequence."""
    frames = [sequence_node.GetNthDataNode(index) for index in range(sequence_node.GetNumberOfDataNodes())]
    return [
        {
            name: frame.GetAttribute(name)
            for name in frame.GetAttributeNames()
            if name.startswith("STEnhance.") and name != FRAME_TIME_MS
        }
        for frame in frames
    ]


def _common_geometry(sequence_node, volumes: list) -> np.ndarray:
    size, matrix = volumes[0].GetImageData().GetDimensions(), _ijk_to_ras(volumes[0])
    far_corner = np.array([*size, 1.0])
    for index, volume in enumerate(volumes):
        other = volume.GetImageData().GetDimensions()
        if other != size:
            what = f"{_times_sign(other)} voxels, the first frame {_times_sign(size)}"
        elif np.abs((_ijk_to_ras(volume) - matrix) @ far_corner).max() > 1e-3:
            what = "another position, spacing or direction than the first frame"
        else:
            continue
        raise STEnhanceError(
            f"Frame {index + 1} of the sequence {sequence_node.GetName()!r} has {what}; expected one grid for all "
            "frames. Resample the frames onto the grid of the first one."
        )
    return matrix


def _voxels(image) -> np.ndarray:
    """A (K, J, I) view of a vtkImageData without a copy."""
    from vtk.util import numpy_support

    return numpy_support.vtk_to_numpy(image.GetPointData().GetScalars()).reshape(image.GetDimensions()[::-1])


def _ijk_to_ras(volume) -> np.ndarray:
    import slicer
    from vtkmodules.vtkCommonMath import vtkMatrix4x4

    matrix = vtkMatrix4x4()
    volume.GetIJKToRASMatrix(matrix)
    return slicer.util.arrayFromVTKMatrix(matrix)


def _times_sign(size) -> str:
    return "×".join(map(str, size))
