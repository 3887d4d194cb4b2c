"""NRRD and NIfTI files: exact there and back, understood by 3D Slicer and ITK, and clear about what is wrong."""

from __future__ import annotations

import dataclasses
import subprocess
import sys

import numpy as np
import pytest
from geometry import largest_shift_mm
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from STEnhanceLib import files
from STEnhanceLib.errors import STEnhanceError
from STEnhanceLib.sequence import ImageSequence

ALL_NAMES = ("a.seq.nrrd", "a.nrrd", "a.nii", "a.nii.gz")
IRREGULAR_MS = np.array([0.0, 31.6, 63.25, 95.0, 130.125, 160.0, 200.1, 231.7])


# There and back


@pytest.mark.parametrize("name", ALL_NAMES)
def test_what_is_written_is_read_exactly(described, tmp_path, name):
    files.write(described, tmp_path / name)
    found = files.read(tmp_path / name)
    assert found.frames.dtype == np.float32
    assert np.array_equal(found.frames, described.frames)
    assert np.array_equal(found.times_ms, described.times_ms)
    assert largest_shift_mm(found.ijk_to_ras, described.ijk_to_ras, found.grid.shape) < 1e-6
    assert (found.name, found.periodic, found.notes) == (described.name, True, described.notes)
    own = {"STEnhance.Method", "free text", "empty"}
    assert {key: found.attributes[key] for key in own} == dict(described.attributes)
    assert set(found.attributes) == own


@pytest.mark.parametrize("name", ["a.seq.nrrd", "a.nii.gz"])
def test_complex_voxels_stay_complex(described, tmp_path, name):
    phase = np.exp(1j * np.linspace(0, 6, described.frames.size)).reshape(described.frames.shape)
    made = dataclasses.replace(described, frames=(described.frames * phase).astype(np.complex64))
    files.write(made, tmp_path / name)
    assert np.array_equal(files.read(tmp_path / name).frames, made.frames)


@settings(max_examples=30, suppress_health_check=[HealthCheck.function_scoped_fixture, HealthCheck.too_slow])
@given(text=st.text(st.characters(codec="utf-8", exclude_characters="\r\x00")), periodic=st.booleans())
def test_any_text_survives_in_the_header(tmp_path, text, periodic):
    frames = np.zeros((2, 1, 1, 1), np.float32)
    made = ImageSequence(frames, np.eye(4), [0, 1], periodic, name="n", attributes={"key": text})
    for name in ("a.seq.nrrd", "a.nii"):
        files.write(made, tmp_path / name)
        found = files.read(tmp_path / name)
        assert found.attributes == {"key": text}
        assert found.periodic == periodic


def test_irregular_times_are_kept_by_nrrd_and_refused_by_nifti(beating_disc, tmp_path):
    made = dataclasses.replace(beating_disc, times_ms=IRREGULAR_MS)
    files.write(made, tmp_path / "a.seq.nrrd")
    assert np.array_equal(files.read(tmp_path / "a.seq.nrrd").times_ms, IRREGULAR_MS)
    with pytest.raises(STEnhanceError, match=r"29.875 to 40.1 ms apart.*write a \.seq\.nrrd"):
        files.write(made, tmp_path / "a.nii.gz")
    assert [path.name for path in tmp_path.iterdir()] == ["a.seq.nrrd"]


@pytest.mark.parametrize("name", ALL_NAMES)
def test_one_frame_and_sheared_left_handed_axes(tmp_path, name):
    matrix = np.array([[1.2, 0.3, 0.4, 7], [-0.1, 1.5, 0, -8], [0, 0.2, -6, 9], [0, 0, 0, 1]])
    made = ImageSequence(np.ones((1, 2, 3, 4), np.float32), matrix, [40.0])
    files.write(made, tmp_path / name)
    found = files.read(tmp_path / name)
    assert np.array_equal(found.ijk_to_ras, matrix)
    assert found.times_ms.tolist() == [40.0]


# 3D Slicer and ITK


def slicer_sequence(scene):
    return scene.AddNewNodeByClass("vtkMRMLSequenceNode", "sequence")


def storage(scene, path):
    node = scene.AddNewNodeByClass("vtkMRMLVolumeSequenceStorageNode")
    node.SetFileName(str(path))
    return node


