"""Maps that a method yields beside its frames, in the files that the command line writes."""

from __future__ import annotations

import json
import re

import numpy as np
import pytest
from yielding_maps import METHOD, MOTION, SPREAD, motion_of, moved, spread_of

from STEnhanceLib import cli, files
from STEnhanceLib.evaluation.curves import nice_ceiling
from STEnhanceLib.evaluation.pictures import png_data_uri, sheet, signed_levels
from STEnhanceLib.methods import all_methods


@pytest.fixture
def known(monkeypatch):
    """The command line finds the method."""
    monkeypatch.setitem(all_methods(), METHOD.key, METHOD)


@pytest.fixture
def cine(tmp_path, beating_disc, known):
    """The input of the command line, as a file."""
    path = tmp_path / "cine.seq.nrrd"
    files.write(beating_disc, path)
    return path


def stenhance(cine, output, *more) -> int:
    return cli.main(["enhance", str(cine), str(output), "--method", METHOD.key, *more])


@pytest.mark.parametrize("ending", [".seq.nrrd", ".nrrd", ".nii.gz", ".nii"])
def test_maps_are_files_beside_the_result_that_it_names(cine, beating_disc, capsys, ending):
    assert stenhance(cine, cine.with_name(f"out{ending}")) == 0
    back = files.read(cine.with_name(f"out.spread{ending}"))
    assert np.array_equal(back.frames, [spread_of(frame, n) for n, frame in enumerate(beating_disc.frames)])
    assert np.abs(back.ijk_to_ras - beating_disc.ijk_to_ras).max() < 1e-9
    assert np.array_equal(back.times_ms, beating_disc.times_ms)
    assert back.attributes["STEnhance.MapUnit"] == "intensity of the images"
    assert back.attributes["STEnhance.Method"] == METHOD.key
    others = ["motion"] if "nrrd" in ending else []
    names = [f"out.{key}{ending}" for key in ("spread", "left-out-error", *others)]
    assert files.read(cine.with_name(f"out{ending}")).attributes["STEnhance.MapFiles"] == "; ".join(names)
    assert sorted(path.name for path in cine.parent.iterdir()) == sorted(["cine.seq.nrrd", f"out{ending}", *names])
    printed = capsys.readouterr().out
    assert all(f"Wrote {cine.with_name(name)}" in printed for name in names)
    assert ("'motion' holds displacements, which NIfTI files do not" in printed) == (not others)


def test_slicer_opens_a_file_of_displacements_as_grid_transforms(cine, beating_disc, mrml_scene):
    assert stenhance(cine, cine.with_name("out.seq.nrrd")) == 0
    node = mrml_scene.AddNewNodeByClass("vtkMRMLSequenceNode")
    storage = mrml_scene.AddNewNodeByClass("vtkMRMLTransformSequenceStorageNode")
    storage.SetFileName(str(cine.with_name("out.motion.seq.nrrd")))
    assert storage.ReadData(node)
    assert [float(node.GetNthIndexValue(n)) for n in (0, 7)] == [0, 350]
    assert node.GetIndexUnit() == "ms"
    for n in (1, 7):
        expected = motion_of(beating_disc.frames[n], n)[:, 2, 30, 40]
        assert np.abs(moved(node.GetNthDataNode(n), beating_disc, (40, 30, 2)) - expected).max() < 1e-4


@pytest.mark.parametrize("arguments", [(), ("--report", "page")])
def test_a_scene_file_holds_the_maps(cine, beating_disc, mrml_scene, monkeypatch, arguments):
    from STEnhanceLib.scene import find_sequence, load_scene, read_sequence

    monkeypatch.chdir(cine.parent)
    assert stenhance(cine, cine.with_name("out.mrb"), *arguments) == 0
    assert {path.name for path in cine.parent.iterdir()} == {"cine.seq.nrrd", "out.mrb", *arguments[1:]}
    load_scene(cine.with_name("out.mrb"), mrml_scene)
    spread, motion = (mrml_scene.GetFirstNodeByName(f"beating disc (Maps) ({each.title})") for each in (SPREAD, MOTION))
    frames = [spread_of(frame, n) for n, frame in enumerate(beating_disc.frames)]
    assert np.array_equal(read_sequence(spread).frames, frames)
    browser = find_sequence(spread)[1]
    assert browser is find_sequence(mrml_scene.GetFirstNodeByName("beating disc"))[1]
    assert browser.GetProxyNode(spread).GetDisplayNode().GetColorNode().GetName() == "Iron"
    expected = motion_of(beating_disc.frames[5], 5)[:, 1, 30, 40]
    assert np.abs(moved(motion.GetNthDataNode(5), beating_disc, (40, 30, 1)) - expected).max() < 1e-4


def test_a_map_never_replaces_what_the_result_is_made_of(tmp_path, beating_disc, known, capsys):
    cine = tmp_path / "out.spread.seq.nrrd"
    files.write(beating_disc, cine)
    before = cine.read_bytes()
    assert stenhance(cine, tmp_path / "out.seq.nrrd") == 1
    assert "out.spread.seq.nrrd would replace" in capsys.readouterr().err
    assert list(tmp_path.iterdir()) == [cine]
    assert cine.read_bytes() == before


def test_when_one_file_cannot_be_written_all_stay_as_they_were(cine, capsys):
    assert stenhance(cine, cine.with_name("out.seq.nrrd")) == 0
    names = [cine.with_name(f"out{part}.seq.nrrd") for part in ("", ".spread", ".left-out-error")]
    before = [path.read_bytes() for path in names]
    blocked = cine.with_name("out.motion.seq.nrrd")
    blocked.unlink()
    blocked.mkdir()  # a folder stands where the last file would go
    assert stenhance(cine, names[0], "--periodic") == 1
    assert f"Cannot write {blocked}: it is a folder" in " ".join(capsys.readouterr().err.split())
    assert [path.read_bytes() for path in names] == before
    assert sorted(cine.parent.iterdir()) == sorted([cine, blocked, *names])


def test_a_page_shows_every_map_of_values_on_a_scale_of_its_own(cine, beating_disc):
    assert stenhance(cine, cine.with_name("out.nii"), "--report", str(cine.with_name("page"))) == 0
    page = cine.with_name("page").joinpath("index.html").read_text(encoding="utf-8")
    assert "Spread of the samples <small>intensity of the images, on one scale</small>" in page
    assert "Error where left out <small>%, on one scale</small>" in page
    assert "Motion since the first frame" not in page  # no picture shows displacements
    data = json.loads(re.search(r'id="comparisons">(.*?)</script>', page, re.S)[1])[0]
    assert len(data["panes"]) == 5  # before, result, their difference, and the two maps
    k = data["slice"]
    shown = re.findall(rf'data-pane="(\d)".*?data-slice="{k}" src="(.*?)"', page)
    spread = np.stack([spread_of(frame, n) for n, frame in enumerate(beating_disc.frames)])
    for pane, values, end in (
        ("3", spread, nice_ceiling(np.percentile(spread, 99.5))),
        ("4", np.broadcast_to(np.arange(8.0)[:, None, None, None], spread.shape), nice_ceiling(7)),
    ):
        assert dict(shown)[pane] == png_data_uri(sheet(signed_levels(values[:, k], end)))
        assert f"<span>0 </span><span>{end:g}</span>" in page
