"""What a scanner measures: operators that are adjoint, grids that are aligned, masks, spokes and noise."""

from __future__ import annotations

import dataclasses
import json
import subprocess
import sys

import numpy as np
import pytest

from STEnhanceLib.acquisition import centre_crop
from STEnhanceLib.acquisition.coils import birdcage_sensitivities, smooth_phase
from STEnhanceLib.acquisition.kspace import KSpace
from STEnhanceLib.acquisition.noise import complex_noise, noise_std
from STEnhanceLib.acquisition.simulate import ACQUISITIONS, simulate
from STEnhanceLib.errors import STEnhanceError
from STEnhanceLib.methods import Task
from STEnhanceLib.sequence import Grid, ImageSequence

torch = pytest.importorskip("torch")
pytest.importorskip("torchkbnufft")
pytestmark = pytest.mark.usefixtures("one_thread")

from STEnhanceLib.acquisition.cartesian import CartesianOperator, interleaved_mask  # noqa: E402
from STEnhanceLib.acquisition.operators import conjugate_gradient, slice_operators  # noqa: E402
from STEnhanceLib.acquisition.radial import GOLDEN_ANGLE, RadialOperator, golden_angle_trajectory  # noqa: E402

FRAMES, ROWS, COLUMNS = 3, 64, 48
GRID = Grid((2, ROWS, COLUMNS), np.diag([1.2, 1.2, 8, 1]), 40.0 * np.arange(FRAMES))
FULL_SPOKES = 101  # π/2 · 64: no gap between spokes is wider than a cell


def cartesian(acceleration: int = 4, coils: int = 8) -> CartesianOperator:
    mask = interleaved_mask(FRAMES, ROWS, acceleration)
    return CartesianOperator(torch.from_numpy(mask), torch.from_numpy(birdcage_sensitivities(GRID, coils)[0]))


def radial(spokes: int = 13) -> RadialOperator:
    trajectory = torch.from_numpy(golden_angle_trajectory(FRAMES, spokes, 2 * ROWS))
    return RadialOperator(trajectory, torch.from_numpy(birdcage_sensitivities(GRID)[0]))


def random_images(seed: int = 0) -> torch.Tensor:
    return torch.randn(FRAMES, ROWS, COLUMNS, dtype=torch.complex64, generator=torch.Generator().manual_seed(seed))


def blob(j: float, i: float) -> torch.Tensor:
    """A bump of 3 pixels around (j, i) in all frames, with the phase that real images have."""
    rows, columns = np.mgrid[:ROWS, :COLUMNS]
    image = np.exp(-((rows - j) ** 2 + (columns - i) ** 2) / (2 * 3**2)) * smooth_phase(GRID, 0)[0]
    return torch.from_numpy(image.astype(np.complex64)).expand(FRAMES, -1, -1)


@pytest.fixture(params=[cartesian, radial], ids=["cartesian", "radial"])
def operator(request):
    return request.param()


@pytest.fixture(scope="module")
def small_sequence() -> ImageSequence:
    """Nine frames of six slices, an off-centre blob that moves to the right."""
    frame, k, j, i = np.mgrid[:9, :6, :32, :32]
    frames = 50 * np.exp(-((k - 2.5) ** 2 / 6 + (j - 12) ** 2 / 20 + (i - 14 - frame / 2) ** 2 / 20))
    return ImageSequence(frames.astype(np.float32), np.diag([2, 2, 4, 1.0]), 30.0 * np.arange(9), True, "blob")


@pytest.fixture(scope="module")
def measured(small_sequence) -> dict[str, KSpace]:
    """The blob as each k-space acquisition measures it."""
    return {key: simulate(small_sequence, key).kspace for key in ("c4", "c8", "r13")}


# Operators


def test_adjoint_is_the_adjoint_of_forward(operator):
    images = random_images()
    samples = operator.forward(images)
    others = torch.randn(samples.shape, dtype=torch.complex64, generator=torch.Generator().manual_seed(1))
    in_kspace = (samples.conj() * operator.weights * others).sum()
    in_images = (images.conj() * operator.adjoint(others)).sum()
    size = images.norm() * operator.adjoint(others).norm()
    assert abs(in_kspace - in_images) <= 1e-5 * size


def test_normal_is_adjoint_after_forward(operator):
    images = random_images()
    slow = operator.adjoint(operator.forward(images))
    assert (operator.normal(images) - slow).norm() <= 1e-4 * slow.norm()


