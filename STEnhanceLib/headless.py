"""MRML outside the application: the scene and the logics that Slicer would bring, on the PyPI package `slicer-core`.

Inside Slicer nothing here is needed and nothing is changed.
"""

from __future__ import annotations

import tempfile
from dataclasses import dataclass
from typing import Any

from STEnhanceLib.errors import STEnhanceError


@dataclass(frozen=True)
class Host:
    """What stands in for the application.

    Attributes:
        scene: a `vtkMRMLScene` with colour, layout and slice nodes, as after the start of Slicer.
        logics: they act on the scene as long as this object lives; the first one knows the slice views.
    """

    scene: Any
    logics: tuple[Any, ...]

    def applicationLogic(self):  # noqa: N802 (scene code calls `slicer.app.applicationLogic()` as in Slicer)
        """The logic that knows the slice views."""
        return self.logics[0]

    def show_layout(self, number: int) -> None:
        """Switch to one of Slicer's layouts, which makes its views."""
        self.scene.GetFirstNodeByClass("vtkMRMLLayoutNode").SetViewArrangement(number)


def running_scene():
    """The scene of Slicer, or of a host that is started here where there is none yet."""
    slicer = mrml_libraries()
    if not hasattr(slicer, "app"):
        start()
    return slicer.mrmlScene


def start() -> Any:
    """Open a fresh scene as `slicer.mrmlScene` and return it; inside Slicer, return the user's scene as it is.

    Raises:
        STEnhanceError: the MRML libraries are not installed.
    """
    slicer = mrml_libraries()
    if not hasattr(slicer, "app") or isinstance(slicer.app, Host):
        slicer.app = new_host()
        slicer.mrmlScene = slicer.app.scene
    return slicer.mrmlScene


def mrml_libraries():
    """The module `slicer`.

    Raises:
        STEnhanceError: it is not installed, or a library that it needs is missing.
    """
    try:
        import slicer
    except ImportError as error:
        if error.name == "slicer":
            raise STEnhanceError(
                "MRML scenes need the package slicer-core, which is not installed here; install it with "
                "`pip install 'stenhance[scene]'`, or save images as .seq.nrrd instead."
            ) from None
        raise STEnhanceError(
            f"The package slicer-core is installed but cannot be loaded ({error}); mend that, or save images as "
            ".seq.nrrd instead."
        ) from None
    return slicer


def new_host() -> Host:
    """A private scene with its logics, apart from `slicer.mrmlScene`; also inside Slicer.

    Raises:
        STEnhanceError: the MRML libraries are not installed.
    """
    slicer = mrml_libraries()
    scene, application = slicer.vtkMRMLScene(), slicer.vtkSlicerApplicationLogic()
    application.SetMRMLScene(scene)
    # Reading an .mrb unpacks it into the cache folder of the scene's data manager, so there must be one.
    cache = tempfile.TemporaryDirectory(prefix="stenhance-mrml-")
    remote, files = slicer.vtkMRMLRemoteIOLogic(), slicer.vtkDataIOManagerLogic()
    application.SetMRMLSceneDataIO(scene, remote, files)
    scene.GetCacheManager().SetRemoteCacheDirectory(cache.name)
    # Colour tables first: the other logics look for them when they make display nodes.
    colours = slicer.vtkMRMLColorLogic()
    colours.SetMRMLScene(scene)
    _follow_slice_views(slicer, scene, application)
    logics = [application, remote, files, cache, colours]
    for kind in (slicer.vtkSlicerVolumesLogic, slicer.vtkSlicerSequencesLogic, slicer.vtkMRMLLayoutLogic,
                 slicer.vtkMRMLSliceLinkLogic):  # fmt: skip
        logic = kind()
        logic.SetMRMLApplicationLogic(application)
        logic.SetMRMLScene(scene)
        logics.append(logic)
    return Host(scene, tuple(logics))


def _follow_slice_views(slicer, scene, application) -> None:
    """Give each slice node its logic, as the layout manager of the application does."""
    from vtkmodules.util.misc import calldata_type
    from vtkmodules.util.vtkConstants import VTK_OBJECT
    from vtkmodules.vtkCommonCore import vtkCollection

    slice_logics = vtkCollection()
    application.SetSliceLogics(slice_logics)

    @calldata_type(VTK_OBJECT)
    def on_node_added(_caller, _event, node):
        if node.IsA("vtkMRMLSliceNode"):
            logic = slicer.vtkMRMLSliceLogic()
            logic.SetMRMLApplicationLogic(application)
            logic.SetMRMLScene(scene)
            logic.SetSliceNode(node)
            slice_logics.AddItem(logic)

    scene.AddObserver(slicer.vtkMRMLScene.NodeAddedEvent, on_node_added)
