"""Networks of one architecture are trained for several jobs; a model of one's own is taken for what it has learnt."""

from __future__ import annotations

import os

import pytest
from learned import DESCRIPTION
from untrained import UNTRAINED, random_network, sequence_of, smooth

from STEnhanceLib import models
from STEnhanceLib.acquisition.simulate import simulate
from STEnhanceLib.errors import STEnhanceError
from STEnhanceLib.methods import find_method, parse_parameters
from STEnhanceLib.methods.run import enhance

pytest.importorskip("torch")
pytest.importorskip("safetensors")
pytestmark = pytest.mark.usefixtures("one_thread")

STACK = sequence_of(smooth(4, 3, 24, 24), periodic=True)
JOBS = [("c4", {}, "xt-yt-cartesian"), ("r13", {}, "xt-yt-radial"), ("", {"factor": 2}, "stenhance-sr"),
        ("", {"factor": 1, "slice_factor": 2}, "stenhance-sr-through-plane")]  # fmt: skip
OTHER = {"xt-yt-cartesian": "xt-yt-radial", "stenhance-sr": "stenhance-sr-through-plane"}
OTHER |= {theirs: ours for ours, theirs in OTHER.items()}


@pytest.fixture
def notes_with_a_model_made_by(untrained, tmp_path, monkeypatch):
    """What a method says of a user's model that this recipe made; nothing is computed."""

    def notes(recipe: str, job: tuple[str, dict, str]) -> tuple[str, ...]:
        acquisition, settings, usual = job
        method = find_method("xt-yt" if acquisition else "stenhance-sr")
        described = {
            "task": method.task.value,
            "intended_use": "Research: of this recipe.",
            "training": {**DESCRIPTION["training"], "recipe": recipe, "steps": 7},
        }
        kind, configuration = UNTRAINED[usual]
        models.save(tmp_path / "mine", random_network(usual), "mine", kind, configuration, DESCRIPTION | described)
        monkeypatch.setenv(models.VARIABLE, f"{tmp_path}{os.pathsep}{untrained}")
        kspace = simulate(STACK, acquisition).kspace if acquisition else None
        started = enhance(method, STACK, parse_parameters(method, {**settings, "model": "mine"}), kspace=kspace)
        assert started.models == ("mine",)
        return tuple(note for note in started.notes if "recipe" in note)

    return notes


@pytest.fixture(params=JOBS, ids=lambda job: job[-1])
def job(request):
    if request.param[0] == "r13":
        pytest.importorskip("torchkbnufft")
    return request.param


def test_what_was_trained_for_another_job_is_refused_whatever_its_name(notes_with_a_model_made_by, job):
    usual = job[-1]
    expected = rf"mine was trained for something else \(Research: of this recipe\); .* `stenhance train {usual}` made\."
    with pytest.raises(STEnhanceError, match=expected):
        notes_with_a_model_made_by(f"stenhance train {OTHER[usual]}", job)


def test_what_a_user_trained_by_the_same_recipe_is_taken_as_it_is(notes_with_a_model_made_by, job):
    assert notes_with_a_model_made_by(f"stenhance train {job[-1]}", job) == ()


def test_of_any_other_recipe_a_note_tells_what_it_is_for(notes_with_a_model_made_by, job):
    (note,) = notes_with_a_model_made_by("a recipe of mine", job)
    assert f"(a recipe of mine) than {job[-1]}, for this use: Research: of this recipe; whether" in note