def test_no_image_gains_more_energy_than_the_largest_eigenvalue(operator):
    image = random_images()
    for _ in range(30):
        image = operator.normal(image / image.norm())
    assert 0.5 * operator.largest_eigenvalue() <= image.norm() <= 1.06 * operator.largest_eigenvalue()


def test_operators_are_differentiable(operator):
    images = random_images().requires_grad_()
    operator.normal(images).abs().square().sum().backward()
    assert images.grad.abs().max() > 0


def test_coils_of_another_slice_need_no_new_operator(operator):
    others = torch.from_numpy(birdcage_sensitivities(GRID, 4)[1])
    changed = operator.with_coils(others)
    assert changed.forward(random_images()).shape[1] == 4
    assert operator.forward(random_images()).shape[1] == 8


@pytest.mark.parametrize("make", [cartesian, radial])
def test_data_consistency_leaves_no_more_than_the_noise(make):
    operator, truth, std = make(), blob(40, 14), 0.005
    measured = operator.forward(truth)
    noise = torch.from_numpy(complex_noise(measured.shape, std, np.random.default_rng(0)))
    noisy = measured + noise * (measured != 0)
    start = torch.zeros_like(truth)
    images = conjugate_gradient(operator, noisy, start, 1e-3, iterations=60)
    samples = int((measured != 0).sum())
    left = operator.forward(images) - noisy
    assert left.norm() <= 1.05 * std * np.sqrt(2 * samples)
    assert left.norm() < 0.2 * noisy.norm()


def test_data_consistency_with_one_coil_is_the_closed_form():
    mask = interleaved_mask(FRAMES, ROWS, 4)
    operator = CartesianOperator(torch.from_numpy(mask), torch.ones(1, ROWS, COLUMNS, dtype=torch.complex64))
    full = CartesianOperator(torch.ones(FRAMES, ROWS, dtype=torch.bool), operator.coils)
    measured, start, strength = operator.forward(random_images(1)), random_images(2), 0.25
    spectrum = full.forward(start)
    wanted = torch.where(measured != 0, (measured + strength * spectrum) / (1 + strength), spectrum)
    found = conjugate_gradient(operator, measured, start, strength, iterations=2)
    assert (found - full.adjoint(wanted)).norm() <= 1e-5 * start.norm()


def test_data_consistency_keeps_images_that_fit_the_measurement(operator):
    truth = random_images()
    assert (conjugate_gradient(operator, operator.forward(truth), truth, 0.1) - truth).norm() <= 1e-3 * truth.norm()


# Alignment


def test_all_cartesian_lines_reproduce_the_image():
    images = random_images()
    operator = cartesian(acceleration=1)
    assert (operator.gridded(operator.forward(images)) - images).abs().max() <= 1e-5


def test_enough_spokes_reproduce_the_image_in_place_and_brightness():
    truth = blob(40, 14)
    operator = radial(FULL_SPOKES)
    image = operator.gridded(operator.forward(truth))
    assert (image - truth).abs().max() < 0.02
    for axis, size in ((1, ROWS), (2, COLUMNS)):
        assert shift_along(axis, size, truth.abs()[:1], image.abs()[:1]) < 0.05


def shift_along(axis: int, size: int, first: torch.Tensor, second: torch.Tensor) -> float:
    """Distance of the centres of mass in pixels, after what is not the blob is cut off."""
    position = torch.arange(size, dtype=torch.float32)
    centres = []
    for image in (first, second):
        bright = (image - 0.1).clamp_min(0)
        profile = bright.sum([a for a in (0, 1, 2) if a != axis])
        centres.append(float((profile * position).sum() / profile.sum()))
    return abs(centres[0] - centres[1])


