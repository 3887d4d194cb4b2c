"""What was measured of a sequence: found from images whose acquisition is known, from headers, and never in doubt."""

from __future__ import annotations

import dataclasses

import numpy as np
import pytest
from scanned import Scan, scanned, thorax
from scipy import ndimage

from STEnhanceLib import files
from STEnhanceLib.acquisition import acquired, centre_crop
from STEnhanceLib.acquisition.acquired import estimate
from STEnhanceLib.acquisition.acquired_edge import FERMI, TUKEY
from STEnhanceLib.acquisition.acquired_header import readings
from STEnhanceLib.acquisition.noise import noise_std
from STEnhanceLib.errors import STEnhanceError
from STEnhanceLib.sequence import ImageSequence

ZERO_FILLED = Scan((100, 90), (160, 150), percent=1, rounded=True)
HEADER = {"DICOM.AcquisitionMatrix": "[0, 100, 90, 0]", "DICOM.InPlanePhaseEncodingDirection": "ROW"}


@pytest.fixture(scope="module")
def ideal() -> np.ndarray:
    return thorax(3)


def scan_of(ideal: np.ndarray, scan: Scan, seed: int = 0, **more) -> ImageSequence:
    return scanned(ideal, scan, np.random.default_rng(seed), **more)


@pytest.mark.parametrize(
    "scan",
    [
        ZERO_FILLED,
        Scan((100, 90), (160, 150)),
        Scan((110, 71), (149, 170), percent=5, phase=True),
        Scan((120, 80), (150, 128), FERMI, (1.0, 0.04), percent=2, phase=True, radial=True),
        Scan((97, 128), (180, 160), FERMI, (1.0, 0.03), percent=1, rounded=True),
    ],
    ids=lambda scan: f"{scan.family} {scan.percent:g} %",
)
def test_a_zero_fill_is_found_within_three_percent(ideal, scan):
    found = estimate(scan_of(ideal, scan))
    assert found.interpolated and found.source == "images"
    assert found.measured_ji == pytest.approx(scan.support(), rel=0.03)
    assert found.shown_ji == scan.shown_ji
    assert [len(found.window_j), len(found.window_i)] == list(found.measured_ji)


