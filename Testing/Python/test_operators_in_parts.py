"""Operators compute frames and coils in parts that fit a cache: the parts must not show, whatever their size."""

from __future__ import annotations

import numpy as np
import pytest

from STEnhanceLib.sequence import Grid

torch = pytest.importorskip("torch")
pytest.importorskip("torchkbnufft")
pytestmark = pytest.mark.usefixtures("one_thread")

from STEnhanceLib.acquisition import operators  # noqa: E402
from STEnhanceLib.acquisition.cartesian import CartesianOperator, interleaved_mask  # noqa: E402
from STEnhanceLib.acquisition.coils import birdcage_sensitivities  # noqa: E402
from STEnhanceLib.acquisition.radial import RadialOperator, golden_angle_trajectory  # noqa: E402

FRAMES = 3
SIZES = [(32, 24), (31, 24), (32, 23), (31, 23)]


def coil_maps(size: tuple[int, int]) -> torch.Tensor:
    grid = Grid((1, *size), np.diag([1.2, 1.2, 8, 1]), 40.0 * np.arange(FRAMES))
    return torch.from_numpy(birdcage_sensitivities(grid, 5)[0])


def lines(size: tuple[int, int]) -> CartesianOperator:
    return CartesianOperator(torch.from_numpy(interleaved_mask(FRAMES, size[0], 4)), coil_maps(size))


def spokes(size: tuple[int, int]) -> RadialOperator:
    return RadialOperator(torch.from_numpy(golden_angle_trajectory(FRAMES, 9, 2 * max(size))), coil_maps(size))


def noise(shape, seed: int = 0) -> torch.Tensor:
    return torch.randn(tuple(shape), dtype=torch.complex64, generator=torch.Generator().manual_seed(seed))


@pytest.mark.parametrize("make", [lines, spokes])
@pytest.mark.parametrize("numbers", [1, 2 * 32 * 24, 2**26], ids=["one by one", "coils in parts", "all at once"])
def test_parts_of_any_size_give_the_same(make, numbers, monkeypatch):
    whole, images = make((32, 24)), noise((FRAMES, 32, 24))
    samples = whole.forward(images)
    monkeypatch.setattr(operators, "IN_CACHE", numbers)
    in_parts = make((32, 24))

    for name, given in (("forward", images), ("normal", images), ("adjoint", samples), ("time_average", samples)):
        expected, found = getattr(whole, name)(given), getattr(in_parts, name)(given)
        assert (found - expected).norm() <= 1e-6 * expected.norm(), name


def test_a_part_is_what_the_cache_holds(monkeypatch):
    coils = noise((8, 10, 10))
    for numbers, expected in ((50, (1, 1)), (450, (1, 4)), (800, (1, 8)), (2000, (2, 8))):
        monkeypatch.setattr(operators, "IN_CACHE", numbers)
        assert operators.at_once(coils) == expected
    assert operators.at_once(coils, per_voxel=4) == (1, 5)


@pytest.mark.parametrize("make", [lines, spokes])
@pytest.mark.parametrize("size", SIZES)
def test_adjoint_and_normal_belong_to_forward_for_odd_sizes_too(make, size):
    operator, images = make(size), noise((FRAMES, *size))
    samples = operator.forward(images)
    others = noise(samples.shape, 1)

    in_kspace = (samples.conj() * operator.weights * others).sum()
    assert abs(in_kspace - (images.conj() * operator.adjoint(others)).sum()) <= 1e-4 * abs(in_kspace)
    slow = operator.adjoint(samples)
    assert (operator.normal(images) - slow).norm() <= 1e-4 * slow.norm()


@pytest.mark.parametrize("size", SIZES)
def test_lines_are_those_of_the_centred_transform(size):
    operator, images = lines(size), noise((FRAMES, *size))

    coils = (images[:, None] * operator.coils).numpy()
    spectra = np.fft.fftshift(np.fft.fft2(np.fft.ifftshift(coils, axes=(-2, -1)), norm="ortho"), axes=(-2, -1))
    expected = spectra * operator.mask.numpy()[:, None, :, None]

    np.testing.assert_allclose(operator.forward(images).numpy(), expected, atol=1e-5 * np.abs(expected).max())


def test_the_average_of_spokes_is_that_of_the_gridded_frames():
    operator, samples = spokes((32, 24)), noise((FRAMES, 5, 9, 64))
    expected = operator.gridded(samples).mean(0)

    assert (operator.time_average(samples) - expected).norm() <= 1e-5 * expected.norm()


@pytest.mark.parametrize("make", [lines, spokes])
def test_what_the_adjoint_makes_of_the_samples_need_be_computed_only_once(make):
    operator = make((32, 24))
    samples, start = operator.forward(noise((FRAMES, 32, 24))), noise((FRAMES, 32, 24), 1)
    expected = operators.conjugate_gradient(operator, samples, start, 0.1, iterations=3)

    found = operators.conjugate_gradient(
        operator, torch.zeros(0), start, 0.1, iterations=3, adjoint=operator.adjoint(samples)
    )

    assert torch.equal(found, expected)


@pytest.mark.parametrize("make", [lines, spokes])
def test_half_precision_is_for_networks_and_leaves_operators_alone(make):
    images = noise((FRAMES, 32, 24))
    expected = make((32, 24)).normal(images)

    with torch.autocast("cpu", torch.bfloat16):
        found = make((32, 24)).normal(images)

    assert (found - expected).norm() <= 1e-6 * expected.norm()
