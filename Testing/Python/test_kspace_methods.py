"""Methods that reconstruct from the measured k-space: gridding, temporal total variation, and low rank."""

from __future__ import annotations

import dataclasses
import re

import numpy as np
import pytest

from STEnhanceLib.acquisition.simulate import Simulation, simulate
from STEnhanceLib.errors import STEnhanceError
from STEnhanceLib.methods import find_method, locally_low_rank, low_rank_sparse, run, temporal_tv
from STEnhanceLib.methods.iterative import LEAST_STEPS
from STEnhanceLib.methods.locally_low_rank import LocallyLowRankParameters
from STEnhanceLib.methods.low_rank_sparse import LowRankSparseParameters
from STEnhanceLib.methods.temporal_tv import TemporalTVParameters
from STEnhanceLib.sequence import ImageSequence

torch = pytest.importorskip("torch")
pytest.importorskip("torchkbnufft")
pytestmark = pytest.mark.usefixtures("one_thread")

from STEnhanceLib.acquisition.operators import slice_operators  # noqa: E402

ITERATIVE = ["temporal-tv", "low-rank-sparse", "locally-low-rank"]


RECONSTRUCT = {
    "temporal-tv": lambda operator, samples, parameters: temporal_tv.reconstruct(operator, samples, parameters, True),
    "low-rank-sparse": low_rank_sparse.reconstruct,
    "locally-low-rank": locally_low_rank.reconstruct,
}


@pytest.fixture(scope="module")
def heart() -> ImageSequence:
    """Eight frames of two slices of 48², a bright beating disc in a darker, still body."""
    j, i = np.mgrid[:48, :48] - 24.0
    body = 40 / (1 + np.exp((np.hypot(j / 1.1, i) - 18) / 0.7))
    frames = []
    for t in range(8):
        radius = 6 + 2 * np.cos(2 * np.pi * t / 8)
        disc = 60 / (1 + np.exp((np.hypot(j + 3, i - 5) - radius) / 0.7))
        frames.append([body + disc, body + 0.5 * disc])
    geometry = np.diag([1.5, 1.5, 8, 1])
    return ImageSequence(np.array(frames, np.float32), geometry, 70.0 * np.arange(8), periodic=True, name="heart")


@pytest.fixture(scope="module", params=["r13", "c8"])
def measured(request, heart) -> Simulation:
    return simulate(heart, request.param)


def test_total_variation_follows_lines_to_convergence_and_stops_early_on_spokes(measured):
    operator, samples = next(iter(slice_operators(measured.kspace, "cpu")))
    of_lines = measured.kspace.mask is not None
    usual = temporal_tv.TOLERANCE_OF_LINES if of_lines else temporal_tv.TOLERANCE_OF_SPOKES

    unset = temporal_tv.reconstruct(operator, samples, TemporalTVParameters(), True)

    assert torch.equal(unset, temporal_tv.reconstruct(operator, samples, TemporalTVParameters(tolerance=usual), True))


def reconstructed(key: str, measured: Simulation, parameters=None) -> np.ndarray:
    method = find_method(key)
    parameters = parameters or method.parameters()
    return run.enhance_all(method, measured.sequence, parameters, kspace=measured.kspace).frames


def psnr(images: np.ndarray, reference: ImageSequence) -> float:
    scale = np.percentile(reference.frames, 99.9)
    return float(-10 * np.log10(np.mean(((images - reference.frames) / scale) ** 2)))


@pytest.fixture(scope="module")
def by_iteration(measured) -> dict[str, ImageSequence]:
    """What each iterative method makes of it."""
    made = {}
    for key in ITERATIVE:
        method = find_method(key)
        made[key] = run.enhance_all(method, measured.sequence, method.parameters(), kspace=measured.kspace)
    return made


def test_gridding_is_what_the_simulated_user_holds(measured):
    found = reconstructed("gridding", measured)
    np.testing.assert_allclose(found, measured.sequence.frames, atol=1e-3 * found.max())


def test_gridding_invents_nothing_and_keeps_geometry_and_time(measured):
    method = find_method("gridding")
    started = run.enhance(method, measured.sequence, method.parameters(), kspace=measured.kspace)
    assert [frame.unsupported for frame in started.frames] == [0.0] * 8
    np.testing.assert_array_equal(started.grid.ijk_to_ras, measured.sequence.ijk_to_ras)
    np.testing.assert_array_equal(started.grid.times_ms, measured.sequence.times_ms)


@pytest.mark.parametrize("key", ITERATIVE)
def test_iteration_beats_gridding_clearly(measured, by_iteration, heart, key):
    assert psnr(by_iteration[key].frames, heart) > psnr(measured.sequence.frames, heart) + 3


