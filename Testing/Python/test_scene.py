"""MRML scenes: what the user loaded is read exactly, and stays as it was."""

from __future__ import annotations

import logging
import os
import resource
import zipfile
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest

from STEnhanceLib.assumed import NO_TIMES, NO_UNIT_OF_TIME, NOT_A_CYCLE, PERHAPS_NUMBERS
from STEnhanceLib.errors import STEnhanceError
from STEnhanceLib.printed_by_libraries import kept_back
from STEnhanceLib.scene import (
    add_sequence,
    describe_sequence,
    find_sequence,
    load_scene,
    read_part,
    read_sequence,
    save_scene,
)
from STEnhanceLib.sequence import ImageSequence


def sequence_node_of(scene, volumes, index_values, unit="ms"):
    node = scene.AddNewNodeByClass("vtkMRMLSequenceNode", "made by hand")
    node.SetIndexUnit(unit)
    for volume, value in zip(volumes, index_values, strict=True):
        node.SetDataNodeAtValue(volume, value)
    return node


def volume_of(voxels, class_name="vtkMRMLScalarVolumeNode", ijk_to_ras=None):
    import slicer

    volume = getattr(slicer, class_name)()
    slicer.util.updateVolumeFromArray(volume, voxels)
    if ijk_to_ras is not None:
        volume.SetIJKToRASMatrix(slicer.util.vtkMatrixFromArray(ijk_to_ras))
    return volume


@pytest.fixture
def ramp():
    return np.arange(2 * 3 * 4, dtype=np.int16).reshape(2, 3, 4)


def test_a_sequence_comes_back_as_it_went_in(mrml_scene, beating_disc):
    node = add_sequence(beating_disc)
    back = read_sequence(node)
    assert np.array_equal(back.frames, beating_disc.frames)
    assert np.abs(back.ijk_to_ras - beating_disc.ijk_to_ras).max() <= 1e-9
    assert np.array_equal(back.times_ms, beating_disc.times_ms)
    assert (back.periodic, back.name, back.notes) == (True, "beating disc", ())


def test_irregular_times_half_a_millisecond_apart_stay_apart(mrml_scene, beating_disc):
    times = np.array([0.0, 0.5, 1.0, 31.625, 63.25, 94.0 + 1 / 3, 500.5, 501.0])
    assert np.array_equal(read_sequence(add_sequence(replace(beating_disc, times_ms=times))).times_ms, times)


def test_reading_copies_each_frame_once_into_memory_of_the_caller(mrml_scene, ramp):
    node = sequence_node_of(mrml_scene, [volume_of(ramp), volume_of(ramp + 1)], ["0", "40"])
    given = []

    def allocate(shape, dtype):
        given.append(np.zeros(shape, dtype))
        return given[-1]

    sequence = read_sequence(node, allocate)
    assert len(given) == 1
    assert np.shares_memory(sequence.frames, given[0])
    assert sequence.frames.dtype == np.float32
    assert np.array_equal(sequence.frames, [ramp, ramp + 1])


def test_a_proxy_volume_stands_for_its_sequence(mrml_scene, beating_disc):
    node = add_sequence(beating_disc)
    browser = find_sequence(node)[1]
    assert find_sequence(browser.GetProxyNode(node)) == (node, browser)
    assert len(read_sequence(browser.GetProxyNode(node))) == 8


@pytest.mark.parametrize(("unit", "values", "times"), [
    ("ms", ("0", "31.6", "63.2"), (0, 31.6, 63.2)),
    ("s", ("0.000", "0.032", "0.063"), (0, 32, 63)),
])  # fmt: skip
def test_index_values_are_read_in_their_unit(mrml_scene, ramp, unit, values, times):
    sequence = read_sequence(sequence_node_of(mrml_scene, [volume_of(ramp)] * 3, values, unit))
    assert np.allclose(sequence.times_ms, times, rtol=0, atol=1e-9)
    assert not any("assumed" in note and "between frames" in note for note in sequence.notes)


def test_frame_numbers_give_assumed_times_and_say_so(mrml_scene, ramp):
    node = sequence_node_of(mrml_scene, [volume_of(ramp)] * 3, ["0", "1", "2"], unit="")
    assumed = read_sequence(node)
    assert np.array_equal(assumed.times_ms, (0, 40, 80))
    assert any("assumed 40 ms" in note for note in assumed.notes)
    told = read_sequence(node, frame_duration_ms=25.0, periodic=True)
    assert np.array_equal(told.times_ms, (0, 25, 50))
    assert told.periodic
    assert told.notes == ()


def test_what_the_user_corrects_is_no_longer_doubted(mrml_scene, ramp, beating_disc):
    """Also where the doubt was stored with the sequence, as files.read writes it down."""
    other = "The file gives no voxel size; 1 mm was assumed."
    on_times = (NO_TIMES, PERHAPS_NUMBERS, f"{NO_UNIT_OF_TIME}; milliseconds were assumed.")
    node = add_sequence(replace(beating_disc, notes=(NOT_A_CYCLE, *on_times, other)))
    assert read_sequence(node).notes == (NOT_A_CYCLE, *on_times, other)
    assert read_sequence(node, periodic=False).notes == (*on_times, other)
    assert read_sequence(node, frame_duration_ms=25.0).notes == (NOT_A_CYCLE, other)
    assert describe_sequence(node, frame_duration_ms=25.0, periodic=True)[1] == (other,)


