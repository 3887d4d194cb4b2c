"""A measurement as input: images are gridded from it, and results are held to it."""

from __future__ import annotations

import dataclasses
import re

import numpy as np
import pytest

from STEnhanceLib import cli, device, files
from STEnhanceLib.acquisition.simulate import simulate
from STEnhanceLib.methods import find_method, iterative
from STEnhanceLib.methods.run import enhance_all

torch = pytest.importorskip("torch")
pytest.importorskip("torchkbnufft")
pytest.importorskip("safetensors")
pytestmark = pytest.mark.usefixtures("one_thread")

from STEnhanceLib.acquisition.operators import slice_operators  # noqa: E402

XT_YT = find_method("xt-yt")


@pytest.fixture(params=["c4", "r26"])
def acquired(request, beating_disc, tmp_path):
    simulation = simulate(beating_disc, request.param)
    files.write(simulation.sequence, tmp_path / "images.seq.nrrd")
    simulation.kspace.save(tmp_path / "scan.npz")
    return simulation


def residual(result) -> float:
    return float(re.search(r"measured samples by ([\d.e+-]+)", " ".join(result.notes))[1])


class TestCommandLine:
    def test_a_measurement_alone_gives_what_images_and_measurement_give(self, acquired, tmp_path):
        alone, both = tmp_path / "alone.seq.nrrd", tmp_path / "both.seq.nrrd"
        scan, images = str(tmp_path / "scan.npz"), str(tmp_path / "images.seq.nrrd")
        settings = ["--method", "temporal-tv", "--set", "iterations=5"]

        assert cli.main(["enhance", scan, str(alone), *settings]) == 0
        assert cli.main(["enhance", images, str(both), *settings, "--kspace", scan]) == 0
        one, other = files.read(alone), files.read(both)
        assert np.allclose(one.frames, other.frames, atol=1e-4 * one.frames.max())
        assert np.allclose(one.ijk_to_ras, acquired.sequence.ijk_to_ras)

    def test_what_was_gridded_says_so(self, acquired, tmp_path, capsys):
        assert cli.main(["info", str(tmp_path / "scan.npz")]) == 0
        assert "gridded from the k-space" in capsys.readouterr().out

    def test_two_measurements_are_one_too_many(self, acquired, tmp_path, capsys):
        scan = str(tmp_path / "scan.npz")

        assert cli.main(["enhance", scan, str(tmp_path / "x.seq.nrrd"), "--method", "gridding", "--kspace", scan]) == 1
        assert "is a measurement, and --kspace names another" in capsys.readouterr().err
        assert not (tmp_path / "x.seq.nrrd").exists()


class TestHeldToTheSamples:
    @pytest.mark.parametrize("acquisition", ["c8", "r13"])
    def test_without_noise_the_result_agrees_to_a_thousandth(self, beating_disc, untrained, acquisition, monkeypatch):
        monkeypatch.setattr("STEnhanceLib.acquisition.simulate.NOISE_PERCENT", 1e-6)
        simulation = simulate(beating_disc, acquisition)

        result = enhance_all(XT_YT, simulation.sequence, XT_YT.parameters(), kspace=simulation.kspace)

        assert residual(result) <= 1e-3

    @pytest.mark.parametrize("noise_std", [1.0, float("nan")])
    def test_noise_is_never_fitted_nor_what_may_be_noise(self, acquired, noise_std):
        kspace = dataclasses.replace(acquired.kspace, noise_std=noise_std)
        operator, samples = next(iter(slice_operators(kspace, "cpu")))
        images = operator.gridded(samples)

        assert iterative.held_to_samples(kspace, operator, samples, images) is images


def test_a_slice_too_large_for_the_processor_is_called_out_of_memory(acquired):
    def greedy(operator, samples):
        return torch.empty(2**50, dtype=torch.complex64)

    with pytest.raises(MemoryError):
        list(iterative.enhancement(acquired.sequence, acquired.kspace, greedy).frames)


def test_a_slice_too_large_for_the_gpu_goes_to_the_cpu_with_all_that_follow(acquired, monkeypatch):
    asked = []

    def short_of_memory(operator, samples):
        asked.append(str(samples.device))
        if len(asked) == 2:
            raise torch.cuda.OutOfMemoryError
        return operator.gridded(samples)

    # "cpu:0" is computed on like a GPU that is not called "cpu".
    monkeypatch.setattr(device, "chosen", lambda: "cpu:0")
    enhancement = iterative.enhancement(acquired.sequence, acquired.kspace, short_of_memory)
    frames = list(enhancement.frames)

    assert len(asked) == 1 + acquired.sequence.grid.shape[0]
    assert frames[0].voxels.shape == acquired.sequence.grid.shape
    assert iterative.ON_THE_CPU in enhancement.notes
    assert np.allclose(frames[0].voxels, acquired.sequence.frames[0], atol=1e-3 * frames[0].voxels.max())
