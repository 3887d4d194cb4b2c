"""The k-space CNN: its two forms, the task it was made for, and how it practises."""

from __future__ import annotations

import dataclasses
import logging
import re
import sys

import numpy as np
import pytest
from learned import DESCRIPTION
from untrained import random_network

from STEnhanceLib import files, models, networks
from STEnhanceLib.acquisition.simulate import simulate
from STEnhanceLib.errors import STEnhanceError
from STEnhanceLib.methods import find_method, parse_parameters, run
from STEnhanceLib.phantoms.thorax import Thorax
from STEnhanceLib.sequence import Grid, ImageSequence

torch = pytest.importorskip("torch", reason="torch is not installed: no networks")
pytest.importorskip("safetensors", reason="safetensors is not installed: no models")

from STEnhanceLib.acquisition.cartesian import CartesianOperator, random_mask  # noqa: E402
from STEnhanceLib.acquisition.coils import birdcage_sensitivities, smooth_phase  # noqa: E402
from STEnhanceLib.acquisition.noise import complex_noise  # noqa: E402
from STEnhanceLib.networks.kspace_cnn import neighbours, noise_level  # noqa: E402
from STEnhanceLib.training import brains, stock  # noqa: E402
from STEnhanceLib.training.exercises import undersampled_slices  # noqa: E402
from STEnhanceLib.training.recipe import find_recipe  # noqa: E402

pytestmark = pytest.mark.usefixtures("one_thread")

METHOD = find_method("k-space-cnn")
FORMS = {"working": "k-space-cnn", "published": "k-space-cnn-published"}


def images(frames: int, rows: int, columns: int) -> torch.Tensor:
    """A beating disc in a body, with smooth phase."""
    j, i = np.mgrid[:rows, :columns]
    j, i = (j - rows / 2) / rows, (i - columns / 2) / columns
    body = 0.4 / (1 + np.exp((np.hypot(j, i) - 0.38) * 50))
    radii = 0.14 + 0.04 * np.cos(2 * np.pi * np.arange(frames) / max(frames, 4))
    discs = 0.6 / (1 + np.exp((np.hypot(j + 0.05, i - 0.1) - radii[:, None, None]) * 50))
    phase = smooth_phase(Grid((1, rows, columns), np.eye(4), np.zeros(1)), 0)
    return torch.from_numpy(((body + discs) * phase).astype(np.complex64))


def operator_for(frames: int, rows: int, columns: int, coils: int) -> CartesianOperator:
    mask = random_mask(frames, rows, 4, 0.08, np.random.default_rng(0))
    maps = np.ones((1, rows, columns), np.complex64)
    if coils > 1:
        maps = birdcage_sensitivities(Grid((1, rows, columns), np.eye(4), np.zeros(1)), coils)[0]
    return CartesianOperator(torch.from_numpy(mask), torch.from_numpy(maps))


def computed(form: str, operator: CartesianOperator, samples: torch.Tensor, *, periodic: bool = True) -> torch.Tensor:
    with torch.inference_mode():
        return random_network(FORMS[form])(operator, samples, neighbours(len(samples), periodic))


def off(operator: CartesianOperator, result: torch.Tensor, samples: torch.Tensor) -> float:
    return float((operator.forward(result) - samples).norm() / samples.norm())


# The networks


@pytest.mark.parametrize("shape", [(1, 48, 48), (5, 48, 40), (1, 47, 51), (4, 45, 38)])
def test_one_coil_keeps_the_measured_samples_exactly_in_stills_and_cines_of_any_matrix(shape):
    operator = operator_for(*shape, coils=1)
    samples = operator.forward(images(*shape))
    result = computed("working", operator, samples)
    assert result.shape == shape
    assert off(operator, result, samples) < 1e-6
    assert (result - operator.adjoint(samples)).norm() > 1e-3 * result.norm()  # and adds to them


@pytest.mark.parametrize("shape", [(1, 64, 64), (3, 63, 57)])
def test_several_coils_meet_samples_without_noise(shape):
    operator = operator_for(*shape, coils=8)
    samples = operator.forward(images(*shape))
    assert off(operator, computed("working", operator, samples), samples) < 1e-3


