"""What a method took out of a sequence: as a sequence, by temporal frequency, and on the page."""

from __future__ import annotations

import base64
import re
from dataclasses import replace
from importlib.util import find_spec

import numpy as np
import pytest
import SimpleITK

from STEnhanceLib import cli, files
from STEnhanceLib.errors import STEnhanceError
from STEnhanceLib.evaluation.removed import CONTENT, amplitudes, frequencies, mean_amplitudes, removed
from STEnhanceLib.evaluation.report import Comparison, write_report
from STEnhanceLib.phantoms.thorax import Thorax
from STEnhanceLib.sequence import ImageSequence

needs_torch = pytest.mark.skipif(not find_spec("torchkbnufft"), reason="torchkbnufft is not installed")


@pytest.fixture
def streaky(beating_disc) -> ImageSequence:
    """The disc with a stripe that flickers three times a beat, 6 bright."""
    flicker = 6 * np.cos(2 * np.pi * 3 * np.arange(8) / 8).astype(np.float32)
    frames = beating_disc.frames.copy()
    frames[:, :, 5:8] += flicker[:, None, None, None]
    return replace(beating_disc, frames=frames, name="streaky")


@pytest.fixture
def cleaned(beating_disc) -> ImageSequence:
    attributes = {"STEnhance.Method": "magic", "STEnhance.MethodTitle": "Magic", "STEnhance.Version": "1"}
    return replace(beating_disc, name="streaky (Magic)", attributes=attributes, notes=("It was easy.",))


def test_the_difference_is_input_minus_result_and_says_so_beside_the_provenance(streaky, cleaned):
    found = removed(streaky, cleaned)
    np.testing.assert_allclose(found.frames, streaky.frames - cleaned.frames)
    assert found.frames.min() < 0, "signed"
    assert found.attributes["STEnhance.Method"] == "magic" and "Input minus result" in found.attributes[CONTENT]
    assert found.name == "streaky (removed by Magic)"
    np.testing.assert_array_equal(found.ijk_to_ras, streaky.ijk_to_ras)
    assert found.periodic and np.array_equal(found.times_ms, streaky.times_ms)


def test_the_magnitude_is_taken_of_complex_images_before_the_difference(streaky, cleaned):
    turned = replace(streaky, frames=(streaky.frames * 1j).astype(np.complex64))
    np.testing.assert_allclose(removed(turned, cleaned).frames, np.abs(streaky.frames) - cleaned.frames, atol=1e-4)


def test_results_on_another_grid_are_refused(streaky, cleaned):
    finer = replace(cleaned, frames=cleaned.frames.repeat(2, axis=-1))
    later = replace(cleaned, times_ms=cleaned.times_ms + 20)
    for stranger in (finer, later, cleaned.with_frames(range(7))):
        with pytest.raises(STEnhanceError, match="expected the same grid"):
            removed(streaky, stranger)


def test_an_oscillation_has_its_amplitude_at_its_frequency(streaky, cleaned):
    spectrum = amplitudes(removed(streaky, cleaned).frames)
    expected = np.zeros((5, 3, 40, 48), np.float32)
    expected[3, :, 5:8] = 6
    np.testing.assert_allclose(spectrum, expected, atol=1e-4)
    axis, unit = frequencies(streaky.grid)
    assert unit == "cycles per beat" and axis.tolist() == [0, 1, 2, 3, 4]
    assert mean_amplitudes(removed(streaky, cleaned).frames)[3] == pytest.approx(6 * 3 / 40, rel=1e-4)
    alternating = np.array([1.0, -1.0, 1.0, -1.0])[:, None]
    assert amplitudes(alternating).ravel().tolist() == [0, 0, 1], "the Nyquist frequency is not counted twice"


def test_without_a_cycle_frequencies_are_in_hertz_and_uneven_times_have_none(streaky):
    axis, unit = frequencies(replace(streaky, periodic=False).grid)
    assert unit == "Hz" and axis[1] == pytest.approx(1 / 0.4) and axis[-1] == pytest.approx(10)
    assert frequencies(streaky.grid.at_times(np.array([0, 50, 100, 150, 230, 250, 300, 350.0]))) is None
    assert frequencies(streaky.grid.at_times(np.array([0, 50, 100.0]))) is None


def page_of(tmp_path, comparison) -> str:
    return write_report(tmp_path, [comparison]).read_text(encoding="utf-8")


def test_the_page_shows_curves_and_pictures_where_input_and_result_share_the_grid(tmp_path, streaky, cleaned):
    text = page_of(tmp_path, Comparison("Cleaned", streaky, [cleaned]))
    assert "What was removed</h3>" in text and "cannot tell the two apart." in text
    assert re.findall(r"<b>([a-g])</b>", text) == list("abcdef")
    curve = re.search(r'<g class="curve curve-1"><title>Removed by Magic</title>(.*?)</g>', text)[1]
    assert curve.count("<circle") == 1, "only the flicker is above nothing"
    pictures = re.findall(r'alt="([^"]*), by temporal frequency" src="data:image/png;base64,([^"]*)"', text)
    assert [name for name, _ in pictures] == ["Input", "Removed by Magic"]
    (tmp_path / "picture.png").write_bytes(base64.b64decode(pictures[1][1]))
    picture = SimpleITK.GetArrayFromImage(SimpleITK.ReadImage(str(tmp_path / "picture.png")))
    assert picture.shape[1] == 5 and not picture[:, [0, 1, 2, 4]].any()


