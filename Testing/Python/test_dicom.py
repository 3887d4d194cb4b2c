"""Folders of DICOM cine images: grouped, ordered and complete, or refused with the name of what is wrong."""

from __future__ import annotations

import dataclasses
import shutil
from collections.abc import Callable
from pathlib import Path

import numpy as np
import pytest
from pydicom.dataset import Dataset, FileMetaDataset
from pydicom.uid import ExplicitVRLittleEndian, JPEG2000Lossless, generate_uid

from STEnhanceLib import files
from STEnhanceLib.errors import STEnhanceError

PHASES, SLICES, ROWS, COLUMNS = 6, 3, 4, 5
DIRECTIONS = [0.8, 0.6, 0, 0, 0, -1]  # of a row and of a column
NORMAL = np.cross(DIRECTIONS[:3], DIRECTIONS[3:])
SERIES, OTHER_SERIES = generate_uid(), generate_uid()


def voxels(phase: int, k: int) -> np.ndarray:
    return (1000 * phase + 100 * k + np.arange(ROWS * COLUMNS)).reshape(ROWS, COLUMNS).astype(np.int16)


def image(phase: int, k: int, **changes) -> Dataset:
    """One MR image, 40 ms after the last and 8 mm from its neighbour; a change of None leaves a key out."""
    made = Dataset()
    made.file_meta = FileMetaDataset()
    made.file_meta.TransferSyntaxUID = changes.pop("TransferSyntaxUID", ExplicitVRLittleEndian)
    made.file_meta.MediaStorageSOPClassUID = made.SOPClassUID = "1.2.840.10008.5.1.4.1.1.4"
    made.file_meta.MediaStorageSOPInstanceUID = made.SOPInstanceUID = generate_uid()
    made.Modality, made.PatientName, made.SeriesInstanceUID, made.SeriesNumber = "MR", "Secret^Name", SERIES, 7
    made.SeriesDescription, made.ImageType = "cine", ["ORIGINAL", "PRIMARY", "M"]
    made.InstanceNumber = 1 + phase + PHASES * (SLICES - 1 - k)
    made.TriggerTime = 12.5 + 40 * phase
    made.ImageOrientationPatient = DIRECTIONS
    made.ImagePositionPatient = [round(n, 6) for n in (np.array([-50, 20, 30]) + 8 * k * NORMAL)]
    made.PixelSpacing, made.SliceThickness = [1.5, 1.25], 6
    made.Rows, made.Columns, made.SamplesPerPixel, made.PhotometricInterpretation = ROWS, COLUMNS, 1, "MONOCHROME2"
    made.BitsAllocated = made.BitsStored = 16
    made.HighBit, made.PixelRepresentation = 15, 1
    made.PixelData = voxels(phase, k).tobytes()
    for key, value in changes.items():
        if value is None:
            delattr(made, key)
        else:
            setattr(made, key, value)
    return made


def save_cine(folder: Path, change: Callable[[int, int], dict | None] = lambda phase, k: {}, prefix: str = "") -> Path:
    """Write a cine; `change` gives other header values for one image, or None to leave the image out."""
    folder.mkdir(exist_ok=True)
    # Names in random order, so that nothing can lean on them.
    names = np.random.default_rng(3).permutation(PHASES * SLICES)
    for number, name in enumerate(names):
        phase, k = divmod(number, SLICES)
        if (changes := change(phase, k)) is not None:
            image(phase, k, **changes).save_as(folder / f"{prefix}im{name:03d}", enforce_file_format=True)
    return folder


def expected() -> np.ndarray:
    return np.array([[voxels(phase, k) for k in range(SLICES)] for phase in range(PHASES)], np.float32)


def test_a_cine_is_grouped_by_position_and_ordered_in_time(tmp_path):
    (tmp_path / "notes.txt").write_text("not DICOM")
    (tmp_path / ".hidden").write_bytes(b"x")
    found = files.read(save_cine(tmp_path))
    assert np.array_equal(found.frames, expected())
    assert found.times_ms.tolist() == [12.5 + 40 * phase for phase in range(PHASES)]
    lps = np.eye(4)
    lps[:3, :3] = np.transpose([1.25 * np.array(DIRECTIONS[:3]), 1.5 * np.array(DIRECTIONS[3:]), 8 * NORMAL])
    lps[:3, 3] = (-50, 20, 30)
    assert np.abs(found.ijk_to_ras - np.diag([-1, -1, 1, 1]) @ lps).max() < 1e-6
    assert not found.periodic
    assert any("Assumed not to be a cycle" in note for note in found.notes)
    assert found.name == "cine"


