"""Input and result side by side: the panes of a layout, their signed difference, a scene file, a picture."""

from __future__ import annotations

import itertools
import os
from collections.abc import Mapping, Sequence
from pathlib import Path

import numpy as np

from STEnhanceLib.errors import STEnhanceError
from STEnhanceLib.methods import SideMap
from STEnhanceLib.node_times import frame_times
from STEnhanceLib.origin import GENERATED_FRAMES, origins_of
from STEnhanceLib.publication import Publication
from STEnhanceLib.scene import add_sequence, find_sequence, free_name, read_sequence, save_scene
from STEnhanceLib.sequence import Grid, ImageSequence, frames_per_second

# A scene file keeps the number of a layout but not its description (vtkMRMLLayoutNode::WriteXML), so a saved
# comparison must use layouts that every Slicer has. The views are named from left to right, top to bottom.
_SIDE_BY_SIDE = (29, ("Red", "Yellow"))
_TWO_OVER_TWO = (27, ("Red", "Slice4", "Green", "Yellow"))

# Columns and rows in pixels of views that were never on a screen. Slicer keeps the height of a view in mm and adapts
# its width to the window, so upright panes that were stored as squares would cut the image at both sides.
_PANE_SIZES = {29: (560, 840), 27: (640, 400)}

_TITLE_HEIGHT, _GAP = 36, 8  # pixels of a picture

DIFFERENCE = "STEnhance.Difference"  # attribute of the sequence node of a difference: of what
LIMIT_PERCENTILE = 99.5  # of the absolute differences: what is full blue or red

_DIVERGING = "vtkMRMLColorTableNodeFileDivergingBlueRed.txt"


def arrange(panes: Sequence, application_logic=None) -> list:
    """Show sequences side by side: linked, in the plane of the acquired slices, with one field of view.

    Args:
        panes: two to four nodes, sequences or the volumes that show them, from left to right; the first one gives
            orientation, position and field of view.
        application_logic: the one that knows the slice views; the application's where not given.

    Returns:
        The `vtkMRMLSliceNode` of each pane.

    Raises:
        STEnhanceError: another number of panes, or a sequence that no browser shows.
    """
    if not 2 <= len(panes) <= 4:
        raise STEnhanceError(f"{len(panes)} sequences were given to compare; expected two to four.")
    volumes = [shown_volume(node) for node in panes]
    scene = volumes[0].GetScene()
    number, tags = _layout_for(panes)
    scene.GetFirstNodeByClass("vtkMRMLLayoutNode").SetViewArrangement(number)
    if application_logic is None:
        import slicer

        application_logic = slicer.app.applicationLogic()
    logics = [application_logic.GetSliceLogic(scene.GetSingletonNode(tag, "vtkMRMLSliceNode")) for tag in tags]
    show_linked(logics, volumes)
    return [logic.GetSliceNode() for logic in logics[: len(volumes)]]


def show_linked(logics: Sequence, volumes: Sequence) -> None:
    """Put a volume into each view and let the views follow each other in place and scale.

    Args:
        logics: the `vtkMRMLSliceLogic` of each view; the first one gives place and scale.
        volumes: what they show, from left to right; views beyond them are emptied.
    """
    # A linked view hands its volumes on to the others, so link last.
    for logic in logics:
        logic.GetSliceCompositeNode().SetLinkedControl(False)
        logic.GetSliceCompositeNode().SetHotLinkedControl(False)
    for logic, volume in itertools.zip_longest(logics, volumes):
        composite = logic.GetSliceCompositeNode()
        composite.SetBackgroundVolumeID(volume.GetID() if volume is not None else None)
        composite.SetForegroundVolumeID(None)
        composite.SetLabelVolumeID(None)
    look_at(logics[0], volumes[0])
    for logic in logics[1:]:
        look_alike(logics[0].GetSliceNode(), logic.GetSliceNode())
    for logic in logics:
        logic.GetSliceCompositeNode().SetLinkedControl(True)
        logic.GetSliceCompositeNode().SetHotLinkedControl(True)