def test_several_coils_meet_noisy_samples_up_to_their_noise_and_not_below():
    operator = operator_for(3, 64, 64, coils=8)
    clean = operator.forward(images(3, 64, 64))
    noise = torch.from_numpy(complex_noise(tuple(clean.shape), 0.01, np.random.default_rng(1)))
    noise = noise * operator.mask[:, None, :, None]
    samples = clean + noise
    assert noise_level(samples, operator.mask).numpy() == pytest.approx(0.01, rel=0.15)
    share = float(noise.norm() / samples.norm())
    assert 0.8 * share < off(operator, computed("working", operator, samples), samples) < 1.3 * share


def test_noise_of_lines_without_ends_is_taken_as_usual_and_not_as_none():
    operator = operator_for(2, 32, 32, coils=4)
    samples = operator.forward(images(2, 32, 32))
    assert (noise_level(samples, operator.mask) < 2e-3).all()
    samples[..., :3], samples[..., -3:] = 0, 0
    assert noise_level(samples, operator.mask).tolist() == pytest.approx([0.01, 0.01])
    narrow = operator_for(1, 8, 5, coils=4)
    assert torch.isfinite(noise_level(narrow.forward(images(1, 8, 5)), narrow.mask)).all()


def test_the_published_form_changes_what_was_measured():
    operator = operator_for(2, 45, 38, coils=1)
    samples = operator.forward(images(2, 45, 38))
    result = computed("published", operator, samples)
    assert result.shape == (2, 45, 38)
    assert off(operator, result, samples) > 1e-3


def test_frames_are_surrounded_by_their_neighbours_and_by_themselves_at_the_ends():
    assert neighbours(4, True).tolist() == [[3, 1], [0, 2], [1, 3], [2, 0]]
    assert neighbours(4, False).tolist() == [[0, 1], [0, 2], [1, 3], [2, 3]]
    assert neighbours(1, False).tolist() == neighbours(1, True).tolist() == [[0, 0]]


@pytest.mark.parametrize(("form", "periodic", "moved"), [
    ("working", True, {0, 1, 2, 3, 6, 7, 8, 9}),
    ("working", False, {0, 1, 2, 3, 4}),
    ("published", True, {0}),
])  # fmt: skip
def test_neighbours_matter_to_the_working_form_alone_and_only_where_time_closes_across_the_end(form, periodic, moved):
    """Two cascades look twice each one frame further."""
    operator = operator_for(10, 32, 32, coils=1)
    samples = operator.forward(images(10, 32, 32))
    other = samples.clone()
    other[0] *= 1.5
    change = computed(form, operator, samples, periodic=periodic) - computed(form, operator, other, periodic=periodic)
    found = set(torch.nonzero(change.abs().amax((1, 2)) > 1e-7).flatten().tolist())
    assert found <= moved | {4, 6} if form == "working" else found == moved
    assert {0, 1} <= found or form == "published"
    assert (9 in found) == (form == "working" and periodic)


# The method


@pytest.fixture(scope="module")
def measured():
    """Three frames of two slices, as `h4` measures them."""
    frames = images(3, 47, 50).abs().numpy()[:, None] * np.float32([[[[900.0]], [[500.0]]]])
    matrix = np.array([[0, 1.5, 0, 3], [1.25, 0, 0, -7], [0, 0, -8, 11], [0, 0, 0, 1.0]])
    return simulate(ImageSequence(frames, matrix, 40.0 * np.arange(3), name="disc"), "h4")


@pytest.mark.parametrize("form", FORMS)
def test_a_result_says_where_it_lies_and_what_made_it(form, measured, untrained):
    result = run.enhance_all(
        METHOD, measured.sequence, parse_parameters(METHOD, {"form": form}), kspace=measured.kspace
    )
    np.testing.assert_array_equal(result.ijk_to_ras, measured.sequence.ijk_to_ras)
    np.testing.assert_array_equal(result.times_ms, measured.sequence.times_ms)
    assert result.frames.mean() == pytest.approx(measured.sequence.frames.mean(), rel=0.3)
    assert result.attributes["STEnhance.Model"].startswith(f"{FORMS[form]} 1.2 sha256:")
    notes = " ".join(result.notes)
    assert ("were put back after every step" in notes) == (form == "working")
    residual = float(re.search(r"differs from the measured samples by (\S+) of them", notes)[1])
    assert residual < 1e-5 if form == "working" else residual > 1e-3