def test_a_dicom_cine_keeps_no_name_of_a_patient(tmp_path):
    found = files.read(save_cine(tmp_path / "in"))
    files.write(found, tmp_path / "a.seq.nrrd")
    assert b"Secret" not in (tmp_path / "a.seq.nrrd").read_bytes()
    assert found.attributes["DICOM.SeriesDescription"] == "cine"


def no_trigger(phase, k):
    return {"TriggerTime": 0.0}


@pytest.mark.parametrize(
    ("headers", "times", "note"),
    [
        (lambda phase, k: {"TemporalPositionIdentifier": phase + 1, "TemporalResolution": 35.0}, 35, None),
        (lambda phase, k: {"AcquisitionTime": f"123458.{phase * 50 + k:03d}000"}, 50, None),
        (lambda phase, k: {"NominalInterval": 600, "CardiacNumberOfImages": PHASES}, 100, "spread over the 600 ms"),
        (lambda phase, k: {}, 40, "no frame times"),
    ],
)
def test_time_falls_back_to_what_else_the_headers_give(tmp_path, headers, times, note):
    found = files.read(save_cine(tmp_path, lambda phase, k: no_trigger(phase, k) | headers(phase, k)))
    assert np.array_equal(found.frames, expected())
    assert found.times_ms == pytest.approx(times * np.arange(PHASES), abs=1e-6)
    assert note is None or any(note in text for text in found.notes)


def test_irregular_trigger_times_are_kept(tmp_path):
    times = [10, 50, 85, 140, 170, 240]
    found = files.read(save_cine(tmp_path, lambda phase, k: {"TriggerTime": times[phase]}))
    assert found.times_ms.tolist() == times


def test_trigger_times_cut_to_whole_milliseconds_become_even_again(tmp_path):
    found = files.read(save_cine(tmp_path, lambda phase, k: {"TriggerTime": int(10 + 31.58 * phase)}))
    assert found.grid.frame_duration_ms == pytest.approx(31.58, abs=1 / (PHASES - 1))
    assert np.ptp(np.diff(found.times_ms)) < 1e-9
    assert any("round frame times to whole milliseconds" in note for note in found.notes)


def test_different_times_of_slices_are_averaged_with_a_note(tmp_path):
    found = files.read(save_cine(tmp_path, lambda phase, k: {"TriggerTime": 10.5 + (40 + k) * phase}))
    assert found.times_ms == pytest.approx(10.5 + 41 * np.arange(PHASES))
    assert any("differ between slices by up to 10.0 ms" in note for note in found.notes)


@pytest.mark.parametrize(("interval", "periodic"), [(240, True), (251, True), (300, False)])
def test_a_full_heart_cycle_is_recognised(tmp_path, interval, periodic):
    headers = {"CardiacNumberOfImages": PHASES, "NominalInterval": interval}
    found = files.read(save_cine(tmp_path, lambda phase, k: headers))
    assert found.periodic == periodic
    assert any(("full heart cycle" if periodic else "not to be a cycle") in note for note in found.notes)


def test_rescaled_voxels(tmp_path):
    found = files.read(save_cine(tmp_path, lambda phase, k: {"RescaleSlope": 0.5, "RescaleIntercept": -3}))
    assert np.array_equal(found.frames, 0.5 * expected() - 3)


def test_a_modality_other_than_mr_is_noted(tmp_path):
    found = files.read(save_cine(tmp_path, lambda phase, k: {"Modality": "CT"}))
    assert "The modality is CT, not MR." in found.notes


# Incomplete series


@pytest.mark.parametrize("lost", [(0, 1), (2, 0), (5, 2)])
def test_a_missing_image_is_named_by_phase_and_slice(tmp_path, lost):
    save_cine(tmp_path, lambda phase, k: None if (phase, k) == lost else {})
    name = rf"phase {lost[0] + 1} of 6 \(near {12.5 + 40 * lost[0]:g} ms\) of slice {lost[1] + 1} of 3"
    with pytest.raises(STEnhanceError, match=f"1 of 18 images are missing: {name}, (between|next to) im"):
        files.read(tmp_path)


def test_missing_images_of_several_slices_are_all_named(tmp_path):
    save_cine(tmp_path, lambda phase, k: None if (phase, k) in ((1, 0), (3, 0), (4, 2)) else {})
    with pytest.raises(
        STEnhanceError, match=r"3 of 18 .*phase 2 of 6.*slice 1.*phase 4 of 6.*slice 1.*phase 5.*slice 3"
    ):
        files.read(tmp_path)


