"""Volumes under transforms: a registration in Slicer leaves the voxels as they are and moves the node."""

from __future__ import annotations

from dataclasses import replace

import numpy as np
import pytest
from comparing import DIFFERENCE, REFERENCE, compare, composite

pytest.importorskip("PySide6")
pytest.importorskip("slicer")

from STEnhanceLib.beside import seen_from, volume_of
from STEnhanceLib.errors import STEnhanceError
from STEnhanceLib.methods import Need, all_methods
from STEnhanceLib.scene import add_sequence

SHIFT_MM = np.array([12.0, -7.0, 5.0])


def shifted(sequence, mm):
    matrix = np.eye(4)
    matrix[:3, 3] = mm
    return replace(sequence, ijk_to_ras=matrix @ sequence.ijk_to_ras)


def put_under_shift(volume, mm):
    import slicer

    matrix = np.eye(4)
    matrix[:3, 3] = mm
    node = slicer.mrmlScene.AddNewNodeByClass("vtkMRMLLinearTransformNode")
    node.SetMatrixTransformToParent(slicer.util.vtkMatrixFromArray(matrix))
    volume.SetAndObserveTransformNodeID(node.GetID())


def put_under_warp(volume):
    """A thin-plate spline that moves its three corners by `SHIFT_MM` and more besides."""
    import slicer
    from vtkmodules.vtkCommonCore import vtkPoints
    from vtkmodules.vtkCommonTransforms import vtkThinPlateSplineTransform

    spline = vtkThinPlateSplineTransform()
    spline.SetBasisToR()
    for landmarks, moved in ((spline.SetSourceLandmarks, 0.0), (spline.SetTargetLandmarks, 1.0)):
        points = vtkPoints()
        for corner in np.array([(0, 0, 0), (90, 0, 0), (0, 90, 0), (0, 0, 90), (40, 40, 40)]):
            points.InsertNextPoint(*(corner + moved * SHIFT_MM * (2 if corner.any() else 1)))
        landmarks(points)
    node = slicer.mrmlScene.AddNewNodeByClass("vtkMRMLTransformNode")
    node.SetAndObserveTransformToParent(spline)
    volume.SetAndObserveTransformNodeID(node.GetID())


@pytest.fixture
def moved_reference(run, beating_disc):
    """The truth as scanned in another position, and brought back by a registration."""
    import slicer

    node = add_sequence(shifted(replace(beating_disc, name="truth"), -SHIFT_MM), slicer.mrmlScene)
    put_under_shift(volume_of(node), SHIFT_MM)
    return node


def test_a_registered_planning_scan_lies_where_the_views_show_it(host, run):
    import slicer

    from STEnhanceLib.panels import plan
    from STEnhanceLib.panels.parameter_node import EnhanceParameterNode

    volume = slicer.util.addVolumeFromArray(np.ones((2, 8, 8), np.float32), ijkToRAS=np.diag([2.0, 2, 2, 1]))
    put_under_shift(volume, SHIFT_MM)
    parameters = EnhanceParameterNode(slicer.mrmlScene.AddNewNodeByClass("vtkMRMLScriptedModuleNode"))
    parameters.inputNode, parameters.priorVolume = run[1], volume
    method = next(method for method in all_methods().values() if Need.PRIOR in method.takes)
    parameters.kspacePath = __file__  # which is not read before a run
    assert np.allclose(plan.inputs(parameters, method)["prior"].ijk_to_ras[:3, 3], SHIFT_MM)
    put_under_shift(volume_of(run[1]), SHIFT_MM)  # the images were moved as far
    assert np.allclose(plan.inputs(parameters, method)["prior"].ijk_to_ras[:3, 3], 0)


def test_a_registered_reference_is_compared_where_the_views_show_it(host, panel, run, beating_disc, moved_reference):
    import slicer

    put_under_shift(volume_of(run[2]), 3 * SHIFT_MM)  # and the patient was moved in the scene
    volume_of(run[1]).SetAndObserveTransformNodeID(volume_of(run[2]).GetTransformNodeID())
    put_under_shift(volume_of(moved_reference), 4 * SHIFT_MM)
    panel.ui.referenceSelector.setCurrentNode(moved_reference)
    panel.ui.referenceCheckBox.checked = panel.ui.differenceCheckBox.checked = True
    compare(host, panel)
    shown = slicer.mrmlScene.GetNodeByID(composite(REFERENCE).GetBackgroundVolumeID())
    corners = [[0.0] * 3, [0.0] * 3]
    for volume, corner in zip((shown, volume_of(moved_reference)), corners, strict=True):
        volume.TransformPointToWorld(volume.GetImageData() and volume.GetOrigin(), corner)
    assert np.allclose(*corners), "the copy lies where the reference does"
    difference = slicer.mrmlScene.GetNodeByID(composite(DIFFERENCE).GetBackgroundVolumeID())
    assert np.allclose(slicer.util.arrayFromVolume(difference), 0.1 * beating_disc.frames[0], atol=1e-3)


def test_a_registered_reference_is_measured_where_the_views_show_it(host, panel, run, reference, moved_reference):
    answers = []
    panel._measuring._on_done = answers.append
    for node in (reference, moved_reference):
        panel._measuring.start(*run[1:], node)
        host.wait_until(lambda: not panel.busy)
    assert np.allclose(answers[1]["after"]["psnr"], answers[0]["after"]["psnr"], atol=1e-3)


def test_what_lies_under_a_bending_transform_of_its_own_is_refused(host, run, beating_disc):
    volume = volume_of(run[1])
    put_under_warp(volume)
    with pytest.raises(STEnhanceError, match="Harden the transform"):
        seen_from(None, volume, beating_disc.grid)
    with pytest.raises(STEnhanceError, match="cine"):
        seen_from(volume, None, beating_disc.grid)
    assert seen_from(volume, volume, beating_disc.grid) is beating_disc.grid, "both bend alike"


def test_a_profile_follows_the_images_also_where_a_transform_bends(host, run, beating_disc):
    from STEnhanceLib.panels import time_profile

    _browser, _before, after = run
    voxels = np.array([(4, 19, 1, 1), (40, 19, 1, 1)])
    straight = time_profile.sample(after, (voxels @ beating_disc.ijk_to_ras.T)[:, :3], points=37)
    volume = volume_of(after)
    put_under_warp(volume)
    ends = []
    for corner in (voxels @ beating_disc.ijk_to_ras.T)[:, :3]:
        ends.append([0.0] * 3)
        volume.TransformPointToWorld(corner.tolist(), ends[-1])
    bent = time_profile.sample(after, np.array(ends), points=37)
    assert np.allclose(bent[[0, -1]], straight[[0, -1]], rtol=0.02)
    image = beating_disc.frames[0, 1, 19]
    assert time_profile.default_line(after).shape == (2, 3) and image.any()