@pytest.mark.parametrize("key", ITERATIVE)
def test_iteration_keeps_the_intensity_scale(by_iteration, heart, key):
    still = by_iteration[key].frames[:, :, 34:38, 20:28]  # body without heart
    assert still.mean() == pytest.approx(heart.frames[:, :, 34:38, 20:28].mean(), rel=0.03)


@pytest.mark.parametrize("key", ITERATIVE)
def test_iteration_fits_the_measurement_up_to_its_noise_and_says_so(measured, by_iteration, key):
    found = re.search(r"differs from the measured samples by (\S+) of them", " ".join(by_iteration[key].notes))
    samples = measured.kspace.samples
    noise = measured.kspace.noise_std * np.sqrt(2 * np.count_nonzero(samples)) / np.linalg.norm(samples)
    assert 0.5 * noise < float(found[1]) < 1.5 * noise


def test_what_is_said_of_the_misfit_does_not_depend_on_the_unit_of_the_samples(measured, by_iteration):
    method, kspace = find_method("temporal-tv"), measured.kspace
    unit = 1e16  # squares of such numbers are beyond single precision
    loud = dataclasses.replace(kspace, samples=np.float32(unit) * kspace.samples, noise_std=unit * kspace.noise_std)
    result = run.enhance_all(method, measured.sequence, method.parameters(), kspace=loud)
    assert result.notes[-1] == by_iteration["temporal-tv"].notes[-1]


@pytest.mark.parametrize("key", ITERATIVE)
def test_iteration_says_that_support_was_not_computed(measured, key):
    method = find_method(key)
    started = run.enhance(method, measured.sequence, method.parameters(iterations=1), kspace=measured.kspace)
    assert all(np.isnan(frame.unsupported) for frame in started.frames)
    assert "was not computed" in started.notes[0]


def test_more_strength_means_less_change_over_time(measured):
    def motion(strength: float) -> float:
        frames = reconstructed("temporal-tv", measured, TemporalTVParameters(strength=strength, iterations=10))
        return float(np.abs(np.diff(frames, axis=0)).mean())

    assert motion(0.0) > motion(0.005) > motion(0.1)


@pytest.mark.parametrize("key", ITERATIVE)
def test_iteration_stops_when_little_changes(measured, key):
    parameters = find_method(key).parameters

    def steps(tolerance: float) -> int:
        operator, samples = next(slice_operators(measured.kspace, "cpu"))
        exact, count = operator.normal, 0

        def counted(images):
            nonlocal count
            count += 1
            return exact(images)

        operator.normal = counted
        RECONSTRUCT[key](operator, samples, parameters(tolerance=tolerance, iterations=30))
        return count

    assert LEAST_STEPS == steps(0.5) < steps(0.02) < steps(1e-5) == 30


def test_the_cycle_closes_only_where_the_sequence_is_periodic(measured):
    def step_at_the_end(periodic: bool) -> float:
        sequence = dataclasses.replace(measured.sequence, periodic=periodic)
        ramp = Simulation(sequence, measured.kspace, measured.kept)
        frames = reconstructed("temporal-tv", ramp, TemporalTVParameters(strength=0.05, iterations=10))
        return float(np.abs(frames[0] - frames[-1]).mean())

    assert step_at_the_end(periodic=True) < step_at_the_end(periodic=False)


def spread(rows: torch.Tensor, limit: float) -> torch.Tensor:
    """Singular values smaller by `limit`, by the decomposition itself."""
    left, values, right = torch.linalg.svd(rows, full_matrices=False)
    return (left * (values - limit).clamp_min(0)) @ right


def random_images(*shape: int) -> torch.Tensor:
    return torch.randn(*shape, dtype=torch.complex64, generator=torch.Generator().manual_seed(0))


def test_low_rank_is_that_of_the_frames_as_rows():
    images = random_images(6, 9, 7)
    found = low_rank_sparse._of_lower_rank(images, 6.0).flatten(1)
    assert (found - spread(images.flatten(1), 6.0)).norm() < 1e-4 * images.norm()
    assert 0 < torch.linalg.matrix_rank(found, rtol=1e-4) < 6
    assert (low_rank_sparse._of_lower_rank(images, 0.0) - images).norm() < 1e-5 * images.norm()
    assert not low_rank_sparse._of_lower_rank(images * 0, 1.0).any()