def matrix_of(volume) -> np.ndarray:
    from vtk import vtkMatrix4x4

    matrix = vtkMatrix4x4()
    volume.GetIJKToRASMatrix(matrix)
    return np.array([[matrix.GetElement(row, column) for column in range(4)] for row in range(4)])


@pytest.fixture
def scene():
    slicer = pytest.importorskip("slicer", reason="slicer-core is not installed")
    return slicer.vtkMRMLScene()


def test_slicer_opens_what_is_written(described, tmp_path, scene):
    import slicer.util

    files.write(dataclasses.replace(described, times_ms=IRREGULAR_MS), tmp_path / "a.seq.nrrd")
    node = slicer_sequence(scene)
    assert storage(scene, tmp_path / "a.seq.nrrd").ReadData(node) == 1
    assert (node.GetIndexName(), node.GetIndexUnit(), node.GetIndexTypeAsString()) == ("time", "ms", "numeric")
    assert [float(node.GetNthIndexValue(t)) for t in range(8)] == IRREGULAR_MS.tolist()
    for t in range(8):
        volume = node.GetNthDataNode(t)
        assert volume.GetClassName() == "vtkMRMLScalarVolumeNode"
        assert np.array_equal(slicer.util.arrayFromVolume(volume), described.frames[t])
        assert largest_shift_mm(matrix_of(volume), described.ijk_to_ras, described.grid.shape) < 1e-6
    assert node.GetAttribute("free text") == described.attributes["free text"]
    assert node.GetAttribute("STEnhance.Periodic") == "yes"


def test_slicer_opens_complex_voxels_as_vectors(described, tmp_path, scene):
    import slicer.util

    made = dataclasses.replace(described, frames=described.frames * np.complex64(1 - 2j))
    files.write(made, tmp_path / "a.seq.nrrd")
    node = slicer_sequence(scene)
    assert storage(scene, tmp_path / "a.seq.nrrd").ReadData(node) == 1
    assert node.GetNumberOfDataNodes() == 8
    voxels = slicer.util.arrayFromVolume(node.GetNthDataNode(3))
    assert np.array_equal(voxels[..., 0] + 1j * voxels[..., 1], made.frames[3])


@pytest.mark.parametrize("compression", [0, 1])
@pytest.mark.parametrize("dtype", [np.uint8, np.int16, np.float64])
def test_what_slicer_writes_is_read(described, tmp_path, scene, compression, dtype):
    import slicer.util
    from vtk import vtkMatrix4x4

    node = slicer_sequence(scene)
    node.SetIndexName("time")
    node.SetIndexUnit("s")
    node.SetAttribute("free text", described.attributes["free text"])
    voxels = described.frames.astype(dtype)
    matrix = vtkMatrix4x4()
    matrix.DeepCopy(described.ijk_to_ras.ravel())
    for time, frame in zip(IRREGULAR_MS, voxels, strict=True):
        volume = scene.CreateNodeByClass("vtkMRMLScalarVolumeNode")
        slicer.util.updateVolumeFromArray(volume, frame)
        volume.SetIJKToRASMatrix(matrix)
        volume.SetAttribute("of this frame", "only")
        node.SetDataNodeAtValue(volume, str(float(time) / 1000))
        volume.UnRegister(None)
    writer = storage(scene, tmp_path / "a.seq.nrrd")
    writer.SetUseCompression(compression)
    assert writer.WriteData(node) == 1

    found = files.read(tmp_path / "a.seq.nrrd")
    assert np.array_equal(found.frames, voxels)
    assert found.times_ms == pytest.approx(IRREGULAR_MS, abs=1e-9)
    assert largest_shift_mm(found.ijk_to_ras, described.ijk_to_ras, found.grid.shape) < 1e-6
    assert dict(found.attributes) == {"free text": described.attributes["free text"]}
    assert not found.periodic
    assert any("Assumed not to be a cycle" in note for note in found.notes)