def test_whole_seconds_are_doubted(mrml_scene, ramp):
    node = sequence_node_of(mrml_scene, [volume_of(ramp)] * 3, ["0", "1", "2"], unit="s")
    assert any("may be frame numbers" in note for note in read_sequence(node).notes)


def test_times_of_multi_volume_importer_are_found(mrml_scene, ramp):
    node = sequence_node_of(mrml_scene, [volume_of(ramp)] * 3, ["0", "1", "2"], unit="")
    node.SetAttribute("MultiVolume.FrameLabels", "12.5,44,75.5")
    node.SetAttribute("MultiVolume.FrameIdentifyingDICOMTagName", "TriggerTime")
    node.SetAttribute("MultiVolume.FrameIdentifyingDICOMTagUnits", "ms")
    assert np.array_equal(read_sequence(node).times_ms, (12.5, 44, 75.5))
    node.SetAttribute("MultiVolume.FrameIdentifyingDICOMTagName", "EchoTime")  # in ms, but no time between frames
    assert np.array_equal(read_sequence(node).times_ms, (0, 40, 80))


def test_trigger_times_are_finer_than_a_rounded_index(mrml_scene, ramp):
    volumes = [volume_of(ramp) for _ in range(3)]
    for volume, trigger in zip(volumes, ("0", "31.6", "63.2"), strict=True):
        volume.SetAttribute("DICOM.triggerTime", trigger)
    node = sequence_node_of(mrml_scene, volumes, ["0.000", "0.032", "0.063"], unit="s")
    assert np.array_equal(read_sequence(node).times_ms, (0, 31.6, 63.2))


def test_a_single_frame_can_be_read(mrml_scene, ramp):
    assert len(read_sequence(sequence_node_of(mrml_scene, [volume_of(ramp)], ["0"]))) == 1


def test_nothing_selected_is_a_clear_error(mrml_scene):
    with pytest.raises(STEnhanceError, match="No sequence is selected"):
        read_sequence(None)


def test_a_volume_without_a_sequence_is_a_clear_error(mrml_scene, ramp):
    volume = mrml_scene.AddNode(volume_of(ramp))
    with pytest.raises(STEnhanceError, match="belongs to no sequence"):
        find_sequence(volume)


def test_an_empty_sequence_is_a_clear_error(mrml_scene):
    with pytest.raises(STEnhanceError, match="has no frames"):
        read_sequence(mrml_scene.AddNewNodeByClass("vtkMRMLSequenceNode"))


def test_colour_images_labels_and_transforms_are_refused(mrml_scene, ramp):
    import slicer

    colour = np.zeros((2, 3, 4, 3), np.uint8)
    for wrong in (
        volume_of(colour, "vtkMRMLVectorVolumeNode"),
        volume_of(ramp, "vtkMRMLLabelMapVolumeNode"),
        slicer.vtkMRMLLinearTransformNode(),
        slicer.vtkMRMLScalarVolumeNode(),  # without voxels
    ):
        with pytest.raises(STEnhanceError, match="expected greyscale volumes"):
            read_sequence(sequence_node_of(mrml_scene, [wrong], ["0"]))


def test_frames_of_another_size_or_place_are_refused(mrml_scene, ramp, oblique_matrix):
    moved = oblique_matrix.copy()
    moved[0, 3] += 0.5
    first = volume_of(ramp, ijk_to_ras=oblique_matrix)
    for other in (volume_of(ramp[:, :2], ijk_to_ras=oblique_matrix), volume_of(ramp, ijk_to_ras=moved)):
        with pytest.raises(STEnhanceError, match=r"Frame 2 .* expected one grid"):
            read_sequence(sequence_node_of(mrml_scene, [first, other], ["0", "40"]))


def test_a_saved_scene_comes_back_with_sequence_browser_and_provenance(mrml_scene, beating_disc, tmp_path):
    from STEnhanceLib import headless

    notes = ("Assumed 40 ms between frames.", "Assumed to be a cycle.")
    cine = replace(beating_disc, name="cine", notes=notes, attributes={"STEnhance.Method": "b-spline"})
    add_sequence(cine)
    where = mrml_scene.GetURL()
    path = save_scene(tmp_path / "scene.mrb")
    assert mrml_scene.GetURL() == where
    assert [file.name for file in tmp_path.iterdir()] == ["scene.mrb"]

    other = headless.new_host()
    load_scene(path, other.scene)
    loaded = other.scene.GetFirstNodeByName("cine")
    assert loaded.GetStorageNode().GetFileName().endswith(".seq.nrrd")
    back = read_sequence(loaded)
    assert np.array_equal(back.frames, beating_disc.frames)
    assert np.abs(back.ijk_to_ras - beating_disc.ijk_to_ras).max() <= 1e-6
    assert np.array_equal(back.times_ms, beating_disc.times_ms)
    assert (back.periodic, back.notes, dict(back.attributes)) == (True, notes, cine.attributes)
    browser = find_sequence(loaded)[1]
    assert browser.GetMasterSequenceNode() is loaded
    assert browser.GetProxyNode(loaded).GetImageData().GetDimensions() == (48, 40, 3)


