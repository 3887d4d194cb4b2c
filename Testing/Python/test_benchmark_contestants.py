"""Rows with settings: ablations by command."""

from __future__ import annotations

from dataclasses import replace

import numpy as np
import pytest
from competing import COUNTED

from STEnhanceLib import files
from STEnhanceLib.errors import STEnhanceError
from STEnhanceLib.evaluation import benchmark
from STEnhanceLib.evaluation.contestants import contestants, split_words
from STEnhanceLib.evaluation.protocols import find_protocol
from STEnhanceLib.evaluation.residual import kspace_residual
from STEnhanceLib.methods import Task, all_methods, find_method
from STEnhanceLib.methods.declaration import Need
from STEnhanceLib.phantoms.thorax import Thorax


def by_method(records):
    return {record.method: record for record in records}


def labels(*words):
    return [contestant.label for contestant in contestants(Task.SUPER_RESOLUTION, words)]


def test_commas_within_brackets_do_not_part_methods():
    assert split_words("a,b[x=1,2;y=3],c") == ["a", "b[x=1,2;y=3]", "c"]


def test_every_setting_is_a_row_beside_the_baselines_which_come_first(counted):
    bright, dark = "test-counted[brightness=2]", "test-counted[ brightness = 0.5 ; prior = none ]"
    assert labels(bright, "test-counted", dark, bright) == [
        "zero-fill",
        "b-spline",
        bright,
        "test-counted",
        "test-counted[brightness=0.5;prior=none]",
    ]
    assert "test-counted" in labels("all")


def test_settings_reach_the_method_and_a_prior_can_be_withheld(counted, disc_folder):
    """With its prior the method returns it, without it zero-fills, so that only its brightness is off."""
    rows = [COUNTED.key, f"{COUNTED.key}[prior=none;brightness=1.5]"]
    records = by_method(benchmark.run(["k10"], disc_folder, methods=rows))
    assert records["zero-fill"].kspace_residual <= 1e-6
    disc = files.read(disc_folder / "disc.seq.nrrd")
    still = replace(disc, frames=np.repeat(disc.frames[:1], 8, axis=0))
    by_hand = kspace_residual(still, find_protocol("k10").trial(disc).degraded)
    assert records[rows[0]].kspace_residual == pytest.approx(by_hand, rel=1e-4)
    assert records[rows[1]].kspace_residual == pytest.approx(0.5, rel=1e-3)


def test_a_network_for_slices_gets_both_factors_and_others_say_what_they_lack(counted, tmp_path, beating_disc):
    thick = replace(beating_disc, frames=np.repeat(beating_disc.frames, 3, axis=1))
    assert find_protocol("z4").trial(thick).settings == {"factor": 1.0, "slice_factor": 4.0}
    files.write(thick, tmp_path / "disc.seq.nrrd")
    records = by_method(benchmark.run(["z4"], tmp_path, methods=[COUNTED.key]))
    assert (records[COUNTED.key].error, records[COUNTED.key].slices) == ("", 9)
    assert records["zero-fill"].error == (
        "zero-fill cannot undo z4: it has no parameter slice_factor, which the protocol sets to 4.0."
    )
    assert np.isfinite(records[benchmark.CUBIC_ALONG_SLICES].psnr)


def test_what_the_slice_profile_alone_gives_stands_beside_the_networks(tmp_path):
    files.write(Thorax(0).cine(frames=2, matrix=64, slices=13), tmp_path / "thorax.seq.nrrd")
    records = by_method(benchmark.run(["z4"], tmp_path))
    assert records[benchmark.CUBIC_HELD].psnr > records[benchmark.CUBIC_ALONG_SLICES].psnr + 0.1


def test_what_the_protocol_sets_cannot_be_set_again(disc_folder):
    records = by_method(benchmark.run(["s4"], disc_folder, methods=["zero-fill[factor=2]"]))
    assert records["zero-fill[factor=2]"].error == "s4 sets factor itself; leave it out of zero-fill[factor=2]."
    assert np.isfinite(records["zero-fill"].psnr)


@pytest.mark.parametrize(
    ("word", "message"),
    [
        ("zero-fill[", r"'zero-fill\[' was given; expected KEY or KEY\[NAME=VALUE;NAME=VALUE\]"),
        ("zero-fill[]", r"'' was given within zero-fill\[\]; expected NAME=VALUE"),
        ("zero-fill[factor]", "'factor' was given within .*; expected NAME=VALUE"),
        ("zero-fill[magic=1]", "zero-fill has no parameter 'magic'; it has: factor"),
        ("zero-fill[factor=99]", "factor='99' was given; expected a number from 1.0 to 8.0"),
        ("magic[factor=2]", "There is no method 'magic'"),
        ("zero-fill[prior=none]", "zero-fill takes no prior that could be withheld"),
        ("test-counted[prior=file.nrrd]", "expected prior=none"),
    ],
)
def test_a_setting_that_cannot_be_is_told_before_anything_runs(counted, word, message):
    with pytest.raises(STEnhanceError, match=message):
        contestants(Task.SUPER_RESOLUTION, [word])


def test_a_method_that_needs_its_prior_keeps_it(counted, monkeypatch):
    needing = replace(find_method(COUNTED.key), needs=(Need.PRIOR,), uses=())
    monkeypatch.setitem(all_methods(), COUNTED.key, needing)
    with pytest.raises(STEnhanceError, match="test-counted cannot work without a prior"):
        contestants(Task.SUPER_RESOLUTION, ["test-counted[prior=none]"])