@pytest.mark.parametrize("name", ["a.nii", "a.nii.gz"])
def test_itk_reads_the_nifti_that_is_written(described, tmp_path, name):
    import SimpleITK as sitk  # noqa: N813

    files.write(described, tmp_path / name)
    image = sitk.ReadImage(tmp_path / name)
    assert np.array_equal(sitk.GetArrayFromImage(image), described.frames)
    assert image.GetSpacing() == pytest.approx((1.25, 1.5, 8.0, 0.1 / 3), rel=1e-6)  # seconds
    assert image.GetOrigin()[3] == pytest.approx(0.0125)
    lps = np.diag([-1, -1, 1]) @ described.ijk_to_ras[:3]
    directions = np.reshape(image.GetDirection(), (4, 4))[:3, :3] * image.GetSpacing()[:3]
    assert directions == pytest.approx(lps[:, :3], abs=1e-6)
    assert image.GetOrigin()[:3] == pytest.approx(lps[:, 3], abs=1e-5)


@pytest.mark.parametrize("name", ["a.nii.gz", "a.nrrd"])
def test_what_itk_writes_is_read(described, tmp_path, name):
    import SimpleITK as sitk  # noqa: N813

    image = sitk.GetImageFromArray(described.frames.astype(np.int16), isVector=False)
    image.SetSpacing((1.25, 1.5, 8.0, 0.05 if name == "a.nii.gz" else 50.0))
    image.SetOrigin((1, 2, 3, 0))
    turn = np.eye(4)
    turn[:3, :3] = described.ijk_to_ras[:3, :3] / (1.25, 1.5, 8.0)
    image.SetDirection(turn.ravel())
    sitk.WriteImage(image, tmp_path / name)
    found = files.read(tmp_path / name)
    assert np.array_equal(found.frames, described.frames.astype(np.int16))
    assert found.times_ms == pytest.approx(50 * np.arange(8), rel=1e-6)
    lps = np.diag([-1, -1, 1, 1]) @ found.ijk_to_ras
    assert lps[:3, :3] == pytest.approx(described.ijk_to_ras[:3, :3], abs=1e-6)
    assert lps[:3, 3] == pytest.approx((1, 2, 3), abs=1e-6)


# Names, folders, full disks


@pytest.mark.parametrize(
    ("name", "said"),
    [
        ("a.txt", r"ends in \.txt; expected \.seq\.nrrd"),
        ("a", "ends in nothing"),
        ("a.mrb", "opened and saved by 3D Slicer"),
        ("a.nhdr", "detached header is not supported"),
    ],
)
def test_unknown_names_are_refused_both_ways(beating_disc, tmp_path, name, said):
    with pytest.raises(STEnhanceError, match=f"Cannot write.*{said}"):
        files.write(beating_disc, tmp_path / name)
    (tmp_path / name).touch()
    with pytest.raises(STEnhanceError, match=f"Cannot read.*{said}"):
        files.read(tmp_path / name)


def test_dicom_is_asked_for_as_a_folder_and_never_promised_as_a_result(beating_disc, tmp_path):
    with pytest.raises(STEnhanceError, match=r"expected \.seq\.nrrd, \.nrrd, \.nii, \.nii\.gz\. DICOM is read only"):
        files.write(beating_disc, tmp_path / "a.dcm")
    (tmp_path / "a.dcm").touch()
    with pytest.raises(STEnhanceError, match=r"or a DICOM folder\. Give the folder of the DICOM files"):
        files.read(tmp_path / "a.dcm")


def test_a_missing_file_and_a_missing_folder_are_named(beating_disc, tmp_path):
    with pytest.raises(STEnhanceError, match=r"none\.nrrd does not exist"):
        files.read(tmp_path / "none.nrrd")
    with pytest.raises(STEnhanceError, match=r"the folder .*none does not exist"):
        files.write(beating_disc, tmp_path / "none" / "a.nrrd")
    (tmp_path / "folder.nrrd").mkdir()
    with pytest.raises(STEnhanceError, match="it is a folder"):
        files.write(beating_disc, tmp_path / "folder.nrrd")


def test_a_series_is_only_chosen_from_folders(described, tmp_path):
    files.write(described, tmp_path / "a.nrrd")
    with pytest.raises(STEnhanceError, match="expected a folder of DICOM"):
        files.read(tmp_path / "a.nrrd", series=3)


FILL_THE_DISK = """
import resource, sys
import numpy as np
from STEnhanceLib import files
from STEnhanceLib.sequence import ImageSequence
frames = np.random.default_rng(1).random((4, 4, 64, 64), np.float32)
resource.setrlimit(resource.RLIMIT_FSIZE, (int(sys.argv[2]), int(sys.argv[2])))
files.write(ImageSequence(frames, np.eye(4), 30.0 * np.arange(4)), sys.argv[1])
"""


