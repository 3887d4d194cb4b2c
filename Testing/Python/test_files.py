"""NRRD and NIfTI files: exact there and back, understood by 3D Slicer and ITK, and clear about what is wrong."""

from __future__ import annotations

import dataclasses
import gzip
import subprocess
import sys
from pathlib import Path

import numpy as np
import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from STEnhanceLib import files
from STEnhanceLib.errors import STEnhanceError
from STEnhanceLib.files import nifti
from STEnhanceLib.sequence import ImageSequence

ALL_NAMES = ("a.seq.nrrd", "a.nrrd", "a.nii", "a.nii.gz")
IRREGULAR_MS = np.array([0.0, 31.6, 63.25, 95.0, 130.125, 160.0, 200.1, 231.7])


@pytest.fixture
def described(beating_disc) -> ImageSequence:
    """With everything that a header has to carry."""
    return dataclasses.replace(
        beating_disc,
        times_ms=12.5 + 100 / 3 * np.arange(8),
        name="four chambers, Ω",
        notes=("Assumed µ.", "Second: note := here"),
        attributes={"STEnhance.Method": "zero-fill", "free text": "line 1\nline 2 \\n with ü", "empty": ""},
    )


def largest_shift_mm(one: np.ndarray, other: np.ndarray, shape) -> float:
    corners = np.array([(*(np.array(c) * (np.array(shape[::-1]) - 1)), 1) for c in np.ndindex(2, 2, 2)])
    return float(np.abs((one - other) @ corners.T).max())


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


@settings(max_examples=30, suppress_health_check=[HealthCheck.function_scoped_fixture], deadline=None)
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


# NRRD of other programs


def nrrd_bytes(voxels: np.ndarray, **fields) -> bytes:
    """A 4D NRRD file around voxels whose last axis runs fastest; a field of None is left out."""
    header = {
        "type": {"float32": "float", "float64": "double"}.get(voxels.dtype.name, voxels.dtype.name),
        "dimension": voxels.ndim,
        "space": "left-posterior-superior",
        "sizes": " ".join(map(str, voxels.shape[::-1])),
        "space directions": "(1,0,0) (0,2,0) (0,0,3) none",
        "kinds": "domain domain domain list",
        "units": '"" "" "" "ms"',
        "endian": "big" if voxels.dtype.byteorder == ">" else "little",
        "encoding": "raw",
        "space origin": "(-1,-2,3)",
        "axis 3 index values": ":=" + " ".join(map(str, range(voxels.shape[0]))),
    }
    header.update({name.replace("_", " "): value for name, value in fields.items()})
    lines = [f"{name}{value}" if str(value).startswith(":=") else f"{name}: {value}" for name, value in header.items()
             if value is not None]  # fmt: skip
    body = voxels.tobytes()
    return "\n".join(["NRRD0005", "# made by hand", *lines, "", ""]).encode() + (
        gzip.compress(body, mtime=0) if header["encoding"] == "gzip" else body
    )


VOXELS = np.arange(4 * 3 * 2 * 5, dtype="<i2").reshape(4, 3, 2, 5)


def read_bytes(tmp_path: Path, data: bytes, name: str = "a.nrrd") -> ImageSequence:
    (tmp_path / name).write_bytes(data)
    return files.read(tmp_path / name)


@pytest.mark.parametrize("encoding", ["raw", "gzip"])
@pytest.mark.parametrize("dtype", ["i1", "u1", "<i2", ">i2", "<u2", ">i4", "<u4", "<i8", ">u8", "<f4", ">f4", ">f8"])
def test_every_scalar_type_and_byte_order(tmp_path, dtype, encoding):
    found = read_bytes(tmp_path, nrrd_bytes(VOXELS.astype(dtype), encoding=encoding))
    assert np.array_equal(found.frames, VOXELS)
    assert found.ijk_to_ras.tolist() == [[-1, 0, 0, 1], [0, -2, 0, 2], [0, 0, 3, 3], [0, 0, 0, 1]]


@pytest.mark.parametrize("kinds", ["list domain domain domain", "vector domain domain domain", None])
def test_time_may_run_fastest(tmp_path, kinds):
    time_first = {
        "kinds": kinds,
        "space_directions": "none (1,0,0) (0,2,0) (0,0,3)",
        "units": '"s" "" "" ""',
        "axis_3_index_values": None,
        "axis_0_index_values": ":=0 0.1 0.25 0.5",
    }
    found = read_bytes(tmp_path, nrrd_bytes(np.moveaxis(VOXELS, 0, -1).copy(), **time_first))
    assert np.array_equal(found.frames, VOXELS)
    assert found.times_ms.tolist() == [0, 100, 250, 500]
    assert found.ijk_to_ras.tolist() == [[-1, 0, 0, 1], [0, -2, 0, 2], [0, 0, 3, 3], [0, 0, 0, 1]]