def test_a_missing_image_is_named_when_only_instance_numbers_tell_time(tmp_path):
    save_cine(tmp_path, lambda phase, k: None if (phase, k) == (3, 1) else no_trigger(phase, k))
    with pytest.raises(STEnhanceError, match="phase 4 of 6 of slice 2 of 3"):
        files.read(tmp_path)


@pytest.mark.parametrize(("phase", "named"), [(2, "phase 3 of 6"), (5, "the first or the last phase of 6")])
def test_a_phase_missing_in_all_slices_is_named(tmp_path, phase, named):
    headers = {"CardiacNumberOfImages": PHASES, "NominalInterval": 240}
    save_cine(tmp_path, lambda at, k: None if at == phase else headers)
    with pytest.raises(STEnhanceError, match=f"3 of 18 images are missing: {named} of slice 1 of 3"):
        files.read(tmp_path)


def test_a_missing_slice_is_a_gap(tmp_path):
    moved = {2: [round(n, 6) for n in (np.array([-50, 20, 30]) + 24 * NORMAL)]}
    save_cine(tmp_path, lambda phase, k: {"ImagePositionPatient": moved[k]} if k in moved else {})
    with pytest.raises(STEnhanceError, match="8 to 16 mm apart, the widest gap between slices 2 and 3"):
        files.read(tmp_path)


# Mixed and unreadable folders


def test_one_of_several_series_is_chosen_by_number_or_uid(tmp_path):
    save_cine(tmp_path)
    other = {"SeriesInstanceUID": OTHER_SERIES, "SeriesNumber": 8, "SeriesDescription": "long axis"}
    save_cine(tmp_path, lambda phase, k: other if k == 0 else None, prefix="other")
    with pytest.raises(
        STEnhanceError, match=r"2 series, choose one.*7 'cine' with 18 images.*8 'long axis' with 6 images"
    ):
        files.read(tmp_path)
    assert files.read(tmp_path, series=7).frames.shape == (PHASES, SLICES, ROWS, COLUMNS)
    assert files.read(tmp_path, series=OTHER_SERIES).name == "long axis"
    with pytest.raises(STEnhanceError, match="0 of them match 9"):
        files.read(tmp_path, series=9)


@pytest.mark.parametrize(
    ("changes", "said"),
    [
        ({"ImageOrientationPatient": [1, 0, 0, 0, 1, 0]}, "different directions"),
        ({"ImageOrientationPatient": None}, "None as ImageOrientationPatient; expected 6 numbers"),
        ({"ImagePositionPatient": None}, "None as ImagePositionPatient; expected 3 numbers"),
        ({"Rows": 2, "PixelData": b"\0" * 20}, "differ in Rows"),
        ({"PixelSpacing": [2, 2]}, "differ in PixelSpacing"),
        ({"ImageType": ["DERIVED", "PRIMARY", "P"]}, "differ in ImageType"),
        ({"NumberOfFrames": 20}, "multi-frame DICOM file"),
        ({"SamplesPerPixel": 3, "PhotometricInterpretation": "RGB"}, "colour image"),
        ({"PixelData": b"\0" * 10}, "cannot be decoded"),
        ({"TriggerTime": 12.5, "InstanceNumber": 1}, "nothing tells the 6 images .* apart in time"),
    ],
)
def test_each_odd_image_has_its_own_clear_error(tmp_path, changes, said):
    save_cine(tmp_path, lambda phase, k: changes if (phase, k) in ((3, 1), (4, 1)) else {})
    with pytest.raises(STEnhanceError, match=f"Cannot read .*{said}"):
        files.read(tmp_path)


def test_copies_of_one_image_are_named(tmp_path):
    save_cine(tmp_path)
    shutil.copy(tmp_path / "im000", tmp_path / "im999")
    with pytest.raises(STEnhanceError, match="im000 and im999 are copies of one image"):
        files.read(tmp_path)


def test_an_extra_image_is_not_taken_for_a_missing_one(tmp_path):
    save_cine(tmp_path)
    image(0, 1, TriggerTime=500.0).save_as(tmp_path / "extra", enforce_file_format=True)
    with pytest.raises(STEnhanceError, match=r"slice 2 of 3 .* has 7 images, but most slices have 6"):
        files.read(tmp_path)


def test_a_compression_that_cannot_be_decoded_is_named(tmp_path):
    from pydicom.encaps import encapsulate

    damaged = {"TransferSyntaxUID": JPEG2000Lossless, "PixelData": encapsulate([b"\xff\x4f\xff\x51" + b"\0" * 40])}
    save_cine(tmp_path, lambda phase, k: damaged)
    with pytest.raises(STEnhanceError, match=r"JPEG 2000.*cannot be decoded.*save the series uncompressed"):
        files.read(tmp_path)