def test_with_a_reference_the_page_shows_what_had_to_go(tmp_path, streaky, cleaned, beating_disc):
    text = page_of(tmp_path, Comparison("Cleaned", streaky, [cleaned], beating_disc))
    assert "What had to go (input − reference)" in text and "the dotted curve" in text


def test_the_page_leaves_it_out_where_there_is_nothing_to_subtract(tmp_path, streaky, cleaned):
    coarse = replace(streaky, frames=streaky.frames[..., ::2, ::2].copy())
    coarse = replace(coarse, ijk_to_ras=streaky.grid.resampled((3, 20, 24)).ijk_to_ras)
    assert "What was removed" not in page_of(tmp_path, Comparison("Sharper", coarse, [cleaned]))


def test_the_page_leaves_it_out_where_the_pictures_have_other_voxels(tmp_path, streaky, cleaned):
    """The line through the pictures would lie elsewhere in the input."""
    grid = streaky.grid.resampled((3, 80, 96))
    finer = replace(
        cleaned, frames=cleaned.frames.repeat(2, -1).repeat(2, -2), ijk_to_ras=grid.ijk_to_ras, name="finer"
    )
    assert "What was removed" in page_of(tmp_path / "same", Comparison("Both", streaky, [cleaned, finer]))
    assert "What was removed" not in page_of(tmp_path / "finer", Comparison("Both", streaky, [finer, cleaned]))


def test_a_map_of_unsupported_fractions_is_shown_frame_by_frame_below_its_result(tmp_path, streaky, cleaned):
    shares = np.zeros_like(cleaned.frames)
    shares[:, :, 20:30] = 0.5
    maps = ImageSequence.from_frames(shares, cleaned.grid)
    plain = page_of(tmp_path, Comparison("Cleaned", streaky, [cleaned]))
    text = page_of(tmp_path, Comparison("Cleaned", streaky, [cleaned], unsupported=[maps]))
    assert "Unsupported fraction" in text and "Unsupported fraction" not in plain
    assert text.count('class="view"') == plain.count('class="view"') + 1
    sheets = re.findall(r'data-slice="0" src="data:image/png;base64,([^"]*)"', text)
    (tmp_path / "sheet.png").write_bytes(base64.b64decode(sheets[-1]))
    levels = SimpleITK.GetArrayFromImage(SimpleITK.ReadImage(str(tmp_path / "sheet.png")))[:40, :48]
    assert (levels[20:30] == 48).all() and (levels[:20] == 32).all(), "0 is the middle of the colours, 1 their end"


@needs_torch
def test_the_command_writes_what_was_removed_and_the_map_onto_the_page(tmp_path, capsys):
    good, streaky, kspace, clean, gone = (
        tmp_path / f"{name}{ending}"
        for name, ending in (
            ("good", ".seq.nrrd"), ("c8", ".seq.nrrd"), ("c8", ".npz"), ("tv", ".seq.nrrd"), ("gone", ".seq.nrrd"),
        )
    )  # fmt: skip
    files.write(Thorax(breathing_mm=0).cine(frames=6, matrix=48, slices=1), good)

    def stenhance(*arguments) -> int:
        return cli.main([str(argument) for argument in arguments])

    assert stenhance("simulate", good, streaky, "--acquisition", "c8", "--keep-kspace", kspace) == 0
    enhance = ("enhance", streaky, clean, "--method", "temporal-tv", "--kspace", kspace, "--set", "support=true")
    assert stenhance(*enhance, "--removed", gone, "--report", tmp_path / "report") == 0
    difference = files.read(gone)
    np.testing.assert_allclose(difference.frames, files.read(streaky).frames - files.read(clean).frames, atol=1e-3)
    assert difference.attributes["STEnhance.Method"] == "temporal-tv"
    assert "Input minus result" in difference.attributes[CONTENT]
    assert "Unsupported fraction" in (tmp_path / "report" / "index.html").read_text(encoding="utf-8")


def test_the_command_refuses_before_computing_where_the_grid_changes(tmp_path, capsys):
    cine, finer, gone = (tmp_path / f"{name}.seq.nrrd" for name in ("cine", "finer", "gone"))
    files.write(Thorax(breathing_mm=0).cine(frames=4, matrix=32, slices=1), cine)
    arguments = ("enhance", cine, finer, "--method", "zero-fill", "--removed", gone)
    assert cli.main([str(argument) for argument in arguments]) == 1
    assert "expected the same grid" in capsys.readouterr().err.replace("\n", " ")
    assert not finer.exists() and not gone.exists()