@pytest.mark.parametrize("operator", [cartesian(3), radial(FULL_SPOKES // 3)], ids=["cartesian", "radial"])
def test_the_average_over_time_needs_only_that_some_frame_measured_it(operator):
    still = blob(40, 14)
    error = (operator.time_average(operator.forward(still)) - still[0]).norm() / still[0].norm()
    error_of_one_frame = (operator.gridded(operator.forward(still))[0] - still[0]).norm() / still[0].norm()
    assert error < 0.05
    assert error_of_one_frame > 1.5 * error


def test_radial_and_cartesian_samples_agree_where_they_meet():
    images = blob(30, 20)[:, :, :COLUMNS]
    along_i = torch.zeros(FRAMES, 1, COLUMNS, 2)
    along_i[..., 1] = (torch.arange(COLUMNS) - COLUMNS // 2) * 2 * torch.pi / COLUMNS
    coils = cartesian().coils
    spoke = RadialOperator(along_i, coils).forward(images)[:, :, 0]
    line = cartesian(1).forward(images)[:, :, ROWS // 2]
    assert (spoke - line).norm() <= 1e-3 * line.norm()


# Masks, spokes, coils, noise


@pytest.mark.parametrize("acceleration", [4, 8])
def test_successive_frames_together_measure_every_line(acceleration):
    mask = interleaved_mask(2 * acceleration, 256, acceleration)
    for first in range(acceleration):
        assert mask[first : first + acceleration].any(0).all()
    outer = np.delete(mask, np.s_[124:132], axis=1)
    assert (outer.sum(1) == 248 // acceleration).all()
    assert not (outer[0] & outer[1]).any()
    assert mask[:, 124:132].all()


def test_the_golden_angle_goes_on_from_frame_to_frame():
    spokes = golden_angle_trajectory(4, 13, 32).reshape(-1, 32, 2)
    direction = spokes[:, -1] - spokes[:, 0]
    angle = np.arctan2(direction[:, 0], direction[:, 1])
    turn = np.diff(angle) % (2 * np.pi)
    np.testing.assert_allclose(np.rad2deg(turn), 111.246, atol=1e-2)
    assert np.rad2deg(GOLDEN_ANGLE) == pytest.approx(111.246, abs=1e-3)
    np.testing.assert_allclose(spokes[:, 16], 0, atol=1e-6)  # every spoke passes through the centre
    assert np.abs(spokes).max() <= np.pi + 1e-6


def test_coils_have_unit_root_sum_of_squares_and_differ():
    coils = birdcage_sensitivities(GRID)
    np.testing.assert_allclose(np.linalg.norm(coils, axis=1), 1, atol=1e-5)
    brightest = [np.unravel_index(np.abs(coil).argmax(), coil.shape) for coil in coils[0]]
    assert len(set(brightest)) == 8
    assert np.abs(np.diff(coils[0], axis=-1)).max() < 0.25  # smooth


def test_smooth_phase_breaks_conjugate_symmetry():
    image = np.abs(blob(30, 20)[0].numpy()) * smooth_phase(GRID, 3)[0]
    spectrum = np.fft.fft2(image)
    mirrored = np.conj(np.roll(spectrum[::-1, ::-1], (1, 1), (0, 1)))
    assert np.linalg.norm(spectrum - mirrored) > 0.1 * np.linalg.norm(spectrum)


def test_noise_has_the_level_it_declares(small_sequence, measured):
    std = noise_std(small_sequence.frames, 1)
    assert std == pytest.approx(0.01 * np.percentile(small_sequence.frames, 99.9))
    noise = complex_noise((200, 200), std, np.random.default_rng(0))
    assert noise.real.std() == pytest.approx(std, rel=0.02)
    assert noise.imag.std() == pytest.approx(std, rel=0.02)
    assert abs(np.mean(noise.real * noise.imag)) < 0.02 * std**2
    simulated = measured["c4"]
    outermost = simulated.samples[..., :2, :][simulated.samples[..., :2, :] != 0]  # no signal so far out
    assert outermost.real.std() == pytest.approx(std, rel=0.05)
    assert simulated.noise_std == pytest.approx(std)


# Simulation


@pytest.mark.parametrize("key", ACQUISITIONS)
def test_every_acquisition_can_be_simulated_and_says_so(small_sequence, key):
    before = small_sequence.frames.copy()
    simulation = simulate(small_sequence, key, seed=5, end_systole_frame=6)
    assert len(simulation.sequence) == len(simulation.kept)
    np.testing.assert_array_equal(simulation.sequence.times_ms, small_sequence.times_ms[simulation.kept])
    record = json.loads(simulation.sequence.attributes["STEnhance.Simulated"])
    assert (record["acquisition"], record["seed"]) == (key, 5)
    assert (simulation.kspace is not None) == (key[0] in "rch")
    assert simulation.sequence.frames.dtype == np.float32
    np.testing.assert_array_equal(small_sequence.frames, before)
    assert ACQUISITIONS[key].task in {task.value for task in Task} | {"joint"}


def test_noisy_images_have_the_rician_mean_and_spread_of_their_noise_level():
    """Rice 1944: with signal A and noise σ the mean square is A² + 2σ²; without signal the mean is σ √(π/2)."""
    flat = np.zeros((2, 1, 200, 200), np.float32)
    flat[..., 100:] = 500
    simulation = simulate(ImageSequence(flat, np.eye(4), [0, 1]), "n5")
    noisy, std = simulation.sequence.frames, 0.05 * 500
    assert noisy[..., :100].mean() == pytest.approx(std * np.sqrt(np.pi / 2), rel=0.01)
    assert np.mean(noisy[..., 100:] ** 2) == pytest.approx(500**2 + 2 * std**2, rel=2e-3)
    assert noisy[..., 100:].std() == pytest.approx(std, rel=0.02)
    first, second = noisy[:, 0, :, 100:].reshape(2, -1)
    assert abs(np.corrcoef(first, second)[0, 1]) < 0.03
    assert json.loads(simulation.sequence.attributes["STEnhance.Simulated"])["noise_std"] == pytest.approx(std)


def test_interpolated_noisy_images_hold_what_was_measured():
    """Bright throughout, the magnitude is as band-limited as the measurement, with its noise; reference 500 ± 25."""
    bright = ImageSequence(np.full((4, 1, 96, 64), 500, np.float32), np.eye(4), np.arange(4.0))
    simulation = simulate(bright, "ni5", scale=500.0)
    noisy = simulation.sequence.frames
    assert noisy.shape == bright.frames.shape
    assert centre_crop.crop(noisy, (60, 40)).std() == pytest.approx(25, rel=0.03)
    beyond = noisy - centre_crop.zero_fill(centre_crop.crop(noisy, (60, 40)), (96, 64))
    assert beyond.std() < 0.03 * 25


def test_zero_filling_a_simulated_crop_gives_the_centre_of_k_space(small_sequence):
    signed = dataclasses.replace(small_sequence, frames=small_sequence.frames - np.float32(10))
    cropped = simulate(signed, "s4").sequence
    assert cropped.frames.min() < 0  # linear: no magnitude was taken
    np.testing.assert_allclose(cropped.grid.spacing_mm, (8, 8, 4))
    np.testing.assert_array_equal(cropped.ijk_to_ras[:3, 3], signed.ijk_to_ras[:3, 3])
    spectrum = np.fft.fft2(signed.frames)
    frequencies = np.abs(np.fft.fftfreq(32) * 32)
    inside = frequencies < 4
    filled = np.fft.fft2(centre_crop.zero_fill(cropped.frames, (32, 32)))
    np.testing.assert_allclose(filled[..., inside, :][..., inside], spectrum[..., inside, :][..., inside], atol=1e-2)
    assert np.abs(filled[..., frequencies > 4, :]).max() < 1e-2


@pytest.mark.parametrize(("key", "share"), [("k10", 0.10), ("k6", 0.0625), ("k4", 0.04)])
def test_share_of_samples_kept_in_plane(key, share):
    sequence = ImageSequence(np.ones((2, 1, 256, 256), np.float32), np.eye(4), np.arange(2.0))
    assert simulate(sequence, key).sequence.frames[0, 0].size / 256**2 == pytest.approx(share, rel=0.02)


def test_thick_slices_are_centred_on_every_fourth_slice(small_sequence):
    single = np.zeros((1, 9, 8, 8), np.float32)
    single[:, 4] = 1
    sequence = ImageSequence(single, small_sequence.ijk_to_ras, np.zeros(1))
    thick = simulate(sequence, "z4").sequence
    assert thick.grid.shape == (3, 8, 8)
    assert thick.frames[0, :, 0, 0].argmax() == 1
    assert thick.frames[0, 0, 0, 0] == pytest.approx(thick.frames[0, 2, 0, 0])
    np.testing.assert_allclose(thick.ijk_to_ras @ (0, 0, 1, 1), sequence.ijk_to_ras @ (0, 0, 4, 1))
    half = simulate(dataclasses.replace(sequence, frames=np.roll(single, -2, axis=1)), "z4").sequence
    assert half.frames[0, 0, 0, 0] / thick.frames[0, 1, 0, 0] == pytest.approx(0.5, abs=0.02)  # full width at half max


def test_only_whole_steps_around_the_cycle_stay_periodic(small_sequence):
    eight = small_sequence.with_frames(np.arange(8))
    assert simulate(eight, "t4").sequence.periodic
    assert not simulate(small_sequence, "t4").sequence.periodic
    assert not simulate(eight, "t6").sequence.periodic


def test_end_systole_is_given_or_estimated_with_a_note(small_sequence):
    given = simulate(small_sequence, "t6", end_systole_frame=5)
    assert list(given.kept) == [0, 5]
    assert not given.sequence.notes
    estimated = simulate(small_sequence, "t6")
    assert list(estimated.kept) == [0, 8]
    assert "Frame 8" in estimated.sequence.notes[0]


def test_the_seed_decides_the_noise(small_sequence):
    first, again, other = (simulate(small_sequence, "c8", seed=s).kspace.samples for s in (1, 1, 2))
    np.testing.assert_array_equal(first, again)
    assert not np.array_equal(first, other)


def test_complex_images_keep_their_own_phase(small_sequence):
    turned = (small_sequence.frames * np.exp(0.7j)).astype(np.complex64)
    kspace = simulate(dataclasses.replace(small_sequence, frames=turned), "c4").kspace
    operator, samples = next(slice_operators(kspace, "cpu"))
    image = conjugate_gradient(operator, samples, torch.zeros(9, 32, 32, dtype=torch.complex64), 1e-3).numpy()
    bright = np.abs(turned[:, 0]) > 0.5 * np.abs(turned[:, 0]).max()
    assert np.angle(image[bright]).mean() == pytest.approx(0.7, abs=0.05)


@pytest.mark.parametrize(
    ("key", "shape", "needle"),
    [
        ("x9", (9, 6, 32, 32), "there are: s2, s4"),
        ("z4", (2, 4, 8, 8), "4 slices; expected at least 5"),
        ("t2", (2, 1, 8, 8), "2 frames; expected at least 3"),
        ("st48", (8, 1, 32, 32), "8 frames; expected at least 9"),
        ("t6", (2, 1, 8, 8), "expected at least 3"),
        ("s4", (1, 1, 4, 4), "expected at least 2×2"),
    ],
)
def test_what_cannot_be_simulated_is_said(key, shape, needle):
    sequence = ImageSequence(np.ones(shape, np.float32), np.eye(4), np.arange(float(shape[0])))
    with pytest.raises(STEnhanceError, match=needle):
        simulate(sequence, key)


def test_end_systole_outside_the_sequence_is_refused(small_sequence):
    for frame in (-1, 0, 1, 9):
        with pytest.raises(STEnhanceError, match="expected an index from 2 to 8"):
            simulate(small_sequence, "t6", end_systole_frame=frame)


def test_image_acquisitions_work_without_torch():
    code = (
        "import sys; sys.modules['torch'] = sys.modules['torchkbnufft'] = None\n"
        "import numpy as np\n"
        "from STEnhanceLib.acquisition.simulate import simulate\n"
        "from STEnhanceLib.errors import STEnhanceError\n"
        "from STEnhanceLib.sequence import ImageSequence\n"
        "s = ImageSequence(np.random.rand(9, 6, 32, 32).astype('f4'), np.eye(4), np.arange(9.0))\n"
        "for key in 's2 s4 k10 k6 k4 z4 t2 t4 t6 st48'.split(): simulate(s, key)\n"
        "try: simulate(s, 'r13')\n"
        "except STEnhanceError as error: print(error)\n"
    )
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert "r13 needs torch" in done.stdout


@pytest.mark.parametrize(("key", "share"), [("c2", 1 / 2), ("c3", 1 / 3)])
def test_lines_may_be_as_sparse_as_one_likes(beating_disc, key, share):
    mask = simulate(beating_disc, key).kspace.mask

    assert share < mask.mean() < share + 0.25  # the centre is measured on top


def test_spokes_may_be_as_many_as_one_likes(beating_disc):
    pytest.importorskip("torchkbnufft")

    assert simulate(beating_disc, "r20").kspace.trajectory.shape[1] == 20


@pytest.mark.parametrize("key", ["r0", "c", "r100", "x4"])
def test_what_is_no_acquisition_is_refused_with_all_there_are(beating_disc, key):
    with pytest.raises(STEnhanceError, match=r"there are: s2.*any other number"):
        simulate(beating_disc, key)