def publish_difference(result_node, reference_node, name: str = "") -> Publication:
    """Show result minus reference as a sequence of its own, blue where the result is darker and red where brighter.

    It has frames only at moments that both have; between them its pane holds the last one, as that of the sparser of
    the two does.

    Args:
        result_node, reference_node: sequences, or the volumes that show them, on one voxel grid.
        name: of the new sequence.

    Returns:
        The finished publication, in the browser of the denser of the two; its `cancel` removes the difference.

    Raises:
        STEnhanceError: different voxel grids, or no moment in common.
    """
    nodes = [find_sequence(node)[0] for node in (result_node, reference_node)]
    result, reference = (read_sequence(node) for node in nodes)
    _require_one_grid(result, reference)
    near = np.abs(result.times_ms[:, None] - reference.times_ms[None]) <= 1e-3
    pairs = np.argwhere(near)
    differences = [result.frames[a] - reference.frames[b] for a, b in pairs]
    dense_node, dense = (nodes[0], result) if len(result) >= len(reference) else (nodes[1], reference)
    times_ms = result.times_ms[pairs[:, 0]]
    publication = open_difference(dense_node, dense.grid, times_ms, (result.name, reference.name), name)
    for difference in differences:
        publication.add_frame(difference)
    publication.finish()
    show_signed(publication.proxy, float(np.percentile(np.abs(differences), LIMIT_PERCENTILE)))
    return publication


def open_difference(
    beside_node, grid: Grid, times_ms: np.ndarray, names: tuple[str, str], name: str = ""
) -> Publication:
    """A publication for the difference of two sequences, with a window of its own; its frames are still to be added.

    Args:
        beside_node: the sequence in whose browser it will be shown.
        grid: where its voxels lie.
        times_ms: the moments that both sequences have.
        names: of what is subtracted from, and of what is subtracted.
        name: of the new sequence.

    Raises:
        STEnhanceError: no moment in common.
    """
    if not len(times_ms):
        raise STEnhanceError(
            f"{names[0]!r} and {names[1]!r} have no moment in common; expected frames at the same times. "
            "Check the frame duration of both."
        )
    attributes = {DIFFERENCE: " minus ".join(names)}
    return Publication(beside_node, grid.at_times(times_ms), name or " − ".join(names), attributes, share_display=False)


def show_signed(volume, limit: float) -> None:
    """Colour a volume of differences from blue at −limit over white at zero to red at +limit."""
    display = volume.GetDisplayNode()
    display.SetAutoWindowLevel(False)
    display.SetWindowLevel(2 * (limit or 1.0), 0.0)
    display.SetAndObserveColorNodeID(_diverging_colours(volume.GetScene()).GetID())


def save_comparison(
    path: str | os.PathLike,
    input: ImageSequence,
    result: ImageSequence,
    reference: ImageSequence | None = None,
    maps: Mapping[SideMap, np.ndarray] | None = None,
) -> Path:
    """Write an `.mrb` file that opens in Slicer with the input left and the result right, at the first frame.

    With a reference there are four panes: input, result, reference, and, where result and reference share a voxel
    grid, their difference. The scene of the caller is not touched.

    Args:
        maps: what the method yielded beside the frames of the result, for every frame; no pane shows them.

    Raises:
        STEnhanceError: as `save_scene` and `Publication`, or the MRML libraries are not installed.
    """
    host, nodes = compared_scene(input, result, reference, maps=maps)
    arrange(nodes, host.applicationLogic())
    return save_scene(path, host.scene)


def compared_scene(
    input: ImageSequence,
    result: ImageSequence,
    reference: ImageSequence | None = None,
    pane_size: tuple[int, int] | None = None,
    maps: Mapping[SideMap, np.ndarray] | None = None,
):
    """A private scene with the sequences of a comparison, ready for `arrange`, and to be played at their own speed.

    Args:
        input, result, reference: see `save_comparison`.
        pane_size: columns and rows of each view in pixels, for `render_comparison`; a usual screen's where not given.
        maps: see `save_comparison`.

    Returns:
        (host, sequence nodes from left to right); see `headless.Host`.
    """
    from STEnhanceLib import headless

    host = headless.new_host()
    nodes = [add_sequence(input, host.scene)]
    for shown, fallback, beside in ((result, "Result", maps or {}), (reference, "Reference", {})):
        if shown is not None:
            name = shown.name or fallback
            # A reference is no result: what it has beyond the input was measured, unless it says otherwise.
            known = shown is reference or GENERATED_FRAMES in shown.attributes or shown.frame_attributes
            origins = origins_of(shown) if known else None
            publication = Publication(nodes[0], shown.grid, name, shown.attributes, origins=origins, maps=tuple(beside))
            for index, frame in enumerate(shown.magnitude()):
                maps_of_frame = {each.key: values[index] for each, values in beside.items()}
                publication.add_frame(frame, maps=maps_of_frame)
            publication.finish()
            nodes.append(publication.sequence)
    if reference is not None and _same_grid(result, reference):
        nodes.append(publish_difference(nodes[1], nodes[2], "Difference").sequence)
    browser = find_sequence(nodes[0])[1]
    browser.SetSelectedItemNumber(0)
    browser.SetPlaybackRateFps(frames_per_second(frame_times(browser.GetMasterSequenceNode())[0]))
    open_views(host, nodes, pane_size)
    return host, nodes