def test_a_volume_without_time_is_refused(tmp_path):
    save_cine(tmp_path, lambda phase, k: {} if phase == 0 else None)
    with pytest.raises(STEnhanceError, match="a volume without time; expected a 4D sequence"):
        files.read(tmp_path)


def test_folders_without_dicom_and_empty_dicom_files(tmp_path):
    (tmp_path / "notes.txt").write_text("not DICOM")
    with pytest.raises(STEnhanceError, match="holds no DICOM images"):
        files.read(tmp_path)
    (tmp_path / "im.dcm").touch()
    with pytest.raises(STEnhanceError, match=r"im\.dcm is empty or damaged"):
        files.read(tmp_path)


def test_damaged_headers_are_refused_by_name_of_the_file_or_make_no_difference_but_never_crash(tmp_path):
    save_cine(tmp_path, lambda phase, k: {} if phase < 2 and k < 2 else None)
    path = min(tmp_path.iterdir())
    whole, chance = path.read_bytes(), np.random.default_rng(5)
    refused = 0
    for _ in range(60):
        damaged = bytearray(whole)
        for place in chance.integers(128, len(whole), 2):
            damaged[place] = chance.integers(256)
        path.write_bytes(damaged)
        try:
            files.read(tmp_path)
        except STEnhanceError:
            refused += 1
    assert 10 < refused < 60


# Real cine MRI


def test_real_slices_equal_the_same_slices_of_the_whole_stack(stenhance_data):
    found = files.read(stenhance_data / "dicom" / "preclinical_sax_3_slices")
    stack = files.read(stenhance_data / "cine" / "preclinical_sax.nii.gz")
    assert found.frames.shape == (20, 3, 256, 256)
    assert round(found.grid.frame_duration_ms, 1) == 31.6
    assert found.grid.spacing_mm == pytest.approx((0.8203, 0.8203, 5), abs=1e-4)
    assert found.periodic
    assert np.array_equal(found.frames, stack.frames[:, 9:12])
    ninth = stack.ijk_to_ras @ (0, 0, 9, 1)
    assert found.ijk_to_ras[:3, 3] == pytest.approx(ninth[:3], abs=2e-3)  # DICOM gives positions with 3 decimals
    assert found.ijk_to_ras[:3, :3] == pytest.approx(stack.ijk_to_ras[:3, :3], abs=1e-3)
    assert found.times_ms - found.times_ms[0] == pytest.approx(stack.times_ms - stack.times_ms[0], abs=0.1)


def test_a_real_series_with_one_file_removed_names_phase_and_slice(stenhance_data, tmp_path):
    shutil.copytree(stenhance_data / "dicom" / "preclinical_sax_3_slices", tmp_path / "cine")
    (tmp_path / "cine" / "slice10_phase07.dcm").unlink()
    with pytest.raises(
        STEnhanceError, match=r"phase 8 of 20 .*slice 2 of 3.*slice10_phase06.dcm and slice10_phase08.dcm"
    ):
        files.read(tmp_path / "cine")


def test_a_real_single_slice(stenhance_data):
    found = files.read(stenhance_data / "dicom" / "scd0000301_1_slice")
    stack = files.read(stenhance_data / "cine" / "scd0000301_sax.nii.gz")
    same = [k for k in range(stack.grid.shape[0]) if np.array_equal(found.frames[:, 0], stack.frames[:, k])]
    assert len(same) == 1
    assert found.ijk_to_ras[:3, 3] == pytest.approx((stack.ijk_to_ras @ (0, 0, same[0], 1))[:3], abs=5e-3)
    assert found.grid.frame_duration_ms == pytest.approx(stack.grid.frame_duration_ms, abs=0.1)
    assert found.grid.spacing_mm == pytest.approx((1.2891, 1.2891, 8), abs=1e-4)


@pytest.mark.parametrize("name", ["a.seq.nrrd", "a.nii.gz"])
def test_a_real_dicom_cine_survives_as_a_file(stenhance_data, tmp_path, name):
    found = files.read(stenhance_data / "dicom" / "scd0000301_1_slice")
    files.write(found, tmp_path / name)
    again = files.read(tmp_path / name)
    for field in dataclasses.fields(found):
        one, other = getattr(found, field.name), getattr(again, field.name)
        assert np.array_equal(one, other) if isinstance(one, np.ndarray) else one == other, field.name