@pytest.mark.parametrize(
    ("fields", "times", "note"),
    [
        ({"units": '"" "" "" "s"'}, [0, 1000, 2000, 3000], "may be frame numbers"),
        ({"units": '"" "" "" "us"'}, [0, 0.001, 0.002, 0.003], None),
        ({"units": None}, [0, 40, 80, 120], "no frame times; assumed 40 ms"),
        (
            {"units": None, "axis_3_index_values": ":=0 30 60 95"},
            [0, 30, 60, 95],
            "no known unit of time; milliseconds were assumed",
        ),
        (
            {"units": '"" "" "" "beats"', "axis_3_index_values": ":=1 2 3 4"},
            [1, 2, 3, 4],
            "no known unit of time ('beats')",
        ),
        ({"axis_3_index_values": None}, [0, 40, 80, 120], "no frame times"),
        ({"axis_3_index_values": ":=one two three four"}, [0, 40, 80, 120], "no frame times"),
        ({f"axis 3 item 000{t} DICOM.triggerTime": f":={33.3 * t}" for t in range(4)}, [0, 33.3, 66.6, 99.9], None),
        (
            {
                "units": None,
                "MultiVolume.FrameLabels": ":=0,46.1,92.3,140",
                "MultiVolume.FrameIdentifyingDICOMTagUnits": ":=ms",
            },
            [0, 46.1, 92.3, 140],
            None,
        ),
    ],
)
def test_times_come_from_the_header_or_with_a_note(tmp_path, fields, times, note):
    found = read_bytes(tmp_path, nrrd_bytes(VOXELS, **fields))
    assert found.times_ms == pytest.approx(times)
    others = [text for text in found.notes if "cycle" not in text]
    assert (note in others[0]) if note else not others


@pytest.mark.parametrize(
    ("fields", "note"),
    [
        ({"space": None, "space_dimension": 3}, "does not name its space"),
        ({"space_origin": None}, "no origin"),
        ({"space_directions": None, "spacings": "1 2 3 nan"}, "no directions"),
        ({"space_directions": None, "kinds": None}, "does not say which axis is time"),
    ],
)
def test_assumed_geometry_is_noted(tmp_path, fields, note):
    found = read_bytes(tmp_path, nrrd_bytes(VOXELS, **fields))
    assert any(note in text for text in found.notes)


def test_integers_that_float32_cannot_hold_are_noted(tmp_path):
    voxels = VOXELS.astype("<i4")
    voxels[1, 1, 1, 1:3] = 2**24 + 1, 2**24 + 2
    found = read_bytes(tmp_path, nrrd_bytes(voxels))
    assert any("1 voxels of type int32 were rounded to float32" in note for note in found.notes)


NRRD = nrrd_bytes(VOXELS)


