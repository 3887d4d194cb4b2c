"""Training: who may train, what is practised, and that a recipe makes a usable model again and again."""

import dataclasses
import json
import os

import numpy as np
import pytest

torch = pytest.importorskip("torch", reason="torch is not installed: no training")
pytest.importorskip("safetensors", reason="safetensors is not installed: no models")

from STEnhanceLib import files, models, networks  # noqa: E402
from STEnhanceLib.acquisition import centre_crop  # noqa: E402
from STEnhanceLib.cli import main  # noqa: E402
from STEnhanceLib.errors import STEnhanceError  # noqa: E402
from STEnhanceLib.evaluation import metrics  # noqa: E402
from STEnhanceLib.phantoms.thorax import Thorax  # noqa: E402
from STEnhanceLib.training import degradation, losses, stock, trainer  # noqa: E402
from STEnhanceLib.training.recipe import all_recipes, find_recipe  # noqa: E402

pytestmark = pytest.mark.usefixtures("one_thread")

CPU = torch.device("cpu")


@pytest.fixture(scope="module")
def painted():
    """A stock of phantoms only, small enough to practise on within seconds."""
    cines = [stock._scaled(Thorax(seed).cine(frames=6, matrix=144, slices=12).frames) for seed in (1, 2)]
    return stock.Stock(cines[:1], cines[1:], [cines[0][0, 3], cines[1][0, 5]], None, ("phantom",))


@pytest.fixture
def folder_of_images(tmp_path, monkeypatch):
    """What a user would train on: a cine file and an archive of stills, with one held-out patient among each."""
    monkeypatch.setattr(stock, "PHANTOM_MATRIX", 144)
    monkeypatch.setattr(stock.phantoms, "__defaults__", (1,))
    cine = Thorax(3).cine(frames=4, matrix=144, slices=12)
    for patient in ("volunteer1_sax", "scd0000301_sax"):
        files.write(cine, tmp_path / f"{patient}.nii.gz")
    stills = np.clip(cine.frames[0, :4] / 4, 0, 255).astype(np.uint8)
    np.savez(tmp_path / "stills.npz", images=stills, subjects=np.array(["A", "SC-HF-I-04", "B", "SC-HF-I-07"]))
    return tmp_path


def test_the_stills_of_a_tuning_patient_are_held_out_with_its_cine(folder_of_images):
    stocked = stock.load(folder_of_images)
    assert len(stocked.cines) == 1
    assert len(stocked.stills) == 3
    assert stocked.tuning is not None
    assert set(stocked.patients) == {"volunteer1", "a", "b", "sc-hf-i-07"}