@pytest.mark.parametrize(
    "scan", [Scan((120, 90), (160, 150), TUKEY, (1.0,), 1), Scan((120, 96), (160, 144), TUKEY, (0.7,), 2)]
)
def test_a_filter_that_fades_out_is_found_up_to_a_tenth(ideal, scan):
    found = estimate(scan_of(ideal, scan))
    assert found.measured_ji == pytest.approx(scan.support(), rel=0.08)
    assert found.window_j[found.measured_ji[0] // 2] < 0.3 < found.window_j[0]


@pytest.mark.parametrize("percent", [0, 1, 5])
@pytest.mark.parametrize("shape", [(96, 96), (121, 88)], ids=str)
def test_native_images_are_said_to_be_native(ideal, shape, percent):
    found = estimate(scan_of(ideal, Scan(shape, shape, percent=percent, phase=True)))
    assert not found.interpolated and found.notes == ()
    assert (found.window() == 1).all() and (found.noise_spectrum == 1).all()


def test_real_cines_are_found_from_the_header_and_from_the_images(stenhance_data):
    sequence = files.read(stenhance_data / "dicom/preclinical_sax_3_slices")
    found = estimate(sequence)
    assert found.line() == "shown as 256 × 256, measured as about 224 × 160; header and images agree"
    assert found.header_ji == (224, 160) and found.corners_cut
    assert estimate(dataclasses.replace(sequence, attributes={})).measured_ji == pytest.approx((224, 160), rel=0.03)


def test_cut_corners_are_seen_and_square_ones_too(ideal):
    scan = Scan((100, 96), (160, 144), percent=1)
    for cut in (True, False):
        found = estimate(scan_of(ideal, scan._replace(cut=cut)))
        assert found.corners_cut is cut
        assert bool(found.window().min() == 0) is cut


def test_the_filter_is_the_scanner_s(ideal):
    scan = Scan((120, 90), (160, 150), FERMI, (0.9, 0.04), percent=3)
    found, true = estimate(scan_of(ideal, scan)), scan.window()[0]
    true = np.fft.ifftshift(np.fft.fftshift(true)[(90 - found.measured_ji[1]) // 2 :][: found.measured_ji[1]])
    assert np.abs(found.window_i - true).mean() < 0.06


@pytest.mark.parametrize(
    "scan", [ZERO_FILLED._replace(percent=3, rounded=False), Scan((110, 100), (110, 100), percent=2)]
)
def test_noise_of_the_shown_grid(ideal, scan):
    std = noise_std(ideal, scan.percent)  # a zero-fill keeps it
    assert estimate(scan_of(np.repeat(ideal[:1], 6, 0), scan)).noise_std == pytest.approx(std, rel=0.1)
    by_channel = estimate(scan_of(np.repeat(ideal[:1], 6, 0), scan, magnitude=False))
    assert by_channel.noise_std == pytest.approx(std, rel=0.1)


def test_complex_images_show_what_partial_fourier_left_out(ideal):
    sequence = scan_of(ideal, ZERO_FILLED._replace(rounded=False), magnitude=False)
    spectrum = np.fft.fft2(sequence.frames)
    spectrum[..., np.fft.fftfreq(160) * 160 > 20, :] = 0
    found = estimate(dataclasses.replace(sequence, frames=np.fft.ifft2(spectrum).astype(np.complex64)))
    assert found.measured_ji == pytest.approx((100, 90), rel=0.03)
    assert found.partial_fourier.startswith("30%") or "positive side of the rows" in found.partial_fourier
    assert not estimate(sequence).partial_fourier


@pytest.mark.parametrize("frames", [1, 4])
def test_one_image_is_enough(ideal, frames):
    sequence = scan_of(ideal[:frames, :1], ZERO_FILLED)
    assert estimate(sequence).measured_ji == pytest.approx((100, 90), rel=0.03)


@pytest.mark.parametrize("shape", [(1, 1), (5, 7), (33, 20), (64, 64)])
@pytest.mark.parametrize("of", [np.zeros, np.ones])
def test_empty_and_tiny_images_are_taken_as_they_are(shape, of):
    sequence = ImageSequence(of((2, 1, *shape), np.float32), np.eye(4), [0.0, 1.0])
    assert not estimate(sequence).interpolated
    assert estimate(sequence).window().shape == shape


@pytest.mark.parametrize("order", [0, 1, 3])
def test_other_interpolation_is_noticed_and_nothing_claimed(ideal, order):
    from scipy import ndimage

    native = scan_of(ideal, Scan((100, 90), (100, 90), percent=1))
    enlarged = ndimage.zoom(native.frames, (1, 1, 1.6, 1.6), order=order)
    found = estimate(dataclasses.replace(native, frames=np.abs(enlarged)))
    assert not found.interpolated
    assert found.notes == (f"{acquired.ENLARGED} {acquired.AS_THEY_ARE}",)


def test_images_turned_after_the_scan_are_noticed(ideal):
    from scipy import ndimage

    sequence = scan_of(ideal, Scan((100, 80), (160, 160), percent=1))
    turned = np.abs(ndimage.rotate(sequence.frames, 15, axes=(2, 3), reshape=False, order=3))
    found = estimate(dataclasses.replace(sequence, frames=turned))
    assert not found.interpolated
    assert found.notes == (f"{acquired.TURNED_AFTER} {acquired.AS_THEY_ARE}",)


def test_slices_of_two_matrices_are_noticed(ideal):
    coarse, fine = (scan_of(ideal, ZERO_FILLED._replace(measured_ji=ji)) for ji in ((100, 90), (140, 135)))
    mixed = np.concatenate([coarse.frames[:, :2], fine.frames[:, :2]], axis=1)
    found = estimate(dataclasses.replace(coarse, frames=mixed))
    assert all(m >= n for m, n in zip(found.measured_ji, (135, 130), strict=True))
    assert found.notes == (f"{acquired.SLICES_DIFFER} {acquired.AS_THEY_ARE}",)


def test_a_header_that_agrees_gives_the_exact_number(ideal):
    found = estimate(dataclasses.replace(scan_of(ideal, ZERO_FILLED), attributes=HEADER))
    assert found.measured_ji == (100, 90) and found.source == "header and images"


@pytest.mark.parametrize(
    ("attributes", "note"),
    [
        ({**HEADER, "DICOM.AcquisitionMatrix": "[0, 64, 64, 0]"}, "The header says 64 × 60, the images show 100 × 9"),
        ({**HEADER, "DICOM.AcquisitionMatrix": "[0, 0]"}, "which is no matrix"),
        ({**HEADER, "DICOM.AcquisitionMatrix": "[0, 9000, 9000, 0]"}, "far beyond what is shown"),
    ],
    ids=["wrong", "broken", "absurd"],
)
def test_the_images_are_followed_where_a_header_is_wrong(ideal, attributes, note):
    found = estimate(dataclasses.replace(scan_of(ideal, ZERO_FILLED), attributes=attributes))
    assert found.measured_ji == pytest.approx((100, 90), rel=0.03) and found.source == "images"
    assert note in found.notes[0]


def test_headers_are_read_in_all_ways_that_vendors_mean():
    attributes = {**HEADER, "DICOM.AcquisitionMatrix": "[0, 256, 192, 0]", "DICOM.PercentPhaseFieldOfView": "90"}
    read, notes = readings(attributes, (256, 256), (1.0, 1.0))
    assert [tuple(map(round, each.ji)) for each in read] == [(256, 213), (256, 192)] and notes == ()
    shown_in_part, _ = readings(attributes, (256, 230), (1.0, 1.0))
    assert tuple(map(round, shown_in_part[0].ji)) == (256, 192)  # the shown field of view is the measured one
    by_columns = {**attributes, "DICOM.InPlanePhaseEncodingDirection": "COL"}
    assert tuple(map(round, readings(by_columns, (256, 256), (1.0, 1.0))[0][0].ji)) == (213, 256)
    assert readings({}, (256, 256), (1.0, 1.0)) == ([], ())


def test_what_the_user_says_counts(ideal):
    sequence = scan_of(ideal, ZERO_FILLED)
    assert estimate(sequence, "shown").line() == "shown and measured as 160 × 150; as you say"
    found = estimate(sequence, "96x88")
    assert found.measured_ji == (96, 88) and found.source == "user" and found.sureness == 1
    for nonsense in ("fine", "0x0", "400x88", "96", "96x88x2"):
        with pytest.raises(STEnhanceError, match="rows × columns"):
            estimate(sequence, nonsense)


def test_what_super_resolution_made_is_not_taken_for_a_scanner_s_interpolation(ideal):
    made = {
        "STEnhance.Task": "super-resolution",
        "STEnhance.Method": "zero-fill",
        "STEnhance.MethodTitle": "Zero filling",
    }
    found = estimate(dataclasses.replace(scan_of(ideal, ZERO_FILLED), attributes=made))
    assert not found.interpolated
    assert found.notes == ("Zero filling made this grid, not the scanner: it counts as measured.",)


@pytest.mark.parametrize("ending", [".seq.nrrd", ".nii.gz"])
def test_header_facts_survive_in_files(ideal, tmp_path, ending):
    sequence = dataclasses.replace(scan_of(ideal, ZERO_FILLED), attributes=HEADER)
    files.write(sequence, tmp_path / f"scan{ending}")
    assert estimate(files.read(tmp_path / f"scan{ending}")).source == "header and images"


def test_header_facts_survive_in_the_scene(ideal, mrml_scene):
    from STEnhanceLib import scene

    node = scene.add_sequence(dataclasses.replace(scan_of(ideal, ZERO_FILLED), attributes=HEADER), mrml_scene)
    read = scene.read_sequence(node)
    assert HEADER.items() <= read.attributes.items()
    part = scene.read_part(node, read.grid, [0, 1], slice(1, 2))
    assert estimate(part).source == "header and images"


def test_info_says_it(ideal, tmp_path, capsys):
    from STEnhanceLib import cli

    path = tmp_path / "scan.nii.gz"
    files.write(dataclasses.replace(scan_of(ideal, ZERO_FILLED), attributes=HEADER), path)
    cli.main(["info", str(path)])
    said = " ".join(capsys.readouterr().out.split())
    assert "measured as about 100 × 90; header and images agree" in said
    assert "by the header about 100 × 90" in said and "by the images about" in said


def test_a_long_sequence_takes_no_longer_than_a_look():
    import time

    frames = np.random.default_rng(0).random((20, 20, 256, 256), np.float32)
    sequence = ImageSequence(frames, np.eye(4), np.arange(20.0))
    estimate(sequence)
    start = time.process_time()
    estimate(sequence)
    assert time.process_time() - start < 0.6  # 0.2 s where it was measured


@pytest.mark.parametrize("degrees", [5, 30])
def test_images_turned_little_or_much_are_taken_as_shown(degrees, stenhance_data):
    """A turned rectangle of frequencies was taken for an upright one with cut corners, and 7 dB were lost."""
    cine = files.read(stenhance_data / "cine" / "preclinical_sax.nii.gz")
    small = centre_crop.crop(cine.frames[[0, 3, 6, 9], 8:11], (128, 128))
    shown = np.abs(centre_crop.zero_fill(small, (256, 256)))
    turned = ndimage.rotate(shown, degrees, axes=(-2, -1), reshape=False, order=3)
    sequence = ImageSequence(turned.astype(np.float32), cine.ijk_to_ras, cine.times_ms[[0, 3, 6, 9]])
    found = acquired.estimate(sequence)
    assert not found.interpolated
    assert any("turned" in note for note in found.notes)
