"""What was generated stays generated: through files, scenes and further runs, with its way to a measured frame."""

from __future__ import annotations

from dataclasses import replace

import numpy as np
import pytest

from STEnhanceLib import files
from STEnhanceLib.methods import find_method, parse_parameters
from STEnhanceLib.methods.run import enhance_all
from STEnhanceLib.origin import GENERATED_FRAMES, Lineage, Origin, origins_of, unsupported_per_frame
from STEnhanceLib.sequence import Grid


def enhanced(sequence, key: str, **settings):
    method = find_method(key)
    return enhance_all(method, sequence, parse_parameters(method, settings))


@pytest.fixture
def dense(beating_disc):
    """Sixteen frames, every other one made by linear interpolation, 25 ms from its neighbours."""
    return enhanced(beating_disc, "linear", factor=2)


def test_a_result_says_of_each_frame_where_it_comes_from(dense):
    assert dense.attributes[GENERATED_FRAMES] == "8 of 16"
    assert origins_of(dense) == (Origin(unsupported=0.0), Origin(True, "linear", 25.0, 1.0)) * 8


def test_a_part_keeps_the_origins_of_its_frames(dense):
    assert origins_of(dense.with_frames([1, 2])) == origins_of(dense)[1:3]
    assert origins_of(dense.part([15, 0, 1], slice(0, 1))) == tuple(origins_of(dense)[n] for n in (15, 0, 1))


def test_where_no_measured_frame_is_left_the_way_to_one_is_kept(dense):
    only_generated = replace(dense.with_frames(range(1, 16, 2)), periodic=False)
    further = origins_of(enhanced(only_generated, "linear", factor=2))
    assert all(origin.generated for origin in further)
    assert [origin.distance_ms for origin in further] == [25.0, 50.0] * 7 + [25.0]


def test_a_method_that_sees_only_voxels_supports_a_generated_frame_no_better(dense):
    finer = enhanced(dense, "b-spline", factor=2)
    shares = unsupported_per_frame(finer)
    assert (shares[1::2] == 1).all()
    assert (shares[::2] < 1).all()
    grid = Grid((1, 2, 2), np.eye(4), [0.0, 10.0, 20.0])
    before = [Origin(unsupported=0.5), Origin(unsupported=0.1), Origin(True, "motion", 5.0, 1.0)]
    lineage = Lineage(before, [0, 10, 20], grid)
    assert lineage.inherited(0, np.float32([0.2, 0.8])).tolist() == pytest.approx([0.5, 0.8])
    assert np.isnan(lineage.inherited(1, np.nan)), "the method cannot tell"
    assert lineage.inherited(2, np.nan) == 1


def test_a_report_calls_no_generated_frame_of_its_input_measured(dense):
    from STEnhanceLib.evaluation.comparison import Comparison
    from STEnhanceLib.evaluation.panes import make_viewer

    comparison = Comparison("chain", dense, [dense])
    assert comparison.measured.tolist() == [True, False] * 8
    panes = make_viewer(comparison, 1_000_000).data["panes"]
    assert panes[1]["badges"] == ["measured", "generated"] * 8


def test_files_of_older_versions_tell_by_the_shares_of_their_frames_or_count_as_generated(beating_disc):
    attributes = {GENERATED_FRAMES: "2 of 8", "STEnhance.Method": "motion"}
    told = replace(beating_disc, attributes={**attributes, "STEnhance.UnsupportedPerFrame": "0 1 0 0 0 1 0 0"})
    assert [origin.generated for origin in origins_of(told)] == [False, True, False, False, False, True, False, False]
    untold = replace(beating_disc, attributes=attributes)
    assert all(origin.generated and origin.method == "motion" for origin in origins_of(untold))
    assert enhanced(untold, "zero-fill").attributes[GENERATED_FRAMES] == "8 of 8"


def test_slicer_keeps_the_origins_of_a_file_of_the_command_line(mrml_scene, dense, tmp_path):
    from STEnhanceLib import scene

    files.write(dense, tmp_path / "dense.seq.nrrd")
    node = mrml_scene.AddNewNodeByClass("vtkMRMLSequenceNode", "dense")
    storage = mrml_scene.AddNewNodeByClass("vtkMRMLVolumeSequenceStorageNode")
    storage.SetFileName(str(tmp_path / "dense.seq.nrrd"))
    assert storage.ReadData(node)
    third, fourth = node.GetNthDataNode(2), node.GetNthDataNode(3)
    assert third.GetAttribute("STEnhance.Generated") == "no"
    assert fourth.GetAttribute("STEnhance.Generated") == "yes"
    assert fourth.GetAttribute("STEnhance.MsToMeasured") == "25"
    assert fourth.GetAttribute("STEnhance.TimeMs") == "75.0"
    assert scene.frame_origins(node) == origins_of(dense)
    storage.SetFileName(str(tmp_path / "saved by Slicer.seq.nrrd"))
    assert storage.WriteData(node)
    assert origins_of(files.read(tmp_path / "saved by Slicer.seq.nrrd")) == origins_of(dense)


def test_a_chain_of_runs_in_the_scene_and_the_scene_file_keep_them(mrml_scene, beating_disc, tmp_path):
    from STEnhanceLib import headless, scene
    from STEnhanceLib.enhancing import SceneRun
    from STEnhanceLib.jobs import Worker

    with Worker() as worker:
        dense = SceneRun(worker, scene.add_sequence(beating_disc), "linear", {"factor": 2}, name="dense").wait()
        finer = SceneRun(worker, dense, "zero-fill", {"factor": 2}, name="finer").wait()
    expected = (Origin(unsupported=0.0), Origin(True, "linear", 25.0, 1.0)) * 8
    assert scene.frame_origins(finer) == expected
    assert finer.GetAttribute(GENERATED_FRAMES) == "8 of 16"
    other = headless.new_host()
    scene.load_scene(scene.save_scene(tmp_path / "chain.mrb", mrml_scene), other.scene)
    assert scene.frame_origins(other.scene.GetFirstNodeByName("finer")) == expected


@pytest.mark.usefixtures("mrml_scene")
def test_a_saved_comparison_marks_results_and_not_the_reference(dense, beating_disc):
    from STEnhanceLib import scene
    from STEnhanceLib.comparison import compared_scene

    truth = replace(dense, attributes={}, frame_attributes=())
    finer = enhanced(dense, "zero-fill")
    _host, nodes = compared_scene(dense, finer, truth)
    assert [scene.frame_origins(node)[1].generated for node in nodes[:3]] == [True, True, False]
    _host, nodes = compared_scene(beating_disc, dense, truth)
    assert [scene.frame_origins(node)[1].generated for node in nodes[1:3]] == [True, False]
