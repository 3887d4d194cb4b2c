"""What cannot be written is refused before anything is computed."""

from __future__ import annotations

import sys
from dataclasses import replace

import numpy as np
import pytest

from STEnhanceLib import cli, files
from STEnhanceLib.acquisition import simulate
from STEnhanceLib.evaluation import benchmark
from STEnhanceLib.methods import all_methods, find_method, run
from STEnhanceLib.methods.declaration import Enhancement
from STEnhanceLib.sequence import ImageSequence


@pytest.fixture
def cine(tmp_path):
    path = tmp_path / "cine.seq.nrrd"
    files.write(ImageSequence(np.ones((3, 1, 8, 8), np.float32), np.eye(4), np.arange(3.0)), path)
    return path


@pytest.fixture
def nothing_is_computed(monkeypatch):
    def computed(*_, **__):
        pytest.fail("it was computed")

    monkeypatch.setattr(run, "enhance_all", computed)
    monkeypatch.setattr(simulate, "simulate", computed)


@pytest.mark.usefixtures("nothing_is_computed")
@pytest.mark.parametrize(
    ("names", "needle"),
    [
        (("out.seq.nrrd", "gone.mrb"), "gone.mrb"),
        (("out.mrb", "gone.mrb"), "gone.mrb"),
        (("out.seq.nrrd", "gone.dcm"), "gone.dcm"),
        (("out.seq.nrrd", "absent/gone.nrrd"), "there is no folder"),
        (("out.png", "gone.nrrd"), "out.png"),
        (("absent/out.seq.nrrd", "gone.nrrd"), "there is no folder"),
        (("absent/out.mrb", "gone.nrrd"), "there is no folder"),
    ],
)
def test_names_and_folders_of_results(cine, tmp_path, capsys, names, needle):
    out, removed = names
    arguments = ["enhance", cine, tmp_path / out, "--method", "zero-fill", "--removed", tmp_path / removed]

    assert cli.main([*map(str, arguments), "--set", "factor=1"]) == 1

    said = capsys.readouterr().err
    assert needle in said and len(said.strip().splitlines()) == 1


@pytest.mark.usefixtures("nothing_is_computed")
@pytest.mark.parametrize("report", ["cine.seq.nrrd", "cine.seq.nrrd/report", "out.seq.nrrd"])
def test_a_report_where_a_file_is_or_will_be(cine, tmp_path, capsys, report):
    arguments = ["enhance", cine, tmp_path / "out.seq.nrrd", "--method", "zero-fill", "--report", tmp_path / report]

    assert cli.main([*map(str, arguments)]) == 1

    said = capsys.readouterr().err
    assert report.split("/")[0] in said and len(said.strip().splitlines()) == 1


@pytest.mark.usefixtures("nothing_is_computed")
@pytest.mark.parametrize("report", ["/proc/report/of/it", "/proc", "link", "link/report"])
def test_a_report_where_no_folder_can_be_made(cine, tmp_path, capsys, report):
    (tmp_path / "link").symlink_to(tmp_path / "nowhere")
    before = sorted(tmp_path.rglob("*"))
    arguments = ["enhance", cine, tmp_path / "out.seq.nrrd", "--method", "zero-fill", "--report", tmp_path / report]

    assert cli.main([*map(str, arguments)]) == 1

    said = capsys.readouterr().err
    assert report.split("/")[-1] in said and "Choose another folder" in said and len(said.strip().splitlines()) == 1
    assert sorted(tmp_path.rglob("*")) == before


@pytest.mark.usefixtures("nothing_is_computed")
@pytest.mark.parametrize("out", ["out.seq.nrrd", "out.mrb"])
def test_a_folder_into_which_nothing_can_be_written(cine, capsys, out):
    assert cli.main(["enhance", str(cine), f"/proc/{out}", "--method", "zero-fill"]) == 1

    said = capsys.readouterr().err
    assert f"/proc/{out}" in said and len(said.strip().splitlines()) == 1


def test_a_trial_leaves_no_folder_behind(cine, tmp_path, capsys):
    """Not even where something else is refused later."""
    arguments = ["enhance", cine, tmp_path / "out.seq.nrrd", "--method", "nonsense", "--report", tmp_path / "a" / "b"]

    assert cli.main([*map(str, arguments)]) == 1

    assert "nonsense" in capsys.readouterr().err and not (tmp_path / "a").exists()


@pytest.mark.usefixtures("nothing_is_computed")
def test_a_report_with_a_reference_on_another_grid(cine, tmp_path, capsys):
    arguments = ["enhance", cine, tmp_path / "out.seq.nrrd", "--method", "zero-fill", "--reference", cine]

    assert cli.main([*map(str, arguments), "--report", str(tmp_path / "report")]) == 1

    said = capsys.readouterr().err
    assert "16×16×1" in said and "the reference 3 frames of 8×8×1" in said and len(said.strip().splitlines()) == 1