def test_a_sequence_inside_a_saved_scene_is_a_file_of_its_own(mrml_scene, beating_disc, tmp_path):
    from STEnhanceLib import files

    add_sequence(replace(beating_disc, times_ms=np.array([0, 0.5, 1, 31.625, 63.25, 94 + 1 / 3, 500.5, 501])))
    with zipfile.ZipFile(save_scene(tmp_path / "scene.mrb")) as bundle:
        bundle.extractall(tmp_path)
    kept = read_sequence(mrml_scene.GetFirstNodeByClass("vtkMRMLSequenceNode"))
    read = files.read(next(tmp_path.rglob("*.seq.nrrd")))
    assert np.array_equal(read.frames, kept.frames)
    assert np.array_equal(read.times_ms, kept.times_ms)
    assert np.abs(read.ijk_to_ras - kept.ijk_to_ras).max() <= 1e-6


@pytest.mark.parametrize(("room", "reason"), [(20_000, "save scene to data bundle"), (100_000, "compress bundle")])
def test_a_failed_save_leaves_the_old_file_and_says_one_sentence(tmp_path, capfd, caplog, room, reason):
    """Without the fixture that watches VTK, which has reason to complain here: that goes into the log."""
    pytest.importorskip("slicer")
    from STEnhanceLib import headless

    host = headless.new_host()
    noise = np.random.default_rng(0).random((2, 1, 100, 128), np.float32)  # hardly gets smaller when compressed
    add_sequence(ImageSequence(noise, np.eye(4), np.arange(2.0)), host.scene)
    target = tmp_path / "scene.mrb"
    target.write_text("the old one")
    capfd.readouterr()
    caplog.set_level(logging.DEBUG, "STEnhanceLib")
    soft, hard = resource.getrlimit(resource.RLIMIT_FSIZE)
    resource.setrlimit(resource.RLIMIT_FSIZE, (room, hard))  # as if the disk were full
    try:
        with pytest.raises(STEnhanceError, match=rf"could not be written \([^\n]*{reason}[^\n]*\n?$"):
            save_scene(target, host.scene)
    finally:
        resource.setrlimit(resource.RLIMIT_FSIZE, (soft, hard))
    assert capfd.readouterr() == ("", "")
    assert "vtkMRMLScene::WriteToMRB" in caplog.text
    assert target.read_text() == "the old one"
    assert list(tmp_path.iterdir()) == [target]


def test_what_libraries_print_is_not_lost_where_nothing_failed(capfd):
    with kept_back():
        os.write(1, b"a word\n")
        os.write(2, b"a warning\n")
        assert capfd.readouterr() == ("", "")
    assert capfd.readouterr() == ("a word\n", "a warning\n")


def test_what_was_saved_is_saved_though_nobody_reads_what_libraries_printed():
    usual, (reader, writer) = os.dup(2), os.pipe()
    os.dup2(writer, 2)
    os.close(reader)
    try:
        with kept_back():
            os.write(2, b"a warning\n")
    finally:
        os.dup2(usual, 2)
        for stream in (usual, writer):
            os.close(stream)


@pytest.mark.parametrize(("path", "complaint"), [("scene.nii", r"ends in \.mrb"), ("nowhere/scene.mrb", "not exist")])
def test_a_wrong_path_is_refused_before_anything_is_written(mrml_scene, tmp_path, path, complaint):
    with pytest.raises(STEnhanceError, match=complaint):
        save_scene(tmp_path / path)
    assert list(tmp_path.iterdir()) == []


def test_a_file_that_is_no_scene_is_refused(tmp_path):
    pytest.importorskip("slicer")
    from STEnhanceLib import headless

    host = headless.new_host()
    with pytest.raises(STEnhanceError, match="does not exist"):
        load_scene(tmp_path / "missing.mrb", host.scene)
    (tmp_path / "text.mrb").write_text("no zip")
    working_folder = Path.cwd()
    with pytest.raises(STEnhanceError, match="could not be read"):
        load_scene(tmp_path / "text.mrb", host.scene)
    assert Path.cwd() == working_folder


def test_a_part_is_read_as_it_would_be_cut_from_the_whole_and_needs_no_other_voxels(mrml_scene, described):
    node = add_sequence(described, mrml_scene)
    whole = read_sequence(node)
    frames, slices = [6, 7, 0], slice(1, 3)
    expected = whole.part(frames, slices)
    for other in range(1, 6):
        node.GetNthDataNode(other).GetImageData().GetPointData().GetScalars().Fill(np.nan)
    part = read_part(node, whole.grid, frames, slices)
    assert np.array_equal(part.frames, expected.frames) and part.frames.dtype == np.float32
    assert np.array_equal(part.ijk_to_ras, expected.ijk_to_ras)
    assert np.array_equal(part.times_ms, expected.times_ms) and not part.periodic
    assert part.name == whole.name