def test_the_result_does_not_depend_on_the_intensity_scale(measured, untrained):
    brighter = dataclasses.replace(measured.kspace, samples=measured.kspace.samples * np.float32(1000))
    once, thousand = (
        run.enhance_all(METHOD, measured.sequence, METHOD.parameters(), kspace=kspace).frames
        for kspace in (measured.kspace, brighter)
    )
    np.testing.assert_allclose(thousand, 1000 * once, rtol=1e-3, atol=1e-2 * once.max())


def test_radial_k_space_is_refused_in_one_sentence(measured, untrained):
    pytest.importorskip("torchkbnufft", reason="torchkbnufft is not installed: no radial k-space")
    radial = simulate(measured.sequence, "r13")
    with pytest.raises(STEnhanceError, match=r"^The k-space is radial; expected Cartesian lines [^.]*\.$"):
        run.enhance(METHOD, radial.sequence, METHOD.parameters(), kspace=radial.kspace)


def test_a_model_of_your_own_is_taken_if_it_is_of_the_form_and_task(measured, untrained, tmp_path, monkeypatch):
    network, configuration = random_network("k-space-cnn"), {"cascades": 2, "features": 8, "blocks": 1}
    for name, task in (("mine", "artefact reduction"), ("finer", "super-resolution")):
        models.save(tmp_path / name, network, name, "k-space-cnn", configuration, {**DESCRIPTION, "task": task})
    monkeypatch.setenv(models.VARIABLE, str(tmp_path))

    def started(**settings):
        return run.enhance(METHOD, measured.sequence, parse_parameters(METHOD, settings), kspace=measured.kspace)

    assert started(model="mine").models == ("mine",)
    with pytest.raises(STEnhanceError, match="for super-resolution; expected one for artefact reduction"):
        started(model="finer")
    with pytest.raises(STEnhanceError, match="expected 'k-space-cnn-published'"):
        started(model="mine", form="published")


# Its task


@pytest.mark.parametrize("frames", [1, 8])
def test_what_ships_beats_zero_filling_by_two_decibels_on_a_still_and_a_cine(frames, stenhance_data):
    cine = files.read(stenhance_data / "cine" / "scd0000301_sax.nii.gz").with_frames(range(frames))
    good = dataclasses.replace(cine, frames=cine.frames[:, 5:6])
    spoilt = simulate(good, "h4")
    result = run.enhance_all(METHOD, spoilt.sequence, METHOD.parameters(), kspace=spoilt.kspace)

    def error(images: ImageSequence) -> float:
        return float(np.mean((images.frames - good.frames) ** 2))

    assert error(result) < error(spoilt.sequence) / 10**0.2


def test_h4_keeps_the_centre_and_a_quarter_of_the_lines_drawn_anew_for_every_frame(measured):
    good = ImageSequence(images(6, 100, 32).abs().numpy()[:, None] * 100, np.eye(4), np.arange(6))
    mask = simulate(good, "h4").kspace.mask
    assert (mask.sum(1) == 25).all()
    assert mask[:, 46:54].all()  # 8 lines around line 50
    assert len({lines.tobytes() for lines in mask}) == 6
    high = mask.sum(0)[[*range(46), *range(54, 100)]]
    assert (high < 6).all() and np.count_nonzero(high) > 50  # no line beyond the centre in all frames
    np.testing.assert_array_equal(mask, simulate(good, "h4").kspace.mask)
    assert (mask != simulate(good, "h4", seed=1).kspace.mask).any()
    assert measured.kspace.coils == 1
    np.testing.assert_array_equal(measured.kspace.coil_sensitivities, 1)


def test_h4_is_noise_of_one_percent_on_a_smooth_phase(measured):
    reference = images(3, 47, 50).abs().numpy() * 900
    assert measured.kspace.noise_std == pytest.approx(0.01 * np.percentile(reference, 99.9), rel=0.1)
    centre = measured.kspace.samples[0, 0, 0]
    symmetric = np.conj(centre[::-1, ::-1])  # of odd rows; a real image has such samples
    assert np.abs(centre[23, 1:] - symmetric[23, :-1]).max() > 0.1 * np.abs(centre[23]).max()


