"""Headers that nobody should write, and some program did: a sentence or a note for each, never a fault."""

from __future__ import annotations

import json
import struct
from pathlib import Path

import numpy as np
import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st
from test_file_headers import VOXELS, nifti_bytes, nrrd_bytes, read_bytes

from STEnhanceLib import files
from STEnhanceLib.errors import STEnhanceError
from STEnhanceLib.files import nifti

# NIfTI


def with_extension(text: bytes, code: int = nifti.COMMENT_EXTENSION) -> bytes:
    size = -(-(len(text) + 8) // 16) * 16
    data = nifti_bytes(vox_offset=352 + size)
    return data[:348] + b"\1\0\0\0" + struct.pack("<ii", size, code) + text.ljust(size - 8, b"\0") + data[352:]


@pytest.mark.parametrize(
    ("key", "value"),
    [
        ("notes", 5),
        ("notes", "one sentence"),
        ("notes", [1, 2]),
        ("ijk_to_ras", [[1, 2], [3]]),
        ("ijk_to_ras", "eye"),
        ("ijk_to_ras", [["a"] * 4] * 4),
        ("ijk_to_ras", 10**400),
        ("ijk_to_ras", [[10**400] * 4] * 4),
        ("times_ms", ["one", "two", "three", "four"]),
        ("times_ms", {"a": 1}),
        ("times_ms", [0, 50, [100], 150]),
        ("name", ["a"]),
        ("attributes", [1]),
        ("attributes", {"a": 1}),
        ("periodic", "no"),
        ("periodic", 1),
        ("periodic", None),
    ],
)
def test_entries_of_a_wrong_kind_in_our_own_extension_are_ignored_with_a_note(tmp_path, key, value):
    ours = {"name": "cine", "notes": ["Made."], key: value}
    found = read_bytes(tmp_path, with_extension(json.dumps({"STEnhance": ours}).encode()), "a.nii")
    assert np.array_equal(found.frames, VOXELS)
    assert found.times_ms.tolist() == [0, 50, 100, 150]
    assert not found.periodic
    assert any(f"wrong kind ({key})" in note for note in found.notes)
    assert found.name == ("a" if key == "name" else "cine")


@pytest.mark.parametrize(
    "text",
    [b"[" * 100_000, b'{"a":' * 100_000, b'{"STEnhance": 5}', b"\xff\xfe", b"1" * 5000, b'{"STEnhance": {}}', b"null"],
)
def test_a_foreign_extension_is_passed_over(tmp_path, text):
    found = read_bytes(tmp_path, with_extension(text), "a.nii")
    assert np.array_equal(found.frames, VOXELS)


@pytest.mark.parametrize("field", ["quatern", "qoffset", "pixdim"])
@pytest.mark.parametrize("number", [np.nan, np.inf])
def test_a_qform_that_is_no_number(tmp_path, field, number):
    fields = {"pixdim": (1, number, 2, 3, 50, 0, 0, 0)} if field == "pixdim" else {field: (number, 0, 0)}
    with pytest.raises(STEnhanceError, match=r"qform. holds NaN or infinite numbers\. Export it again"):
        read_bytes(tmp_path, nifti_bytes(sform_code=0, qform_code=1, **fields), "a.nii")
    found = read_bytes(tmp_path, nifti_bytes(qform_code=1, **fields), "b.nii")
    assert any("qform of the file holds NaN" in note for note in found.notes)


# NRRD


@pytest.mark.parametrize(
    "fields",
    [
        {"sizes": "5 2 3 " + "9" * 5000},
        {"dimension": "4" * 5000},
        {"space_directions": "(1e999,0,0) (0,2,0) (0,0,3) none"},
        {"space_directions": "none none none none"},
        {"space_origin": "(a,b,c)"},
        {"space_origin": "none"},
        {"space_origin": "()"},
        {"kinds": '"'},
        {"axis_3_index_values": ":=%ff 1 2 3"},
        {"axis_3_index_values": ":=nan nan nan nan"},
        {"spacings": "a b c d", "space_directions": None},
        {"type": "\x00"},
    ],
)
def test_odd_nrrd_fields_are_read_or_refused_in_a_sentence(tmp_path, fields):
    try:
        read_bytes(tmp_path, nrrd_bytes(VOXELS, **fields))
    except STEnhanceError as error:
        assert "a.nrrd" in str(error)


@settings(max_examples=150, suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(
    whole=st.sampled_from(
        [("a.nii", with_extension(b'{"STEnhance": {"notes": ["a"], "times_ms": [0, 50, 100, 150]}}')),
         ("a.nrrd", nrrd_bytes(VOXELS))]
    ),
    place=st.floats(0, 1),
    put=st.one_of(st.binary(min_size=1, max_size=8), st.text("0123456789eE+-.()[]{}\",: ", min_size=1).map(str.encode)),
)  # fmt: skip
def test_odd_bytes_in_a_header_are_no_fault(tmp_path, whole, place, put):
    name, data = whole
    at = int(place * (len(data) - VOXELS.nbytes))
    try:
        read_bytes(tmp_path, data[:at] + put + data[at + len(put) :], name)
    except STEnhanceError as error:
        assert name in str(error)


# DICOM


@pytest.fixture(scope="module")
def dicom_series(tmp_path_factory) -> Path:
    """Two slices of three phases."""
    pydicom = pytest.importorskip("pydicom")
    folder = tmp_path_factory.mktemp("series")
    for number in range(6):
        image = pydicom.Dataset()
        image.file_meta = pydicom.dataset.FileMetaDataset()
        image.file_meta.TransferSyntaxUID = pydicom.uid.ExplicitVRLittleEndian
        image.SOPClassUID = image.file_meta.MediaStorageSOPClassUID = pydicom.uid.MRImageStorage
        image.SOPInstanceUID = image.file_meta.MediaStorageSOPInstanceUID = f"1.2.3.{number + 1}"
        image.SeriesInstanceUID, image.Modality, image.InstanceNumber = "1.2.9", "MR", number + 1
        image.Rows, image.Columns, image.SamplesPerPixel, image.PhotometricInterpretation = 4, 6, 1, "MONOCHROME2"
        image.BitsAllocated, image.BitsStored, image.HighBit, image.PixelRepresentation = 16, 16, 15, 0
        image.ImageOrientationPatient, image.PixelSpacing = [1, 0, 0, 0, 1, 0], [2.0, 1.5]
        image.ImagePositionPatient = [0, 0, 8.0 * (number // 3)]
        image.TriggerTime = 40.0 * (number % 3)
        image.PixelData = np.full((4, 6), 10 + number, "<u2").tobytes()
        image.save_as(folder / f"{number}.dcm", enforce_file_format=True)
    return folder


def changed(series: Path, folder: Path, only_first: bool = False, **values) -> Path:
    """A copy of the series with other values, written as bytes that no check of a writer sees."""
    import pydicom

    folder.mkdir()
    with pydicom.config.disable_value_validation():
        for number, path in enumerate(sorted(series.iterdir())):
            image = pydicom.dcmread(path)
            for key, value in values.items():
                if only_first and number:
                    continue
                if value is None:
                    del image[key]
                elif isinstance(value, bytes) and key != "PixelData":
                    tag = pydicom.datadict.tag_for_keyword(key)
                    vr = pydicom.datadict.dictionary_VR(tag)
                    image[key] = pydicom.DataElement(tag, "UN", value) if vr == "US" else raw(tag, vr, value)
                else:
                    setattr(image, key, value)
            image.save_as(folder / path.name)
    return folder


def raw(tag, vr: str, value: bytes):
    import pydicom

    return pydicom.dataelem.RawDataElement(
        pydicom.tag.Tag(tag), vr, len(value), value, 0, is_implicit_VR=False, is_little_endian=True
    )


def test_the_series_that_the_others_are_changed_from_is_read(dicom_series):
    assert files.read(dicom_series).frames[:, :, 0, 0].tolist() == [[10, 13], [11, 14], [12, 15]]


@pytest.mark.parametrize(
    ("values", "said"),
    [
        ({"ImageOrientationPatient": [0, 0, 0, 0, 0, 0]}, "ImageOrientationPatient"),
        ({"ImageOrientationPatient": [1, 0, 0, 1, 0, 0]}, "ImageOrientationPatient"),
        ({"ImageOrientationPatient": None}, "ImageOrientationPatient"),
        ({"PixelSpacing": [-2.0, 1.5]}, "PixelSpacing"),
        ({"PixelSpacing": [0.0, 1.5]}, "PixelSpacing"),
        ({"RescaleSlope": 0, "RescaleIntercept": 0}, "RescaleSlope"),
        ({"Rows": 0}, "Rows"),
        ({"Rows": None}, "no DICOM images"),
        ({"Rows": b""}, "Rows"),
        ({"Rows": [4, 4]}, "Rows"),
        ({"Columns": [6, 6]}, "Columns"),
        ({"SamplesPerPixel": [1, 1]}, "SamplesPerPixel"),
        ({"SamplesPerPixel": b""}, "Samples per Pixel"),
        ({"NumberOfFrames": b"1\\1 "}, "NumberOfFrames"),
        ({"NumberOfFrames": b"many"}, "."),
        ({"PixelData": np.zeros(96, "<u2").tobytes()}, "pixel"),
        ({"PixelData": np.zeros(48, "<u2").tobytes(), "only_first": True}, "pixel"),
        ({"PixelData": np.zeros(10, "<u2").tobytes()}, "pixel|cannot be decoded"),
    ],
)
def test_odd_dicom_headers_are_one_sentence(dicom_series, tmp_path, values, said):
    folder = changed(dicom_series, tmp_path / "odd", **values)
    with pytest.raises(STEnhanceError, match=said) as error:
        files.read(folder)
    assert "Cannot read" in str(error.value)
    assert "cannot be understood" not in str(error.value), "known kinds have a sentence of their own"


@pytest.mark.parametrize(
    "values",
    [
        {"CardiacNumberOfImages": b"20\\21 "},
        {"CardiacNumberOfImages": b"many"},
        {"NominalInterval": b"a\\b "},
        {"TriggerTime": b"1\\2 "},
        {"InstanceNumber": b"1\\2 "},
        {"RescaleSlope": b"1\\2 "},
        {"SpacingBetweenSlices": b"x "},
        {"SeriesNumber": b"1\\2 "},
        {"AcquisitionMatrix": [1, 2]},
        {"ImageType": b"A\\B\\C "},
    ],
)
def test_odd_values_that_dicom_headers_may_do_without_are_no_fault(dicom_series, tmp_path, values):
    try:
        files.read(changed(dicom_series, tmp_path / "odd", **values))
    except STEnhanceError as error:
        assert "Cannot read" in str(error)
