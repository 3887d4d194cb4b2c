"""NRRD and NIfTI files of other programs: every form of header, and one clear error for each fault."""

from __future__ import annotations

import dataclasses
import gzip
from pathlib import Path

import numpy as np
import pytest
from geometry import largest_shift_mm
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from STEnhanceLib import files
from STEnhanceLib.errors import STEnhanceError
from STEnhanceLib.files import nifti
from STEnhanceLib.sequence import ImageSequence

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
        (gzip.compress(NIFTI, mtime=0)[:60], "compressed data are cut off or damaged"),
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


# Damage


@settings(max_examples=80, suppress_health_check=[HealthCheck.function_scoped_fixture, HealthCheck.too_slow])
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