@pytest.mark.parametrize(
    ("data", "said"),
    [
        (b"", "empty, damaged or of another format"),
        (b"\x89PNG\r\n", "does not start as a NRRD file"),
        (NRRD[:60], "header does not end"),
        (NRRD[:-1], "claims 5 × 2 × 3 × 4 voxels .240 bytes., but the file holds at most 239"),
        (nrrd_bytes(VOXELS, encoding="gzip")[:-20], "cut off or damaged"),
        (nrrd_bytes(VOXELS, encoding="gzip", sizes="500 200 300 4"), "claims"),
        (nrrd_bytes(VOXELS, encoding="gzip", sizes="5 2 3 5", axis_3_index_values=None), "ends before its last voxel"),
        (nrrd_bytes(VOXELS, sizes="10000 10000 10000 1000", axis_3_index_values=None), "claims 10000 × .* damaged"),
        (nrrd_bytes(VOXELS, sizes="1 1 1 1000000000000", axis_3_index_values=None), "claims 1 × 1 × 1 × 1000000000000"),
        (nrrd_bytes(VOXELS[0], kinds=None, space_directions=None, units=None), "3 dimensions; expected a 4D"),
        (nrrd_bytes(VOXELS[None], kinds=None, space_directions=None, units=None), "5 dimensions"),
        (nrrd_bytes(VOXELS, kinds="RGB-color domain domain domain"), "colours or vectors .rgb-color"),
        (nrrd_bytes(VOXELS, kinds="vector domain domain domain"), "colours or vectors .vector"),
        (nrrd_bytes(VOXELS, kinds="domain list domain domain"), "the first or the last"),
        (nrrd_bytes(VOXELS, kinds="list domain domain list"), "expected one"),
        (nrrd_bytes(VOXELS, dimension=3), "as the sizes of 3 axes"),
        (nrrd_bytes(VOXELS, sizes="5 2 x 4"), "expected integers"),
        (nrrd_bytes(VOXELS, sizes="5 2 -3 4"), "above 0"),
        (nrrd_bytes(VOXELS, type="block"), "of type 'block'"),
        (nrrd_bytes(VOXELS, endian=None), "byte order"),
        (nrrd_bytes(VOXELS, encoding="bzip2"), "encoded as 'bzip2'"),
        (nrrd_bytes(VOXELS, encoding=None), "no field 'encoding'"),
        (nrrd_bytes(VOXELS, data_file="a.raw"), "detached header"),
        (nrrd_bytes(VOXELS, byte_skip=8), "skip lines or bytes"),
        (nrrd_bytes(VOXELS, space="scanner-xyz"), "expected a patient space"),
        (nrrd_bytes(VOXELS, units='"m" "m" "m" "ms"'), "lengths are in m; expected mm"),
        (nrrd_bytes(VOXELS, space_directions="(1,0,0) (0,2,0) none"), "3 space directions for 4 axes"),
        (nrrd_bytes(VOXELS, space_directions="(1,0,0) (0,b,0) (0,0,3) none"), "expected vectors of numbers"),
        (nrrd_bytes(VOXELS, space_directions="(1,0,0) (1,0,0) (0,0,3) none"), "singular"),
        (nrrd_bytes(VOXELS, axis_3_index_values=":=0 1 2"), "lists 3 index values for 4 frames"),
        (nrrd_bytes(VOXELS, axis_3_index_values=":=0 2 1 3"), "strictly increasing"),
        (nrrd_bytes(np.where(VOXELS == 7, np.nan, VOXELS).astype("<f4")), "NaN or infinite"),
    ],
)
def test_each_fault_of_a_nrrd_file_has_its_own_clear_error(tmp_path, data, said):
    with pytest.raises(STEnhanceError, match=said) as error:
        read_bytes(tmp_path, data)
    assert "a.nrrd" in str(error.value)


def test_frames_that_slicer_would_merge_are_refused(tmp_path):
    made = ImageSequence(np.ones((2, 1, 1, 1), np.float32), np.eye(4), [0, 0.0005])
    with pytest.raises(STEnhanceError, match=r"less than 0\.001 ms apart"):
        files.write(made, tmp_path / "a.seq.nrrd")
    assert not list(tmp_path.iterdir())


# NIfTI of other programs


def nifti_bytes(voxels=VOXELS, order="<", drop_extension=True, **fields) -> bytes:
    """A NIfTI file of int16 voxels, 50 ms apart, with single header fields changed."""
    header = np.zeros((), nifti.HEADER.newbyteorder(order))
    header["sizeof_hdr"], header["datatype"], header["bitpix"], header["vox_offset"] = 348, 4, 16, 352
    header["dim"], header["pixdim"] = (4, *voxels.shape[::-1], 1, 1, 1), (1, 1, 2, 3, 50, 0, 0, 0)
    header["xyzt_units"], header["sform_code"], header["magic"] = 18, 1, b"n+1"
    header["srow"] = [[1, 0, 0, 5], [0, 2, 0, 6], [0, 0, 3, 7]]
    for name, value in fields.items():
        header[name] = value
    return header.tobytes() + b"\0\0\0\0" + voxels.astype(f"{order}i2").tobytes()


@pytest.mark.parametrize("order", "<>")
def test_nifti_of_either_byte_order(tmp_path, order):
    found = read_bytes(tmp_path, nifti_bytes(order=order), "a.nii")
    assert np.array_equal(found.frames, VOXELS)
    assert found.times_ms.tolist() == [0, 50, 100, 150]
    assert found.ijk_to_ras.tolist() == [[1, 0, 0, 5], [0, 2, 0, 6], [0, 0, 3, 7], [0, 0, 0, 1]]
    assert not found.periodic