@pytest.mark.parametrize(("rows", "acceleration", "centre"), [(33, 3, 0.05), (64, 6, 0.12), (15, 6, 0.5)])
def test_random_masks_have_the_centre_and_the_number_of_lines_that_was_asked_for(rows, acceleration, centre):
    mask = random_mask(5, rows, acceleration, centre, np.random.default_rng(0))
    assert mask.shape == (5, rows)
    assert mask[:, rows // 2].all()
    assert (mask.sum(1) == max(round(rows / acceleration), round(centre * rows))).all()


# Practice


@pytest.fixture(scope="module")
def painted():
    cines = [stock._scaled(Thorax(seed).cine(frames=6, matrix=96, slices=2).frames) for seed in (1, 2)]
    return stock.Stock([], cines, [cines[0][0, 1]], None, ("phantom",), {"a brain": [cines[1][0, 0]]})


@pytest.mark.parametrize(("name", "small"), [
    ("k-space-cnn", {"cascades": 1, "features": 12, "blocks": 1}),
    ("k-space-cnn-published", {"features": 12, "blocks": 1}),
])  # fmt: skip
def test_a_few_steps_of_practice_make_fewer_mistakes_than_zero_filling(name, small, painted, monkeypatch):
    monkeypatch.setattr(undersampled_slices, "SIDES", (32, 40))
    monkeypatch.setattr(undersampled_slices, "SEVERAL_COILS", 0.0)  # which take much longer
    recipe = find_recipe(name)
    exercise = recipe.exercise(painted, torch.device("cpu"))
    torch.manual_seed(0)
    network = networks.build(recipe.network, small)
    optimizer = torch.optim.Adam(network.parameters(), 1e-2)
    batches = [exercise.batch(np.random.default_rng((9, n))) for n in range(2)]

    def mistakes(candidate) -> torch.Tensor:
        return sum(exercise.loss(candidate, batch, 1.0, np.random.default_rng(0)) for batch in batches)

    for _ in range(12):
        optimizer.zero_grad()
        mistakes(network).backward()
        optimizer.step()
    with torch.inference_mode():
        assert mistakes(network) < 0.96 * mistakes(lambda operator, samples, around: operator.adjoint(samples))


def test_batches_are_stills_and_cines_of_one_coil_mostly_and_the_published_ones_stills_of_one(painted, monkeypatch):
    monkeypatch.setattr(undersampled_slices, "SIDES", (40, 48))
    working = undersampled_slices.UndersampledSlices(painted, torch.device("cpu"))
    published = undersampled_slices.UndersampledSlices(painted, torch.device("cpu"), published=True)
    coils, moving = [], 0
    for seed in range(40):
        scan = working.batch(np.random.default_rng(seed))
        coils.append(scan.samples.shape[1])
        moving += bool((scan.around[:, 1] != torch.arange(len(scan.around))).any())
        assert scan.operator.mask.float().mean() < 0.45
        assert not scan.samples[~scan.operator.mask[:, None].expand(scan.samples.shape[:3])].any()
        scan = published.batch(np.random.default_rng(seed))
        assert scan.samples.shape[1] == 1
        assert (scan.around == torch.arange(len(scan.around))[:, None]).all()
    assert 20 < coils.count(1) < 40 and max(coils) <= 8 and min(set(coils) - {1}) >= 4
    assert 10 < moving < 38


def test_a_brain_that_is_absent_is_left_out_with_a_word_and_the_card_tells_of_those_that_are_there(
    tmp_path, monkeypatch, caplog, painted
):
    nibabel = pytest.importorskip("nibabel", reason="nibabel is not installed: no brain can be read")
    monkeypatch.setitem(sys.modules, "nilearn.datasets", None)
    monkeypatch.setattr(brains, "TEMPLATES", tmp_path)
    with caplog.at_level(logging.WARNING):
        assert brains.load() == {}
        assert "brain" not in brains.added(painted).words()
        assert brains.alone(painted) is painted
    assert "MNI152" in caplog.text and "mricron-data" in caplog.text
    ball = np.linalg.norm(np.mgrid[:30, :36, :32] - np.array([15, 18, 16]).reshape(3, 1, 1, 1), axis=0) < 13
    nibabel.save(nibabel.Nifti1Image(200 * ball.astype(np.float32), np.eye(4)), tmp_path / "ch2.nii.gz")
    found = brains.load()
    assert list(found) == [brains.COLIN27]
    assert {image.shape for image in found[brains.COLIN27]} == {(36, 32), (30, 32), (30, 36)}
    assert all(image.max() == pytest.approx(1) for image in found[brains.COLIN27])
    count = len(found[brains.COLIN27])
    assert brains.added(painted).words().endswith(f"{count} slices of {brains.COLIN27}")
    assert brains.alone(painted).words() == f"{count} slices of {brains.COLIN27}"