def open_views(host, panes: Sequence, pane_size: tuple[int, int] | None = None) -> None:
    """Give a scene that was never on a screen the views that `arrange` shows these sequences in.

    Args:
        host: see `headless.Host`.
        panes: two to four nodes, as for `arrange`.
        pane_size: columns and rows of each view in pixels, for `render_comparison`; a usual screen's where not given.
    """
    number, tags = _layout_for(panes)
    host.show_layout(number)
    for tag in tags:
        host.scene.GetSingletonNode(tag, "vtkMRMLSliceNode").SetDimensions(*(pane_size or _PANE_SIZES[number]), 1)


def pane_pixels(slice_node, application_logic=None) -> np.ndarray:
    """What a slice view shows, (rows, columns, 3) uint8, without a window and without OpenGL."""
    from vtk.util import numpy_support

    if application_logic is None:
        import slicer

        application_logic = slicer.app.applicationLogic()
    connection = application_logic.GetSliceLogic(slice_node).GetImageDataConnection()
    columns, rows, _ = slice_node.GetDimensions()
    if connection is None:  # an empty pane
        return np.zeros((rows, columns, 3), np.uint8)
    connection.GetProducer().Update()
    image = connection.GetProducer().GetOutputDataObject(connection.GetIndex())
    columns, rows, _ = image.GetDimensions()
    pixels = numpy_support.vtk_to_numpy(image.GetPointData().GetScalars()).reshape(rows, columns, -1)[::-1]
    opacity = pixels[..., 3:4] / 255.0
    return (pixels[..., :3] * opacity).astype(np.uint8)


