"""Measurements that cannot be right, as the command line meets them: one sentence, exit code 1, nothing written."""

from __future__ import annotations

import re

import numpy as np
import pytest

from STEnhanceLib import cli, files
from STEnhanceLib.acquisition.simulate import simulate

pytest.importorskip("torch")
pytest.importorskip("torchkbnufft")
pytestmark = pytest.mark.usefixtures("one_thread")


@pytest.fixture
def measured(beating_disc, tmp_path):
    """Makes the images and the k-space file of an acquisition, with some arrays of the file changed."""

    def make(acquisition: str, change):
        simulation = simulate(beating_disc, acquisition)
        images, kspace = tmp_path / "in.seq.nrrd", tmp_path / "in.npz"
        files.write(simulation.sequence, images)
        simulation.kspace.save(kspace)
        with np.load(kspace) as file:
            arrays = dict(file)
        np.savez(kspace, **arrays | change(arrays))
        return images, kspace

    return make


def with_nan(arrays):
    samples = arrays["samples"].copy()
    samples.reshape(-1)[5] = np.nan
    return {"samples": samples}


def without_the_spokes_of_a_frame(arrays):
    samples = arrays["samples"].copy()
    samples[3] = 0
    return {"samples": samples}


def without_the_centre(arrays):
    mask = np.roll(arrays["mask"], 15, axis=1)
    mask[0, 20] = False
    return {"mask": mask, "samples": arrays["samples"][: mask.sum()]}


BAD = {
    "fewer spokes in the trajectory": ("r13", lambda a: {"trajectory": a["trajectory"][:, 1:]}, r"\(8, 12, 96, 2\)"),
    "trajectory of fewer frames": ("r13", lambda a: {"trajectory": a["trajectory"][1:]}, r"\(7, 13, 96, 2\)"),
    "NaN on spokes": ("r13", with_nan, "NaN"),
    "NaN on lines": ("c4", with_nan, "NaN"),
    "a frame of zeros": ("r13", without_the_spokes_of_a_frame, "In frame 4 of 8 all"),
    "no spokes": ("r13", lambda a: {"samples": a["samples"][..., :0, :]}, "at least one spoke"),
    "fewer coils than coil maps": ("r13", lambda a: {"samples": a["samples"][:, :, :5]}, "with 8 coils"),
    "fewer coil maps than coils": ("c4", lambda a: {"coil_sensitivities": a["coil_sensitivities"][:, :5]}, "5 coils"),
    "mask without the centre": ("c4", without_the_centre, "centre of k-space"),
    "more lines than the mask": (
        "c4",
        lambda a: {"mask": np.roll(a["mask"], 1, 1) & a["mask"]},
        r"\(128, 3, 8, 48\), and the mask .* measures 60 lines",
    ),
    "a mask of 16 lines": ("c4", lambda a: {"mask": a["mask"][:, :16]}, "measures 32 lines; expected"),
    "images of another matrix": ("c4", lambda a: {"shape": np.array([3, 40, 40])}, "expected"),
}


@pytest.mark.parametrize("beside", [True, False], ids=["beside images", "as input"])
@pytest.mark.parametrize("name", BAD)
def test_each_gives_one_sentence_and_writes_nothing(measured, tmp_path, capsys, name, beside):
    acquisition, change, needle = BAD[name]
    images, kspace = measured(acquisition, change)
    result = tmp_path / "out.seq.nrrd"
    given = [images, result, "--kspace", kspace] if beside else [kspace, result]

    code = cli.main(["enhance", *map(str, given), "--method", "temporal-tv"])

    said = capsys.readouterr().err.strip()
    assert code == 1 and re.search(needle, said), said
    assert len(said.splitlines()) == 1 and "Traceback" not in said
    assert not result.exists()


@pytest.mark.parametrize("form", ["working", "published"])
def test_the_k_space_cnn_refuses_spokes_at_once(measured, tmp_path, capsys, form):
    images, kspace = measured("r13", lambda arrays: {})
    arguments = ["--method", "k-space-cnn", "--set", f"form={form}", "--kspace", kspace]

    code = cli.main(["enhance", *map(str, [images, tmp_path / "out.seq.nrrd", *arguments])])

    said = capsys.readouterr().err.strip()
    assert code == 1 and "radial; expected Cartesian lines" in said and len(said.splitlines()) == 1
