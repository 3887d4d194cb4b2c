"""The command `stenhance`, as a user types it."""

from __future__ import annotations

import dataclasses
import json
import subprocess
import sys
from importlib.util import find_spec

import numpy as np
import pytest

from STEnhanceLib import cli, files
from STEnhanceLib.assumed import NOT_A_CYCLE
from STEnhanceLib.commands import enhance
from STEnhanceLib.evaluation.metrics import score
from STEnhanceLib.methods import all_methods
from STEnhanceLib.origin import origins_of
from STEnhanceLib.phantoms.thorax import Thorax

needs_torch = pytest.mark.skipif(not find_spec("torchkbnufft"), reason="torchkbnufft is not installed")


@pytest.fixture
def cine(tmp_path):
    """A small phantom cine on disk, as .seq.nrrd."""
    sequence = Thorax(breathing_mm=0).cine(frames=6, matrix=48, slices=2)
    path = tmp_path / "cine.seq.nrrd"
    files.write(sequence, path)
    return path


def stenhance(*arguments) -> int:
    return cli.main([str(argument) for argument in arguments])


def test_methods_lists_every_method_with_its_task_and_needs(capsys):
    assert stenhance("methods") == 0
    printed = capsys.readouterr().out
    for key in all_methods():
        assert key in printed
    assert "Super-resolution" in printed and "kspace" in printed


def test_methods_key_shows_parameters_and_the_source(capsys):
    assert stenhance("methods", "zero-fill") == 0
    printed = capsys.readouterr().out
    assert "factor" in printed and "sampling" in printed and "Source:" in printed
    assert "1.0 … 8.0" in printed
    assert "at least 0.05 mm" in printed, "a range that is open at one end"


def test_info_tells_geometry_and_time(cine, capsys):
    assert stenhance("info", cine) == 0
    printed = capsys.readouterr().out
    assert "6 frames × 2 slices × 48 × 48 voxels" in printed
    assert "6.2500 × 6.2500 × 8.0000 mm" in printed
    assert "dt 150.0 ms" in printed
    assert "yes: the last frame is followed by the first" in printed


def test_a_cropped_sequence_comes_back_on_the_grid_of_its_reference(tmp_path, capsys):
    cine = tmp_path / "cine.nrrd"
    files.write(Thorax().cine(frames=2, matrix=160, slices=1), cine)
    low, high, report = tmp_path / "lr.seq.nrrd", tmp_path / "sr.seq.nrrd", tmp_path / "report"
    assert stenhance("simulate", cine, low, "--acquisition", "s4") == 0
    arguments = ("--method", "zero-fill", "--set", "factor=4", "--reference", cine, "--report", report)
    assert stenhance("enhance", low, high, *arguments) == 0
    assert "PSNR" in capsys.readouterr().out
    reference, result = files.read(cine), files.read(high)
    assert np.abs(result.ijk_to_ras - reference.ijk_to_ras).max() < 1e-4
    assert result.attributes["STEnhance.Method"] == "zero-fill"
    assert json.loads(result.attributes["STEnhance.Parameters"])["factor"] == 4
    assert "<html" in (report / "index.html").read_text(encoding="utf-8")
    assert score(result, reference).whole.means()["psnr"] == pytest.approx(_direct_zero_fill_psnr(reference), abs=0.1)