@pytest.mark.parametrize(
    ("fields", "times", "note"),
    [
        ({"toffset": 10}, [10, 60, 110, 160], None),
        ({"xyzt_units": 2 | 8, "pixdim": (1, 1, 2, 3, 0.05, 0, 0, 0)}, [0, 50, 100, 150], None),
        ({"xyzt_units": 2 | 24, "pixdim": (1, 1, 2, 3, 50000, 0, 0, 0)}, [0, 50, 100, 150], None),
        ({"xyzt_units": 2}, [0, 50, 100, 150], "no known unit of time; 50 between frames was taken as milliseconds"),
        (
            {"xyzt_units": 2, "pixdim": (1, 1, 2, 3, 0.05, 0, 0, 0)},
            [0, 50, 100, 150],
            "0.05 between frames was taken as seconds",
        ),
        ({"pixdim": (1, 1, 2, 3, 0, 0, 0, 0)}, [0, 40, 80, 120], "no frame times"),
    ],
)
def test_units_of_time_in_nifti(tmp_path, fields, times, note):
    found = read_bytes(tmp_path, nifti_bytes(**fields), "a.nii")
    assert found.times_ms == pytest.approx(times, rel=1e-6)
    others = [text for text in found.notes if "cycle" not in text]
    assert (note in others[0]) if note else not others


def test_qform_is_read_where_there_is_no_sform(described, tmp_path):
    files.write(
        dataclasses.replace(described, ijk_to_ras=described.ijk_to_ras @ np.diag([1, 1, -1, 1])), tmp_path / "a.nii"
    )
    data = bytearray((tmp_path / "a.nii").read_bytes())
    at = nifti.HEADER.fields["sform_code"][1]
    data[at : at + 2] = b"\0\0"
    found = read_bytes(tmp_path, bytes(data), "b.nii")
    expected = described.ijk_to_ras @ np.diag([1, 1, -1, 1])
    assert 0 < largest_shift_mm(found.ijk_to_ras, expected, found.grid.shape) < 2e-4


def test_geometry_and_times_changed_by_another_program_win(described, tmp_path):
    files.write(described, tmp_path / "a.nii")
    data = bytearray((tmp_path / "a.nii").read_bytes())
    header = np.frombuffer(data, nifti.HEADER.newbyteorder("<"), 1)
    header["srow"][0, 0, 3] += 10
    header["pixdim"][0, 4] = 60
    header["qform_code"] = 0
    found = read_bytes(tmp_path, bytes(data), "b.nii")
    assert found.ijk_to_ras[0, 3] == pytest.approx(described.ijk_to_ras[0, 3] + 10, abs=1e-5)
    assert found.grid.frame_duration_ms == pytest.approx(60)
    assert dict(found.attributes) == dict(described.attributes)


def test_float32_of_the_nifti_header_moves_no_voxel_by_more_than_a_ten_thousandth_mm(tmp_path, oblique_matrix):
    oblique_matrix[:3, 3] = (-312.3456789, 287.7654321, 141.1111111)
    made = ImageSequence(np.zeros((1, 20, 512, 512), np.float32), oblique_matrix, [0.0])
    files.write(made, tmp_path / "a.nii")
    data = bytearray((tmp_path / "a.nii").read_bytes())
    data[348:352] = b"\0\0\0\0"  # as other programs see it: without the extension
    found = read_bytes(tmp_path, bytes(data), "b.nii")
    assert 1e-6 < largest_shift_mm(found.ijk_to_ras, oblique_matrix, found.grid.shape) < 1e-4


def test_rescaled_nifti(tmp_path):
    found = read_bytes(tmp_path, nifti_bytes(scl_slope=0.5, scl_inter=-3), "a.nii")
    assert np.array_equal(found.frames, 0.5 * VOXELS - 3)


def test_disagreeing_forms_are_noted(tmp_path):
    found = read_bytes(tmp_path, nifti_bytes(qform_code=1, qoffset=(5, 6, 12)), "a.nii")
    assert found.ijk_to_ras[2, 3] == 7
    assert any("disagree by up to 5 mm" in note for note in found.notes)


NIFTI = nifti_bytes()