@pytest.mark.skipif(sys.platform == "win32", reason="the size of files can be limited on Unix only")
@pytest.mark.parametrize("room", [100_000, 0], ids=["some room", "no room even for what waits in the buffer"])
@pytest.mark.parametrize("name", ["a.seq.nrrd", "a.nii", "a.nii.gz"])
def test_a_full_disk_leaves_the_old_file_and_nothing_else(described, tmp_path, name, room):
    files.write(described.with_frames([0, 1]), tmp_path / name)
    before = (tmp_path / name).read_bytes()
    ended = subprocess.run(
        [sys.executable, "-c", FILL_THE_DISK, tmp_path / name, str(room)], capture_output=True, text=True, check=False
    )
    assert ended.returncode == 1
    assert ended.stderr.strip().splitlines()[-1].startswith("STEnhanceLib.errors.STEnhanceError: Cannot write")
    assert "File too large" in ended.stderr
    assert [path.name for path in tmp_path.iterdir()] == [name]
    assert (tmp_path / name).read_bytes() == before


WRITE_OVER_A_PROTECTED_FILE = """
import os, sys, tempfile
from pathlib import Path
import numpy as np
from STEnhanceLib import files
from STEnhanceLib.errors import STEnhanceError
from STEnhanceLib.sequence import ImageSequence
sequence = ImageSequence(np.ones((2, 1, 2, 2), np.float32), np.eye(4), np.arange(2.0))
with tempfile.TemporaryDirectory() as folder:
    path = Path(folder) / "kept.nrrd"
    files.write(sequence, path)
    path.chmod(0o444)
    before = path.read_bytes()
    if os.geteuid() == 0:  # root may write everything
        os.chown(folder, 65534, 65534)
        os.setuid(65534)
    for write in (files.refuse_unwritable, lambda path: files.write(sequence, path)):
        try:
            write(path)
        except STEnhanceError as error:
            print(error)
    assert path.read_bytes() == before
"""


@pytest.mark.skipif(sys.platform == "win32", reason="there the system itself keeps a protected file")
def test_a_write_protected_file_is_not_replaced():
    ended = subprocess.run(
        [sys.executable, "-c", WRITE_OVER_A_PROTECTED_FILE], capture_output=True, text=True, check=False
    )
    assert ended.returncode == 0, ended.stderr
    assert ended.stdout.count("kept.nrrd: it is write-protected; expected a file that may be replaced") == 2


def test_an_interrupted_write_leaves_the_old_file(described, tmp_path, monkeypatch):
    files.write(described, tmp_path / "a.nrrd")
    before = (tmp_path / "a.nrrd").read_bytes()

    def interrupt(*_):
        raise KeyboardInterrupt

    monkeypatch.setattr("STEnhanceLib.files.nrrd.write_frames", interrupt)
    with pytest.raises(KeyboardInterrupt):
        files.write(described, tmp_path / "a.nrrd")
    assert [path.name for path in tmp_path.iterdir()] == ["a.nrrd"]
    assert (tmp_path / "a.nrrd").read_bytes() == before


# Real cine MRI


def test_a_real_cine_is_read_as_itk_reads_it(stenhance_data, tmp_path):
    import SimpleITK as sitk  # noqa: N813

    path = stenhance_data / "cine" / "scd0000301_sax.nii.gz"
    found = files.read(path)
    image = sitk.ReadImage(path)
    assert np.array_equal(found.frames, sitk.GetArrayFromImage(image))
    assert found.grid.spacing_mm == pytest.approx(image.GetSpacing()[:3], abs=1e-5)
    assert found.grid.frame_duration_ms == pytest.approx(1000 * image.GetSpacing()[3], rel=1e-6)
    assert np.diag([-1, -1, 1]) @ found.ijk_to_ras[:3, 3] == pytest.approx(image.GetOrigin()[:3], abs=1e-5)
    files.write(found, tmp_path / "a.seq.nrrd")
    again = files.read(tmp_path / "a.seq.nrrd")
    assert np.array_equal(again.frames, found.frames)
    assert np.array_equal(again.ijk_to_ras, found.ijk_to_ras)
