"""How much of a result the measured samples determine."""

from __future__ import annotations

import dataclasses
import re

import numpy as np
import pytest

from STEnhanceLib.acquisition.simulate import simulate
from STEnhanceLib.assurance.unsupported import fraction
from STEnhanceLib.methods import find_method, run
from STEnhanceLib.phantoms.thorax import Thorax

torch = pytest.importorskip("torch")
pytest.importorskip("torchkbnufft")
pytestmark = pytest.mark.usefixtures("one_thread")

from STEnhanceLib.acquisition.cartesian import CartesianOperator, interleaved_mask  # noqa: E402
from STEnhanceLib.acquisition.operators import slice_operators  # noqa: E402
from STEnhanceLib.assurance.support import LEAST_GAIN, measured_part  # noqa: E402

ITERATIVE = ["temporal-tv", "low-rank-sparse", "locally-low-rank"]


@pytest.fixture(scope="module")
def heart():
    """One slice of the phantom, 64² pixels, eight frames."""
    return Thorax(breathing_mm=0).cine(frames=8, matrix=64, slices=1)


def invented(heart, acquisition: str, noise: bool = False) -> np.ndarray:
    """(T, J, I), of the truth, where there is signal; NaN elsewhere."""
    kspace = simulate(heart, acquisition).kspace
    operator, _ = next(slice_operators(kspace, "cpu"))
    truth = torch.tensor(heart.frames[:, 0], dtype=torch.complex64)
    part = measured_part(operator, truth, kspace.noise_std if noise else float("nan"))
    shares = fraction((truth - part).numpy(), truth.numpy())
    bright = np.abs(truth.numpy())
    return np.where(bright > 0.1 * bright.max(), shares, np.nan)


def one_coil(heart) -> CartesianOperator:
    frames, rows, columns = heart.frames[:, 0].shape
    mask = torch.from_numpy(interleaved_mask(frames, rows, 4))
    return CartesianOperator(mask, torch.ones(1, rows, columns, dtype=torch.complex64))


def test_with_one_coil_the_measured_lines_are_what_is_determined_and_the_others_are_not(heart):
    operator = one_coil(heart)
    images = torch.tensor(heart.frames[:, 0], dtype=torch.complex64)
    projection = operator.adjoint(operator.forward(images))
    found = measured_part(operator, images)
    assert (found * (1 + LEAST_GAIN) - projection).norm() < 1e-5 * projection.norm()


def test_a_pattern_on_lines_that_nobody_measured_is_all_invented_and_one_on_measured_lines_is_not(heart):
    operator = one_coil(heart)
    random = torch.randn(8, 64, 64, dtype=torch.complex64, generator=torch.Generator().manual_seed(0))
    seen = operator.adjoint(operator.forward(random))
    for pattern, share in ((random - seen, 1.0), (seen, 0.0)):
        found = fraction((pattern - measured_part(operator, pattern)).numpy(), pattern.numpy())
        np.testing.assert_allclose(found, share, atol=2 * LEAST_GAIN)


def test_a_lesion_that_was_painted_into_the_result_shows_up_where_it_is(heart):
    operator, _ = next(slice_operators(simulate(heart, "c8").kspace, "cpu"))
    truth = torch.tensor(heart.frames[:, 0], dtype=torch.complex64)
    lesion = torch.zeros_like(truth)
    lesion[:, 30:34, 30:34] = float(truth.abs().max()) * (-1.0) ** torch.arange(4)[:, None]  # fine stripes
    clean = fraction((truth - measured_part(operator, truth)).numpy(), truth.numpy())
    painted = fraction((truth + lesion - measured_part(operator, truth + lesion)).numpy(), (truth + lesion).numpy())
    box = (slice(None), slice(30, 34), slice(30, 34))
    assert painted[box].mean() > clean[box].mean() + 0.1


def test_more_lines_and_more_spokes_support_more(heart):
    shares = {acquisition: np.nanmean(invented(heart, acquisition)) for acquisition in ("c4", "c8", "r26", "r13")}
    assert shares["c4"] < 0.75 * shares["c8"] < 0.3
    assert shares["r26"] < 0.75 * shares["r13"] < 0.2


def test_radial_spokes_determine_coarse_structure_better_than_fine(heart):
    operator, _ = next(slice_operators(simulate(heart, "r13").kspace, "cpu"))
    j, i = torch.meshgrid(torch.arange(64.0), torch.arange(64.0), indexing="ij")

    def share(waves: int) -> float:
        image = torch.cos(2 * torch.pi * waves * (j + 0.7 * i) / 64).to(torch.complex64).expand(8, 64, 64)
        return float((image - measured_part(operator, image)).norm() / image.norm())

    assert share(2) < 0.02 < share(8) < share(24)


def test_what_lies_below_the_noise_is_not_measured(heart):
    kspace = simulate(heart, "c4").kspace
    operator, _ = next(slice_operators(kspace, "cpu"))
    truth = torch.tensor(heart.frames[:, 0], dtype=torch.complex64)
    kept = [float(measured_part(operator, truth, level * kspace.noise_std).norm()) for level in (0, 1, 10, 1000)]
    assert kept == sorted(kept, reverse=True)
    assert kept[0] > 0.95 * float(truth.norm())
    assert kept[-1] < 0.1 * float(truth.norm())


@pytest.mark.parametrize("key", ITERATIVE)
def test_methods_map_the_unsupported_fraction_when_asked_for_and_say_how_much_it_is(heart, key):
    measured = simulate(heart, "c8")
    method = find_method(key)
    parameters = method.parameters(iterations=6, support=True)
    started = run.enhance(method, measured.sequence, parameters, kspace=measured.kspace)
    maps = np.stack([frame.unsupported for frame in started.frames])
    assert maps.shape == heart.frames.shape
    assert maps.min() >= 0 and maps.max() <= 1 and 0.01 < maps.mean() < 0.9
    notes = " ".join(started.notes)
    assert "was not computed" not in notes
    assert 0 < float(re.search(r"do not determine (\S+) of the result", notes)[1]) < 1


def notes_of(measured, kspace) -> str:
    method = find_method("temporal-tv")
    started = run.enhance(method, measured.sequence, method.parameters(iterations=5), kspace=kspace)
    list(started.frames)
    return " ".join(started.notes)


@pytest.mark.parametrize("acquisition", ["c8", "r13"])
def test_the_residual_is_put_beside_what_noise_alone_would_make(heart, acquisition):
    measured = simulate(heart, acquisition)
    samples = measured.kspace.samples
    said = float(re.search(r"the noise alone is (\S+) of them", notes_of(measured, measured.kspace))[1])
    expected = measured.kspace.noise_std * np.sqrt(2 * np.count_nonzero(samples)) / np.linalg.norm(samples)
    assert said == pytest.approx(expected, rel=0.05)
    assert "how much of that is noise is not known" in notes_of(
        measured, dataclasses.replace(measured.kspace, noise_std=float("nan"))
    )


def test_what_is_as_dark_as_the_noise_is_not_called_invented():
    invented, value = np.array([0.1, 0.1, 0.9, 0.0]), np.array([0.1, 1.0, 1.0, 0.0])
    np.testing.assert_allclose(fraction(invented, value), [1, 0.1, 0.9, 0])
    np.testing.assert_allclose(fraction(invented, value, dark=0.5), [0.2, 0.1, 0.9, 0])