def _direct_zero_fill_psnr(reference) -> float:
    """PSNR of the plain FFT computation: keep the centre of k-space, set the rest to zero."""
    rows, columns = reference.grid.shape[1:]
    spectrum = np.fft.fftshift(np.fft.fft2(reference.frames), axes=(-2, -1))
    kept = np.zeros_like(spectrum)
    inside = (..., slice(rows * 3 // 8, rows * 5 // 8), slice(columns * 3 // 8, columns * 5 // 8))
    kept[inside] = spectrum[inside]
    image = np.fft.ifft2(np.fft.ifftshift(kept, axes=(-2, -1))).real
    scale = np.percentile(reference.frames, 99.9)
    squared = np.mean(((image - reference.frames) / scale) ** 2, axis=(1, 2, 3))
    return float(np.mean(-10 * np.log10(squared)))


def test_a_log_gets_no_traces_of_the_progress_bar(cine, tmp_path, capsys):
    assert stenhance("enhance", cine, tmp_path / "out.nrrd", "--method", "zero-fill") == 0
    assert capsys.readouterr().err == ""


def test_interpolation_keeps_the_measured_frames_bit_for_bit(cine, tmp_path):
    dense = tmp_path / "dense.seq.nrrd"
    assert stenhance("enhance", cine, dense, "--method", "linear", "--set", "factor=3") == 0
    before, after = files.read(cine), files.read(dense)
    assert len(after) == 18
    assert np.array_equal(after.frames[::3], before.frames)


def test_a_result_says_how_many_of_its_frames_nobody_acquired(cine, tmp_path):
    dense, sharp, sharp_dense = (tmp_path / f"{name}.seq.nrrd" for name in ("dense", "sharp", "sharp dense"))
    assert stenhance("enhance", cine, dense, "--method", "linear", "--set", "factor=3") == 0
    assert stenhance("enhance", cine, sharp, "--method", "b-spline") == 0
    assert stenhance("enhance", dense, sharp_dense, "--method", "b-spline") == 0
    attribute = "STEnhance.GeneratedFrames"
    assert files.read(dense).attributes[attribute] == "12 of 18"
    assert files.read(sharp).attributes[attribute] == "0 of 6"
    assert files.read(sharp_dense).attributes[attribute] == "12 of 18"


@pytest.mark.parametrize("ending", ["seq.nrrd", "nii.gz"])
def test_what_was_generated_stays_generated_in_every_file_and_every_further_result(cine, tmp_path, ending):
    dense, denser, sharp = (tmp_path / f"{name}.{ending}" for name in ("dense", "denser", "sharp"))
    assert stenhance("enhance", cine, dense, "--method", "demons") == 0
    assert stenhance("enhance", dense, denser, "--method", "linear") == 0
    assert stenhance("enhance", denser, sharp, "--method", "zero-fill") == 0
    step = files.read(cine).times_ms[1] - files.read(cine).times_ms[0]
    for path in (denser, sharp):
        origins = origins_of(files.read(path))
        assert [origin.generated for origin in origins] == [False, True, True, True] * 6
        assert [origin.method for origin in origins] == ["", "linear", "demons", "linear"] * 6
        assert [o.distance_ms / step for o in origins] == pytest.approx([0, 0.25, 0.5, 0.25] * 6, rel=1e-4)
        assert [origin.unsupported for origin in origins] == [0, 1, 1, 1] * 6, "zero-filling invents nothing by itself"


def test_the_user_decides_whether_it_is_a_cycle(cine, tmp_path):
    dense = tmp_path / "dense.seq.nrrd"
    assert stenhance("enhance", cine, dense, "--no-periodic", "--method", "linear") == 0
    assert len(files.read(dense)) == 11


def test_a_cycle_that_the_user_declares_is_no_longer_doubted(cine, tmp_path):
    plain, dense = tmp_path / "plain.nrrd", tmp_path / "dense.seq.nrrd"
    about_another_cycle = "Taken from the second cycle of the recording."
    files.write(dataclasses.replace(files.read(cine), notes=(NOT_A_CYCLE, about_another_cycle)), plain)
    assert stenhance("enhance", plain, dense, "--periodic", "--method", "linear") == 0
    assumed = files.read(dense).attributes["STEnhance.Assumed"]
    assert about_another_cycle in assumed and NOT_A_CYCLE not in assumed


def test_a_scene_file_holds_input_and_result(cine, tmp_path, mrml_scene):
    from STEnhanceLib import scene

    target = tmp_path / "out.mrb"
    assert stenhance("enhance", cine, target, "--method", "b-spline") == 0
    scene.load_scene(target, mrml_scene)
    assert mrml_scene.GetNumberOfNodesByClass("vtkMRMLSequenceNode") == 2
    assert mrml_scene.GetNumberOfNodesByClass("vtkMRMLSequenceBrowserNode") == 1


def test_compare_writes_a_page(cine, tmp_path):
    smooth = tmp_path / "smooth.seq.nrrd"
    assert stenhance("enhance", cine, smooth, "--method", "frequency-split") == 0
    assert stenhance("compare", cine, smooth, "--report", tmp_path / "page") == 0
    assert (tmp_path / "page" / "index.html").stat().st_size > 10_000


def test_only_frames_that_the_input_lacks_are_scored(cine, tmp_path, capsys):
    dense, every_second = files.read(cine), tmp_path / "half.seq.nrrd"
    files.write(dense.with_frames(range(0, len(dense), 2)), every_second)
    arguments = ("--method", "linear", "--reference", cine, "--periodic")
    assert stenhance("enhance", every_second, tmp_path / "out.seq.nrrd", *arguments) == 0
    printed = " ".join(capsys.readouterr().out.split())
    new = score(files.read(tmp_path / "out.seq.nrrd"), dense, frames=range(1, len(dense), 2)).whole.means()
    assert f"over the {len(dense) // 2} frames that the input lacks" in printed
    assert f"{new['psnr']:.2f} dB {new['ssim']:.4f}" in printed


def test_radial_kspace_is_kept_and_reconstructed(cine, tmp_path):
    pytest.importorskip("torchkbnufft")
    streaky, kspace, clean = (tmp_path / name for name in ("r13.seq.nrrd", "r13.npz", "tv.seq.nrrd"))
    assert stenhance("simulate", cine, streaky, "--acquisition", "r13", "--keep-kspace", kspace) == 0
    assert stenhance("enhance", streaky, clean, "--method", "temporal-tv", "--kspace", kspace) == 0
    reference = files.read(cine)
    psnr = [score(files.read(path), reference).whole.means()["psnr"] for path in (streaky, clean)]
    assert psnr[1] > psnr[0] + 1


@pytest.mark.parametrize(
    ("arguments", "said"),
    [
        (("info", "nowhere.seq.nrrd"), "nowhere.seq.nrrd"),
        (("enhance", "CINE", "OUT", "--method", "magic"), "no method 'magic'"),
        (("enhance", "CINE", "OUT", "--method", "zero-fill", "--set", "factor=99"), "expected a number from"),
        (("enhance", "CINE", "OUT", "--method", "zero-fill", "--set", "factor"), "NAME=VALUE"),
        (("enhance", "CINE", "OUT", "--method", "zero-fill", "--set", "speed=1"), "no parameter 'speed'"),
        pytest.param(("enhance", "CINE", "OUT", "--method", "gridding"), "--kspace FILE", marks=needs_torch),
        (("enhance", "CINE", "OUT", "--no-periodic", "--method", "fourier"), "cycle"),
        (("simulate", "CINE", "OUT", "--acquisition", "x9"), "x9"),
        (("simulate", "CINE", "OUT", "--acquisition", "s2", "--keep-kspace", "k.npz"), "no k-space to keep"),
        (("compare", "CINE", "nowhere.seq.nrrd", "--report", "page"), "nowhere.seq.nrrd"),
    ],
    ids=lambda value: " ".join(value) if isinstance(value, tuple) else "",
)
def test_a_user_error_is_one_sentence_without_traceback_and_leaves_no_file(cine, tmp_path, capsys, arguments, said):
    target = tmp_path / "out.seq.nrrd"
    assert stenhance(*({"CINE": cine, "OUT": target}.get(word, word) for word in arguments)) == cli.USER_ERROR
    printed = capsys.readouterr().err
    assert said in " ".join(printed.split())
    assert "Traceback" not in printed
    assert not target.exists()


@pytest.mark.parametrize(
    "arguments",
    [
        ("simulate", "CINE", "AGAIN", "--acquisition", "s2"),
        ("simulate", "CINE", "OUT", "--acquisition", "r13", "--keep-kspace", "AGAIN"),
        ("simulate", "CINE", "OUT", "--acquisition", "r13", "--keep-kspace", "OUT"),
        ("enhance", "CINE", "AGAIN", "--method", "zero-fill"),
        ("enhance", "OTHER", "AGAIN", "--method", "zero-fill", "--reference", "CINE"),
        ("enhance", "OTHER", "AGAIN", "--method", "zero-fill", "--prior", "CINE"),
        ("enhance", "OTHER", "AGAIN", "--method", "zero-fill", "--kspace", "CINE"),
        ("benchmark", "s2", "--data", "FOLDER", "--json", "AGAIN"),
    ],
    ids=" ".join,
)
def test_a_result_never_replaces_what_it_is_made_of(cine, tmp_path, capsys, monkeypatch, arguments):
    link, before = tmp_path / "elsewhere" / "link.seq.nrrd", cine.read_bytes()
    link.parent.mkdir()
    link.symlink_to(cine)
    paths = {"CINE": cine, "OTHER": tmp_path / "other.nrrd", "OUT": tmp_path / "out.nrrd", "FOLDER": tmp_path}
    monkeypatch.setattr(files, "read", lambda *_arguments, **_named: pytest.fail("read before it was refused"))
    for again in (cine, link):
        named = {**paths, "AGAIN": again}
        assert stenhance(*(named.get(word, word) for word in arguments)) == cli.USER_ERROR
        assert "would replace" in capsys.readouterr().err
    assert cine.read_bytes() == before
    assert not paths["OUT"].exists()


def test_a_foreign_page_is_kept_and_an_earlier_report_replaced(cine, tmp_path, capsys):
    page, result = tmp_path / "page" / "index.html", tmp_path / "smooth.seq.nrrd"
    page.parent.mkdir()
    page.write_text("<html>my homepage</html>")
    enhance = ("enhance", cine, result, "--method", "frequency-split", "--report", page.parent)
    assert stenhance(*enhance) == cli.USER_ERROR
    assert "not written by STEnhance" in " ".join(capsys.readouterr().err.split())
    assert not result.exists(), "refused before anything is computed"
    assert stenhance("compare", cine, cine, "--report", page.parent) == cli.USER_ERROR
    assert page.read_text() == "<html>my homepage</html>"
    page.unlink()
    assert stenhance(*enhance) == 0
    assert stenhance("compare", cine, cine, "--report", page.parent) == 0
    assert "frequency" not in page.read_text(encoding="utf-8").lower().split("<title>")[1].split("</title>")[0]


def test_an_interruption_claims_nothing_about_what_was_written(cine, tmp_path, capsys, monkeypatch):
    def interrupt(*_arguments, **_named):
        raise KeyboardInterrupt

    result = tmp_path / "out.seq.nrrd"
    monkeypatch.setattr(enhance, "write_page", interrupt)
    arguments = ("enhance", cine, result, "--method", "frequency-split", "--report", tmp_path / "page")
    assert stenhance(*arguments) == cli.INTERRUPTED
    assert result.exists()
    assert capsys.readouterr().err.strip() == "stenhance: Interrupted."


def test_wrong_usage_ends_with_2_and_a_good_command_with_0(cine):
    command = [sys.executable, "-m", "STEnhanceLib.cli"]
    assert subprocess.run([*command, "enhance"], capture_output=True, check=False).returncode == 2
    assert subprocess.run([*command, "info", cine], capture_output=True, check=False).returncode == 0


@pytest.mark.parametrize(
    ("fault", "said"),
    [
        (OSError(28, "No space left on device"), "No space left on device."),
        (OSError(13, "Permission denied", "a.nrrd"), "Permission denied: a.nrrd."),
    ],
)
def test_a_fault_of_the_system_is_told_as_it_tells_it(cine, capsys, monkeypatch, fault, said):
    def fail(*_arguments, **_named):
        raise fault

    monkeypatch.setattr(files, "read", fail)
    assert stenhance("info", cine) == cli.USER_ERROR
    assert capsys.readouterr().err.strip() == f"stenhance: {said}"


def test_a_fault_of_ours_is_told_in_one_line_and_traced_only_when_asked(cine, capsys, monkeypatch):
    monkeypatch.setattr(files, "read", lambda *_arguments, **_named: 1 / 0)
    assert stenhance("info", cine) == cli.FAULT
    assert "Traceback" not in capsys.readouterr().err


def test_removed_dicom_phase_is_named(stenhance_data, tmp_path, capsys):
    source = stenhance_data / "dicom" / "preclinical_sax_3_slices"
    assert stenhance("info", source) == 0
    printed = capsys.readouterr().out
    assert "20 frames × 3 slices × 256 × 256 voxels" in printed
    assert "0.8203 × 0.8203 × 5.0000 mm" in printed and "dt 31.6 ms" in printed
    for path in source.iterdir():
        if path.name != "slice10_phase07.dcm":
            (tmp_path / path.name).symlink_to(path)
    assert stenhance("info", tmp_path) == cli.USER_ERROR
    assert "phase 8 of 20" in " ".join(capsys.readouterr().err.split())