def test_sparse_is_the_number_of_temporal_frequencies():
    time = torch.arange(8)
    wave = torch.exp(2j * torch.pi * 2 * time / 8)[:, None, None]
    images = 3 * wave + 0.1 * random_images(8, 5, 4)
    spectrum = torch.fft.fft(low_rank_sparse._of_fewer_frequencies(images, 1.0), dim=0, norm="ortho")
    expected = torch.fft.fft(images, dim=0, norm="ortho")[2]
    assert spectrum[[0, 1, 3, 4, 5, 6, 7]].abs().max() < 1e-5
    assert (spectrum[2] - expected * (1 - 1 / expected.abs())).abs().max() < 1e-4


@pytest.mark.parametrize("first", [0, 2])
def test_patches_are_of_lower_rank_each_on_its_own_also_where_they_do_not_fit_the_matrix(first):
    images = random_images(5, 8, 10)
    found = locally_low_rank._simpler(images, 3.0, 4, first)
    inside = (..., slice(first, first + 4), slice(first + 4, first + 8))
    assert (found[inside].flatten(1) - spread(images[inside].flatten(1), 3.0)).norm() < 1e-4 * images.norm()
    assert (locally_low_rank._simpler(images, 0.0, 4, first) - images).norm() < 1e-5 * images.norm()
    assert locally_low_rank._simpler(images, 0.0, 16, 8).shape == images.shape


def test_low_rank_plus_sparse_goes_down_faster_than_plain_steps_and_comes_to_rest_at_the_minimum(heart):
    small = dataclasses.replace(heart, frames=heart.frames[:, :1, 8:40, 8:40])
    operator, samples = next(slice_operators(simulate(small, "c8").kspace, "cpu"))
    average, right = operator.time_average(samples), operator.adjoint(samples)
    weights = (
        0.01 * float(average.expand_as(right).norm()),
        0.02 * float(np.percentile(average.abs().numpy(), 99.9)),
    )

    def objective(parts) -> float:
        misfit = (operator.forward(parts[0] + parts[1]) - samples).norm() ** 2 / 2
        rank = torch.linalg.svdvals(parts[0].flatten(1)).sum()
        frequencies = torch.fft.fft(parts[1], dim=0, norm="ortho").abs().sum()
        return float(misfit + weights[0] * rank + weights[1] * frequencies)

    def stepped(parts):
        """One of the publication's steps, half as long, so that it goes down for sure."""
        downhill = (operator.normal(parts[0] + parts[1]) - right) / 2
        background = low_rank_sparse._of_lower_rank(parts[0] - downhill, weights[0] / 2)
        return background, low_rank_sparse._of_fewer_frequencies(parts[1] - downhill, weights[1] / 2)

    def accelerated(iterations: int):
        parameters = LowRankSparseParameters(low_rank=0.01, sparse=0.02, tolerance=1e-5, iterations=iterations)
        return low_rank_sparse.separated(operator, samples, parameters)

    plain = (average.expand_as(right), torch.zeros_like(right))
    for _ in range(500):
        plain = stepped(plain)
    assert objective(accelerated(100)) < objective(plain)
    rest = accelerated(400)
    moved = torch.stack(stepped(rest)) - rest
    assert moved.norm() < 1e-4 * (rest.sum(0) - average).norm()


@pytest.mark.parametrize("parameters", [LowRankSparseParameters, LocallyLowRankParameters])
def test_larger_weights_leave_less_motion(measured, parameters):
    operator, samples = next(slice_operators(measured.kspace, "cpu"))
    weights = {
        LowRankSparseParameters: lambda w: {"low_rank": w, "sparse": w},
        LocallyLowRankParameters: lambda w: {"strength": w},
    }[parameters]
    key = "low-rank-sparse" if parameters is LowRankSparseParameters else "locally-low-rank"

    def motion(weight: float) -> float:
        images = RECONSTRUCT[key](operator, samples, parameters(iterations=15, **weights(weight)))
        return float(images.diff(dim=0).abs().mean())

    assert motion(0.0) > motion(0.01) > motion(0.3)


@pytest.mark.parametrize("key", ["gridding", *ITERATIVE])
def test_the_measurement_of_another_scan_is_refused(heart, measured, key):
    method = find_method(key)
    moved = heart.ijk_to_ras.copy()
    moved[0, 3] += 5
    strangers = [
        (heart.with_frames(range(7)), "expected the same"),
        (dataclasses.replace(heart, frames=heart.frames[..., :24]), "expected the same"),
        (dataclasses.replace(heart, ijk_to_ras=moved), "in another place"),
    ]
    for sequence, needle in strangers:
        with pytest.raises(STEnhanceError, match=needle):
            run.enhance(method, sequence, method.parameters(), kspace=measured.kspace)
    with pytest.raises(STEnhanceError, match="needs a kspace"):
        run.enhance(method, heart, method.parameters(), kspace=None)