def test_the_real_cine_and_stills_of_the_tuning_patient_are_the_same_person(stenhance_data):
    """Their names differ; the images do not. Training on SC-HF-I-04 would be training on the tuning case."""
    cine = files.read(stenhance_data / "cine" / "scd0000301_sax.nii.gz").frames.reshape(-1, 256, 256)
    with np.load(stenhance_data / "stills" / "sunnybrook_stills.npz") as archive:
        stills = archive["images"][archive["subjects"] == "SC-HF-I-04"].astype(np.float32)
    still = stills[len(stills) // 2].ravel()
    likeness = max(np.corrcoef(frame.ravel(), still)[0, 1] for frame in cine)
    assert likeness > 0.999
    assert stock.held_out("SC-HF-I-04")
    assert stock.held_out("scd0000301_sax.nii.gz")
    assert stock.held_out("preclinical_sax.nii.gz")
    assert not stock.held_out("SC-HF-I-01")


@pytest.mark.parametrize("place", ["scd0000301/series.nii.gz", "sc-hf-i-04_sax.nii.gz", "SC-HF-I-04/a/cine.nii.gz"])
def test_a_held_out_patient_is_known_by_the_folder_and_in_any_case(place, folder_of_images):
    (folder_of_images / place).parent.mkdir(parents=True, exist_ok=True)
    (folder_of_images / "volunteer1_sax.nii.gz").rename(folder_of_images / place)
    assert stock.load(folder_of_images).cines == []


def test_a_folder_with_nothing_to_learn_from_is_refused(tmp_path):
    with pytest.raises(STEnhanceError, match="nothing to learn from"):
        stock.load(tmp_path)


def test_perfect_scans_are_the_crop_of_the_benchmark_and_imperfect_ones_are_not():
    image = torch.from_numpy(Thorax(0).cine(frames=1, matrix=96, slices=1).frames[0] / 1000)
    crop = centre_crop.crop(image.numpy(), (24, 24))
    for seed in range(20):
        perfect = degradation.degraded(image, (24, 24), np.random.default_rng(seed), perfect=True)
        assert perfect.faithful
        assert np.abs(perfect.images.numpy() - crop).max() < 1e-5
        spoilt = degradation.degraded(image, (24, 24), np.random.default_rng(seed), perfect=False)
        assert not spoilt.faithful
        error = np.linalg.norm(spoilt.images.numpy() - crop) / np.linalg.norm(crop)
        assert 1e-4 < error < 0.5  # spoilt, yet the same anatomy


def test_matrices_cover_the_factors_that_methods_offer():
    rng = np.random.default_rng(0)
    factors = np.array([128 / np.array(degradation.small_matrix(rng, (128, 128))) for _ in range(400)])
    assert factors.min() >= 1
    assert factors.max() <= 5.1
    assert (factors == 4).all(axis=1).mean() > 0.4
    assert (factors == 2).all(axis=1).any()
    assert (factors[:, 0] != factors[:, 1]).any()


def test_the_similarity_that_is_trained_is_the_one_that_is_reported():
    rng = np.random.default_rng(0)
    truth = rng.random((2, 40, 50)).astype(np.float32)
    result = (truth + 0.1 * rng.standard_normal(truth.shape)).astype(np.float32)
    ours = losses.ssim(torch.from_numpy(result)[:, None], torch.from_numpy(truth)[:, None])
    reported = np.mean(metrics.ssim(result, truth))
    assert float(ours) == pytest.approx(reported, abs=1e-4)


@pytest.mark.parametrize("name", sorted(all_recipes()))
def test_every_recipe_practises_without_a_gap(name, painted, monkeypatch):
    recipe = find_recipe(name)
    frozen = {
        "perceptual-3d": networks.build("ddos-unet", {"features": 8, "inputs": 1}),
        "tssc-stage1": networks.build("diffusion-transformer", {"width": 16, "blocks": 1, "heads": 2}),
        "latent-autoencoder": networks.build("vq-autoencoder", {"features": 8}).eval(),
    }
    monkeypatch.setattr(models, "load", lambda name, *_: frozen[name].requires_grad_(False))
    exercise = recipe.exercise(painted, CPU)
    if hasattr(exercise, "count"):  # made for GPUs
        exercise.count, exercise.side = 1, 64
    if hasattr(exercise, "scenes"):  # registered before it practises
        exercise.scenes = 3
    smaller = {"features": 8, "blocks": 2, "width": 32}
    small = {key: smaller.get(key, value) for key, value in recipe.configuration.items()}
    network = networks.build(recipe.network, small)
    for seed in range(3):
        loss = exercise.loss(network, exercise.batch(np.random.default_rng(seed)), 1.0, np.random.default_rng(seed))
        loss.backward()
        assert torch.isfinite(loss)
    assert all(torch.isfinite(values.grad).all() for values in network.parameters() if values.grad is not None)
    assert any(values.grad.any() for values in network.parameters() if values.grad is not None)


@pytest.mark.parametrize("name", sorted(name for name, recipe in all_recipes().items() if recipe.ships))
def test_what_ships_is_what_its_recipe_makes(name):
    recipe, metadata = find_recipe(name), models.read_bundle(models.SHIPPED / name).metadata
    assert metadata["architecture"] == {"network": recipe.network, "configuration": dict(recipe.configuration)}
    said = json.loads(json.dumps(dataclasses.asdict(recipe.card)))
    assert {entry: metadata[entry] for entry in said} == said
    training = metadata["training"]
    assert training["steps"] == training["full_recipe_steps"] == recipe.steps
    assert set(training["held_out_cases"]) == {*stock.TUNING, *stock.TESTING}


@pytest.fixture
def quick(painted):
    """A recipe that takes a tenth of a second per step, and its exercise."""
    recipe = find_recipe("edsr-x2")
    configuration = {"scale": 2, "features": 8, "blocks": 1}
    recipe = dataclasses.replace(recipe, configuration=configuration, learning_rate=3e-3)
    return recipe, recipe.exercise(painted, CPU)


def test_an_interrupted_training_ends_with_the_same_weights(quick, tmp_path):
    recipe, exercise = quick
    straight, _ = trainer.train(recipe, exercise, tmp_path / "straight", device=CPU, steps=8, checks=4)

    def interrupt(done, total, now):
        if done == 5:
            raise KeyboardInterrupt

    with pytest.raises(KeyboardInterrupt):
        trainer.train(recipe, exercise, tmp_path / "resumed", device=CPU, steps=8, checks=4, on_step=interrupt)
    resumed, progress = trainer.train(recipe, exercise, tmp_path / "resumed", device=CPU, steps=8, checks=4)
    assert progress.step == 8
    for name, values in straight.state_dict().items():
        assert torch.equal(values, resumed.state_dict()[name]), name
    assert (tmp_path / "resumed" / trainer.CURVES).read_bytes().startswith(b"\x89PNG")
    assert (tmp_path / "resumed" / trainer.LOG).read_text().count("\n") == 5


def test_training_teaches(quick, tmp_path):
    recipe, exercise = quick
    network, _ = trainer.train(recipe, exercise, tmp_path, device=CPU, steps=60, checks=1)
    untrained = networks.build(recipe.network, recipe.configuration)
    batches = [exercise.batch(np.random.default_rng((9, n))) for n in range(6)]
    with torch.inference_mode():
        before, after = (
            np.mean([float(exercise.loss(candidate, batch, 1.0, np.random.default_rng(0))) for batch in batches])
            for candidate in (untrained, network)
        )
    assert after < 0.95 * before


def test_a_checkpoint_of_another_plan_is_not_taken_up(quick, tmp_path):
    recipe, exercise = quick
    trainer.train(recipe, exercise, tmp_path, device=CPU, steps=2)
    with pytest.raises(STEnhanceError, match="delete it to start anew"):
        trainer.train(recipe, exercise, tmp_path, device=CPU, steps=2, seed=1)


def test_the_command_makes_a_model_with_a_card_and_says_what_was_done(folder_of_images, tmp_path, capsys):
    out = tmp_path / "models"
    call = ["train", "stenhance-sr-through-plane", "--data", str(folder_of_images), "--out", str(out)]
    assert main([*call, "--steps", "2", "--device", "cpu", "--licence", "CC0 1.0"]) == 0
    metadata = json.loads((out / "stenhance-sr-through-plane" / "configs" / "metadata.json").read_text())
    training = metadata["training"]
    assert training["steps"] == 2
    assert training["full_recipe_steps"] == find_recipe("stenhance-sr-through-plane").steps
    assert training["data_licence"] == "CC0 1.0"
    assert "scd0000301" in training["held_out_cases"]
    assert "1 cines and 3 still images" in training["data"]
    assert "psnr_zero_fill" in training["validation"]
    assert "CPU" in (out / "stenhance-sr-through-plane" / "docs" / "README.md").read_text()


def test_a_model_that_the_recipe_builds_on_is_found_where_it_was_just_trained(folder_of_images, tmp_path, monkeypatch):
    out = tmp_path / "models"
    common = ["--data", str(folder_of_images), "--out", str(out), "--steps", "1", "--device", "cpu"]
    monkeypatch.setenv(models.VARIABLE, os.fspath(out))
    assert main(["train", "perceptual-3d", *common]) == 0
    assert main(["train", "ddos-unet", *common]) == 0
    assert models.find_model("ddos-unet").folder == out / "ddos-unet"


def test_a_model_is_trained_further_and_says_from_what(folder_of_images, tmp_path, monkeypatch):
    call = ["train", "stenhance-sr-through-plane", "--data", str(folder_of_images), "--device", "cpu", "--steps", "1"]
    assert main([*call, "--out", str(tmp_path), "--start-from", "stenhance-sr-through-plane"]) == 0
    shipped = models.find_model("stenhance-sr-through-plane")
    metadata = json.loads((tmp_path / "stenhance-sr-through-plane" / "configs" / "metadata.json").read_text())
    started = metadata["training"]["started_from"]
    assert started == f"{shipped.identity()}, {shipped.metadata['training']['steps']} steps"
    before = models.load("stenhance-sr-through-plane").state_dict()
    monkeypatch.setenv(models.VARIABLE, os.fspath(tmp_path))
    assert models.find_model("stenhance-sr-through-plane").folder == tmp_path / "stenhance-sr-through-plane"
    after = models.load("stenhance-sr-through-plane").state_dict()
    distance = sum(float((after[name] - before[name]).square().sum()) for name in before)
    assert distance < 0.01 * sum(float(v.square().sum()) for v in before.values()), "one step does not lead far away"


def test_a_finished_model_from_elsewhere_is_not_replaced(folder_of_images, tmp_path, capsys):
    (tmp_path / "edsr-x2").mkdir()
    assert main(["train", "edsr-x2", "--data", str(folder_of_images), "--out", str(tmp_path)]) == 1
    assert "name another folder" in capsys.readouterr().err


def test_a_torch_without_the_optimizer_is_told_before_anything_is_read(tmp_path, monkeypatch, capsys):
    monkeypatch.delattr(torch.optim, "Muon")
    assert main(["train", "edsr-x2", "--data", str(tmp_path), "--out", str(tmp_path)]) == 1
    assert "Training needs torch 2.9 or newer" in capsys.readouterr().err


def test_an_unknown_recipe_lists_what_there_is(tmp_path, capsys):
    assert main(["train", "edsr-x3", "--data", str(tmp_path), "--out", str(tmp_path)]) == 1
    assert "edsr-x2" in capsys.readouterr().err
