"""Methods that compute with models: in this process, by the command line and in the worker."""

from __future__ import annotations

import hashlib
from pathlib import Path

import pytest
from learned import LEARNED, NAME, Choice, save_tiny
from test_models import flip_a_byte, weight_file

from STEnhanceLib import models
from STEnhanceLib.errors import STEnhanceError
from STEnhanceLib.jobs import Failed, Planned, Worker
from STEnhanceLib.methods import all_methods
from STEnhanceLib.methods.run import announcement, enhance, enhance_all

pytest.importorskip("torch")
pytest.importorskip("safetensors")
pytestmark = pytest.mark.usefixtures("one_thread")


def test_a_prior_that_is_optional_is_passed_when_given(bundle, beating_disc):
    parameters = Choice()
    assert enhance(LEARNED, beating_disc, parameters).notes == ("without a prior",)
    prior = beating_disc.with_frames([0])
    assert enhance(LEARNED, beating_disc, parameters, prior=prior).notes == ("prior of 1 frame",)
    assert announcement(LEARNED, beating_disc.grid, parameters).grid.shape == beating_disc.grid.shape


def test_a_plan_with_a_model_that_is_not_there_is_refused(bundle, beating_disc):
    with pytest.raises(STEnhanceError, match="no model 'nowhere'"):
        announcement(LEARNED, beating_disc.grid, Choice("nowhere"))


def test_a_result_says_which_model_made_it(bundle, beating_disc):
    save_tiny(bundle.with_name("mine"), version="7")
    for choice, start in ((Choice(), f"{NAME} 1.2 sha256:"), (Choice("mine"), "mine 7 sha256:")):
        result = enhance_all(LEARNED, beating_disc, choice)
        digest = hashlib.sha256(weight_file(bundle).read_bytes()).hexdigest()
        assert result.attributes["STEnhance.Model"] == start + digest
    assert (
        "STEnhance.Model"
        not in enhance_all(all_methods()["linear"], beating_disc, all_methods()["linear"].parameters()).attributes
    )


def test_the_command_shows_what_is_optional_and_the_cards(bundle, learned_method, capsys):
    from STEnhanceLib import cli

    save_tiny(bundle.with_name("mine"), title="My own EDSR")
    broken = bundle.with_name("broken")
    save_tiny(broken)
    (broken / "configs" / "metadata.json").write_text("{")
    assert cli.main(["methods"]) == 0
    assert "prior (optional), torch" in " ".join(capsys.readouterr().out.split())
    assert cli.main(["methods", LEARNED.key]) == 0
    shown = capsys.readouterr().out
    for words in (
        "--set",
        "A tiny EDSR",
        "1.2",
        "no data at all",
        "Nothing was measured yet",
        "never trained",
        "Nobody",
    ):
        assert words in shown
    assert "My own EDSR" in shown
    (bundle / "configs" / "metadata.json").write_text("{")
    assert cli.main(["methods", LEARNED.key]) == 0
    assert "is not valid JSON" in " ".join(capsys.readouterr().out.split())


def test_the_command_passes_an_optional_prior_and_says_what_is_broken(
    bundle, learned_method, beating_disc, tmp_path, capsys
):
    from STEnhanceLib import cli, files

    cine, result = tmp_path / "cine.seq.nrrd", tmp_path / "result.seq.nrrd"
    files.write(beating_disc, cine)
    files.write(beating_disc.with_frames([0]), tmp_path / "prior.nrrd")
    arguments = ["enhance", str(cine), str(result), "--method", LEARNED.key]
    assert cli.main(arguments) == 0
    assert "without a prior" in files.read(result).attributes["STEnhance.Assumed"]
    assert cli.main([*arguments, "--prior", str(tmp_path / "prior.nrrd")]) == 0
    assert "prior of 1 frame" in files.read(result).attributes["STEnhance.Assumed"]
    assert f"{NAME} 1.2" in files.read(result).attributes["STEnhance.Model"]
    result.unlink()
    flip_a_byte(bundle)
    assert cli.main(arguments) == cli.USER_ERROR
    assert "damaged or altered" in " ".join(capsys.readouterr().err.split())
    assert not result.exists()


def test_a_worker_finds_the_models_of_the_user_and_says_what_is_broken(bundle, beating_disc):
    with Worker(script=(str(Path(__file__).with_name("worker_of_test_jobs.py")),)) as worker:
        events = list(worker.submit(LEARNED.key, {}, beating_disc, prior=beating_disc.with_frames([0])))
        assert events[0].notes == ("prior of 1 frame",)
        assert events[0].attributes["STEnhance.Model"] == models.find_model(NAME).identity()
        flip_a_byte(bundle)
        events = list(worker.submit(LEARNED.key, {}, beating_disc))
    assert not any(isinstance(event, Planned) for event in events), "the scene is never touched"
    assert isinstance(events[-1], Failed) and "damaged or altered" in events[-1].message