def render_comparison(path: str | os.PathLike, panes: Mapping[str, object], application_logic=None) -> Path:
    """Write what the panes show, under their titles, as a PNG: in a row, four of them as two over two.

    Args:
        path: ends in `.png`.
        panes: title to `vtkMRMLSliceNode`, from left to right.
        application_logic: see `arrange`.
    """
    from matplotlib.backends.backend_agg import FigureCanvasAgg
    from matplotlib.figure import Figure

    images = [pane_pixels(node, application_logic) for node in panes.values()]
    rows = 2 if len(images) == 4 else 1
    columns = -(-len(images) // rows)
    cell_height = _TITLE_HEIGHT + max(image.shape[0] for image in images)
    cell_width = _GAP + max(image.shape[1] for image in images)
    height, width = rows * cell_height, columns * cell_width - _GAP
    figure = Figure(figsize=(width / 100, height / 100), dpi=100, facecolor="black")
    for index, (title, image) in enumerate(zip(panes, images, strict=True)):
        left, top = index % columns * cell_width, index // columns * cell_height
        figure.figimage(image, left, height - top - _TITLE_HEIGHT - image.shape[0])
        at = (left + image.shape[1] / 2) / width, 1 - (top + _TITLE_HEIGHT / 2) / height
        figure.text(*at, title, color="white", ha="center", va="center", size=12)
    FigureCanvasAgg(figure).print_png(path)
    return Path(path)


def _layout_for(panes: Sequence) -> tuple[int, tuple[str, ...]]:
    return _SIDE_BY_SIDE if len(panes) == 2 else _TWO_OVER_TWO


def shown_volume(node):
    """The volume in which a browser shows a sequence.

    Raises:
        STEnhanceError: no browser shows it, or as `find_sequence`.
    """
    sequence, browser = find_sequence(node)
    volume = browser.GetProxyNode(sequence) if browser is not None else None
    if volume is None:
        raise STEnhanceError(
            f"No browser shows the sequence {sequence.GetName()!r}; expected one. Select it in the Sequences module."
        )
    return volume


def look_at(logic, volume) -> None:
    """Turn a slice view into the plane of the acquired slices, on the middle one, the whole image in view."""
    import slicer

    node = logic.GetSliceNode()
    directions = slicer.util.arrayFromVTKMatrix(node.GetSliceToRAS())
    directions[:3, :3] = _acquired_plane(directions_in_world(volume))
    with slicer.util.NodeModify(node):
        node.GetSliceToRAS().DeepCopy(slicer.util.vtkMatrixFromArray(directions))
        node.UpdateMatrices()
    logic.FitSliceToAll()
    logic.SnapSliceOffsetToIJK()


def look_alike(first, other) -> None:
    """Give a view the plane and the scale of the first, whatever its own size in pixels."""
    import slicer

    scale = first.GetFieldOfView()[1] / first.GetDimensions()[1]
    columns, rows, _ = other.GetDimensions()
    with slicer.util.NodeModify(other):
        other.GetSliceToRAS().DeepCopy(first.GetSliceToRAS())
        other.SetFieldOfView(scale * columns, scale * rows, first.GetFieldOfView()[2])
        other.SetXYZOrigin(*first.GetXYZOrigin())
        other.UpdateMatrices()


def directions_in_world(volume) -> np.ndarray:
    """(3, 3) unit vectors of I, J and K, with the parent transform applied."""
    import slicer
    from vtkmodules.vtkCommonMath import vtkMatrix4x4

    matrix = vtkMatrix4x4()
    volume.GetIJKToRASDirectionMatrix(matrix)
    directions = slicer.util.arrayFromVTKMatrix(matrix)[:3, :3]
    transform = volume.GetParentTransformNode()
    if transform is not None and transform.IsTransformToWorldLinear():
        transform.GetMatrixTransformToWorld(matrix)
        directions = slicer.util.arrayFromVTKMatrix(matrix)[:3, :3] @ directions
    return directions / np.linalg.norm(directions, axis=0)


def _acquired_plane(ijk: np.ndarray) -> np.ndarray:
    """The slice-to-RAS directions that lie in the I–J plane and come closest to how radiologists look at images."""
    usual = (  # right, up and normal of Slicer's axial, coronal and sagittal views
        np.array([(-1, 0, 0), (0, 1, 0), (0, 0, 1)]).T,
        np.array([(-1, 0, 0), (0, 0, 1), (0, 1, 0)]).T,
        np.array([(0, -1, 0), (0, 0, 1), (1, 0, 0)]).T,
    )
    i, j, k = ijk.T
    turned = [
        np.stack((a * x, b * y, c * k), axis=1)
        for x, y in ((i, j), (j, i))
        for a, b, c in itertools.product((1, -1), repeat=3)
    ]
    return max(turned, key=lambda plane: max(np.sum(plane * view) for view in usual))


def _same_grid(a: ImageSequence, b: ImageSequence) -> bool:
    far_corner = np.array([*a.grid.shape[::-1], 1.0])
    return a.grid.shape == b.grid.shape and np.abs((a.ijk_to_ras - b.ijk_to_ras) @ far_corner).max() < 0.01


def _require_one_grid(a: ImageSequence, b: ImageSequence) -> None:
    if not _same_grid(a, b):
        sizes = ["×".join(map(str, s.grid.shape[::-1])) + f" voxels of {s.grid.spacing_mm[0]:.3g} mm" for s in (a, b)]
        raise STEnhanceError(
            f"{a.name!r} has {sizes[0]} and {b.name!r} {sizes[1]}, or they lie elsewhere; expected one voxel grid for "
            "a difference. Resample one onto the other."
        )


def _diverging_colours(scene):
    """Slicer's blue-red table; outside the application, which brings that file, one like it."""
    found = scene.GetNodeByID(_DIVERGING) or scene.GetFirstNodeByName("Difference blue-red")
    if found is not None:
        return found
    colours = scene.AddNewNodeByClass("vtkMRMLColorTableNode", free_name(scene, "Difference blue-red"))
    colours.SetTypeToUser()
    colours.SetNumberOfColors(256)
    anchors = np.array([(0.09, 0.25, 0.75), (0.95, 0.95, 0.95), (0.75, 0.09, 0.15)])
    for index, at in enumerate(np.linspace(0, 2, 256)):
        colours.SetColor(index, *(float(np.interp(at, range(3), channel)) for channel in anchors.T), 1.0)
    return colours