@pytest.mark.parametrize("name, beside", [("out.nii", None), ("out.NII.GZ", None), ("out.seq.nrrd", "removed.nii")])
def test_times_of_a_result_that_nifti_cannot_hold(tmp_path, capsys, monkeypatch, name, beside):
    """The method tells them before its first frame."""
    uneven = ImageSequence(np.ones((3, 1, 8, 8), np.float32), np.eye(4), np.array([0.0, 40.0, 90.0]))
    files.write(uneven, tmp_path / "uneven.seq.nrrd")

    def first_frame():
        pytest.fail("it was computed")
        yield

    frames_fail = replace(find_method("b-spline"), enhance=lambda given, _: Enhancement(given.grid, first_frame()))
    monkeypatch.setitem(all_methods(), "b-spline", frames_fail)

    removed = ["--removed", str(tmp_path / beside)] if beside else []
    paths = [str(tmp_path / "uneven.seq.nrrd"), str(tmp_path / name)]
    assert cli.main(["enhance", *paths, "--method", "b-spline", *removed]) == 1

    said = capsys.readouterr().err
    assert f"{beside or name}: its frames are 40 to 50 ms apart" in said and len(said.strip().splitlines()) == 1


@pytest.mark.usefixtures("nothing_is_computed")
@pytest.mark.parametrize("name", ["prior", "kspace"])
def test_what_the_method_would_leave_aside(cine, tmp_path, capsys, name):
    """Else its notes would say that only images were given."""
    arguments = ["enhance", cine, tmp_path / "out.seq.nrrd", "--method", "frequency-split", f"--{name}", cine]

    assert cli.main([*map(str, arguments)]) == 1

    assert f"does not use a {name}; leave --{name} out" in " ".join(capsys.readouterr().err.split())


@pytest.mark.usefixtures("nothing_is_computed")
def test_a_scene_that_cannot_be_made_here(cine, tmp_path, capsys, monkeypatch):
    monkeypatch.setitem(sys.modules, "slicer", None)

    assert cli.main(["enhance", str(cine), str(tmp_path / "out.mrb"), "--method", "zero-fill"]) == 1

    assert "need the package slicer-core" in " ".join(capsys.readouterr().err.split())


@pytest.mark.usefixtures("nothing_is_computed")
@pytest.mark.parametrize("fault", ["raise ImportError('no libGL.so.1')", "import part_of_it"])
def test_a_scene_whose_libraries_are_broken(cine, tmp_path, capsys, monkeypatch, fault):
    (tmp_path / "slicer.py").write_text(fault)
    monkeypatch.delitem(sys.modules, "slicer", raising=False)
    monkeypatch.syspath_prepend(tmp_path)

    assert cli.main(["enhance", str(cine), str(tmp_path / "out.mrb"), "--method", "zero-fill"]) == 1

    said = " ".join(capsys.readouterr().err.split())
    assert "cannot be loaded (no libGL.so.1)" in said or "cannot be loaded (No module named 'part_of_it')" in said


@pytest.mark.usefixtures("nothing_is_computed")
@pytest.mark.parametrize("out", ["out.mrb", "absent/out.seq.nrrd"])
def test_names_and_folders_of_simulations(cine, tmp_path, capsys, out):
    assert cli.main(["simulate", str(cine), str(tmp_path / out), "--acquisition", "s2"]) == 1

    assert len(capsys.readouterr().err.strip().splitlines()) == 1


@pytest.mark.usefixtures("nothing_is_computed")
@pytest.mark.parametrize(
    ("kept", "needle"), [("lines.h5", "expected .npz"), ("absent/lines.npz", "no folder"), (".", "expected .npz")]
)
def test_names_and_folders_of_simulated_k_space(cine, tmp_path, capsys, kept, needle):
    arguments = ["simulate", cine, tmp_path / "out.seq.nrrd", "--acquisition", "c4", "--keep-kspace", tmp_path / kept]

    assert cli.main([*map(str, arguments)]) == 1

    said = capsys.readouterr().err
    assert needle in said and len(said.strip().splitlines()) == 1


@pytest.mark.usefixtures("nothing_is_computed")
@pytest.mark.parametrize("records", ["absent/records.json", "."])
def test_records_of_a_benchmark(cine, tmp_path, capsys, monkeypatch, records):
    monkeypatch.setattr(benchmark, "run", lambda **_: pytest.fail("it was computed"))

    assert cli.main(["benchmark", "s2", "--data", str(tmp_path), "--json", str(tmp_path / records)]) == 1

    assert len(capsys.readouterr().err.strip().splitlines()) == 1


def test_a_demo_into_a_folder_that_cannot_be_made(tmp_path, capsys, monkeypatch):
    pytest.importorskip("slicer")
    from STEnhanceLib.commands import demo_chapters

    monkeypatch.setattr(demo_chapters, "Thorax", lambda *_: pytest.fail("it was computed"))
    (tmp_path / "taken").write_text("a file")

    assert cli.main(["demo", "--out", str(tmp_path / "taken")]) == 1

    said = capsys.readouterr().err
    assert "taken is a file" in said and len(said.strip().splitlines()) == 1