@pytest.mark.parametrize(
    ("data", "said"),
    [
        (b"", "holds 0 bytes"),
        (NIFTI[:200], "holds 200 bytes, less than a NIfTI header"),
        (NIFTI[:-1], "claims 5 × 2 × 3 × 4 voxels .240 bytes., but the file holds at most 239"),
        (gzip.compress(NIFTI, mtime=0)[:-20], "cut off or damaged"),
        (gzip.compress(NIFTI, mtime=0)[:60], "cut off or damaged in its header"),
        (b"\x1f\x8b\x08\0\0\0\0\0\0\3" + bytes(400), "cut off|damaged"),
        (nifti_bytes(dim=(4, 30000, 30000, 30000, 30000, 1, 1, 1)), "claims 30000 ×"),
        (gzip.compress(nifti_bytes(dim=(4, 30000, 30000, 300, 30, 1, 1, 1)), mtime=0), "claims 30000 ×"),
        (nifti_bytes(dim=(3, 5, 2, 12, 1, 1, 1, 1)), "3 dimensions .5 × 2 × 12.; expected a 4D"),
        (nifti_bytes(dim=(5, 5, 2, 3, 2, 2, 1, 1)), "5 dimensions"),
        (nifti_bytes(dim=(9, 5, 2, 3, 4, 1, 1, 1)), "9 dimensions; it is damaged"),
        (nifti_bytes(dim=(4, 5, 0, 3, 4, 1, 1, 1)), "it is damaged"),
        (nifti_bytes(datatype=128), "RGB colours"),
        (nifti_bytes(datatype=1), "NIfTI type 1"),
        (nifti_bytes(magic=b"ni1"), "pair of .hdr and .img"),
        (nifti_bytes(sizeof_hdr=540), "NIfTI-2"),
        (nifti_bytes(vox_offset=1e30), "it is damaged"),
        (nifti_bytes(xyzt_units=2 | 32), "Hz, ppm"),
        (nifti_bytes(srow=np.zeros((3, 4))), "singular"),
    ],
)
def test_each_fault_of_a_nifti_file_has_its_own_clear_error(tmp_path, data, said):
    with pytest.raises(STEnhanceError, match=said) as error:
        read_bytes(tmp_path, data, "a.nii")
    assert "a.nii" in str(error.value)


# Names, folders, full disks


@pytest.mark.parametrize(
    ("name", "said"),
    [
        ("a.txt", r"ends in \.txt; expected \.seq\.nrrd"),
        ("a", "ends in nothing"),
        ("a.mrb", "opened and saved by 3D Slicer"),
        ("a.nhdr", "detached header is not supported"),
        ("a.dcm", "Give the folder"),
    ],
)
def test_unknown_names_are_refused_both_ways(beating_disc, tmp_path, name, said):
    with pytest.raises(STEnhanceError, match=f"Cannot write.*{said}"):
        files.write(beating_disc, tmp_path / name)
    (tmp_path / name).touch()
    with pytest.raises(STEnhanceError, match=f"Cannot read.*{said}"):
        files.read(tmp_path / name)


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
resource.setrlimit(resource.RLIMIT_FSIZE, (100_000, 100_000))
files.write(ImageSequence(frames, np.eye(4), 30.0 * np.arange(4)), sys.argv[1])
"""


@pytest.mark.skipif(sys.platform == "win32", reason="the size of files can be limited on Unix only")
@pytest.mark.parametrize("name", ["a.seq.nrrd", "a.nii", "a.nii.gz"])
def test_a_full_disk_leaves_the_old_file_and_nothing_else(described, tmp_path, name):
    files.write(described.with_frames([0, 1]), tmp_path / name)
    before = (tmp_path / name).read_bytes()
    ended = subprocess.run(
        [sys.executable, "-c", FILL_THE_DISK, tmp_path / name], capture_output=True, text=True, check=False
    )
    assert ended.returncode == 1
    assert ended.stderr.strip().splitlines()[-1].startswith("STEnhanceLib.errors.STEnhanceError: Cannot write")
    assert "File too large" in ended.stderr
    assert [path.name for path in tmp_path.iterdir()] == [name]
    assert (tmp_path / name).read_bytes() == before


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


@settings(max_examples=80, suppress_health_check=[HealthCheck.function_scoped_fixture], deadline=None)
@given(
    name=st.sampled_from(["a.nrrd", "a.nii", "a.nii.gz"]),
    hits=st.lists(st.tuples(st.floats(0, 1), st.integers(0, 255)), min_size=1, max_size=4),
    kept=st.floats(0.2, 1),
)
def test_a_damaged_file_is_read_or_refused_but_never_crashes(tmp_path, name, hits, kept):
    made = ImageSequence(np.ones((2, 1, 2, 3), np.float32), np.eye(4), [0, 40], attributes={"key": "value"})
    files.write(made, tmp_path / name)
    data = bytearray((tmp_path / name).read_bytes())
    for place, value in hits:
        data[int(place * (len(data) - 1))] = value
    try:
        read_bytes(tmp_path, bytes(data[: int(kept * len(data))]) if kept < 0.9 else bytes(data), name)
    except STEnhanceError as error:
        assert name in str(error)
