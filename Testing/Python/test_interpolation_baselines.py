"""Filling in moments between frames: which moments, and by blending, by harmonics, and by following the motion."""

from __future__ import annotations

from dataclasses import replace

import numpy as np
import pytest
import SimpleITK

from STEnhanceLib.errors import STEnhanceError
from STEnhanceLib.methods import find_method, parse_parameters
from STEnhanceLib.methods.demons import displacement
from STEnhanceLib.methods.output_times import as_text
from STEnhanceLib.methods.run import GENERATED_FRAMES, enhance, enhance_all
from STEnhanceLib.sequence import ImageSequence

KEYS = ("linear", "fourier", "demons")


def run(sequence: ImageSequence, key: str, **settings) -> ImageSequence:
    method = find_method(key)
    return enhance_all(method, sequence, parse_parameters(method, settings))


def sliding_disc(positions_mm, spacing_mm=(1.0, 1.0, 6.0), slices: int = 1) -> np.ndarray:
    """A textured disc of 14 mm radius at 32 mm + position along i; (T, K, 64, 64) float32, 64 mm wide along i."""
    j, i = np.mgrid[:64, :64]
    y, x = spacing_mm[1] * (j - 31.5), spacing_mm[0] * i - 32.0
    frames = []
    for position in positions_mm:
        inside = 1 / (1 + np.exp(np.hypot(y, x - position) - 14))
        frames.append(100 * inside * (1 + 0.4 * np.cos((x - position) / 2.5) * np.cos(y / 2.5)))
    return np.repeat(np.array(frames, np.float32)[:, None], slices, axis=1)


def two_frames(frames: np.ndarray, spacing_mm=(1.0, 1.0, 6.0)) -> ImageSequence:
    return ImageSequence(frames, np.diag([*spacing_mm, 1.0]), [0.0, 40.0])


# Which moments


@pytest.mark.parametrize(("periodic", "frames"), [(True, 32), (False, 29)])
@pytest.mark.parametrize("key", ["linear", "demons"])
def test_a_factor_fills_each_gap_equally_and_closes_the_cycle(beating_disc, key, periodic, frames):
    sequence = replace(beating_disc, periodic=periodic)
    result = run(sequence, key, factor=4)
    assert len(result) == frames
    assert np.allclose(np.diff(result.times_ms), 12.5)
    assert result.grid.shape == sequence.grid.shape
    assert np.array_equal(result.ijk_to_ras, sequence.ijk_to_ras)
    assert result.periodic is periodic
    if periodic:
        assert result.grid.period_ms == pytest.approx(sequence.grid.period_ms)


@pytest.mark.parametrize("key", KEYS)
def test_measured_frames_stay_bit_for_bit_at_their_own_times(beating_disc, key):
    odd_times = replace(beating_disc, times_ms=50 * np.arange(8) + [0, 0.1, -3, 7, 0, 2, -5, 1 / 3])
    result = run(odd_times, key, factor=3)
    assert np.array_equal(result.frames[::3], odd_times.frames)
    assert np.array_equal(result.times_ms[::3], odd_times.times_ms)
    gap = np.diff(odd_times.times_ms)[2] / 3
    assert np.allclose(np.diff(result.times_ms)[6:9], gap)


@pytest.mark.parametrize("key", KEYS)
def test_measured_moments_are_marked_supported_and_the_others_are_not(beating_disc, key):
    method = find_method(key)
    enhancement = enhance(method, beating_disc, parse_parameters(method, {}))
    assert [frame.unsupported for frame in enhancement.frames] == [0.0, 1.0] * 8


@pytest.mark.parametrize("key", KEYS)
def test_any_increasing_times_can_be_asked_for(beating_disc, key):
    wanted = np.array([0.0, 100 / 3, 50.0, 77.7, 349.9999999, 399.0])
    result = run(beating_disc, key, times_ms=as_text(wanted))
    assert np.array_equal(result.times_ms, wanted)
    for index, frame in ((0, 0), (2, 1), (4, 7)):
        assert np.array_equal(result.frames[index], beating_disc.frames[frame])


@pytest.mark.parametrize("key", [*KEYS, "motion"])
def test_a_measured_time_asked_for_with_few_decimals_is_that_of_the_measured_frame(beating_disc, key):
    odd_times = replace(beating_disc, times_ms=[0, 50, 100, 150 + 1 / 3, 200, 250, 300, 350])
    result = run(odd_times, key, times_ms="150.3333,250")
    assert np.array_equal(result.frames, odd_times.frames[[3, 5]])
    assert result.attributes[GENERATED_FRAMES] == "0 of 2"


@pytest.mark.parametrize(
    ("times_ms", "periodic"),
    [
        ("0,25,50,75,100", False),  # a quarter of the cycle
        ("7.5", False),
        ("0,100,200,300,400", False),  # the first frame again
        ("0,100,200,300", True),
        ("7.5,57.5,107.5,157.5,207.5,257.5,307.5,357.5", True),
    ],
)
def test_a_result_is_a_cycle_only_if_its_times_go_all_around_one(beating_disc, times_ms, periodic):
    result = run(beating_disc, "linear", times_ms=times_ms)
    assert result.periodic is periodic
    if periodic:
        assert result.grid.period_ms == pytest.approx(400)
    assert not run(replace(beating_disc, periodic=False), "linear", times_ms="0,100,200,300").periodic


def test_equal_spacing_closes_the_cycle_and_says_so(beating_disc):
    result = run(beating_disc, "linear", frame_duration_ms=33)
    assert np.allclose(result.times_ms, 400 / 12 * np.arange(12))
    assert any("33.33 ms apart instead of 33 ms" in note for note in result.notes)
    once = run(replace(beating_disc, periodic=False), "linear", frame_duration_ms=33)
    assert np.allclose(once.times_ms, 33 * np.arange(11))
    assert not any("apart" in note for note in once.notes)


def test_a_frame_rate_is_met_as_its_frame_duration_is(beating_disc):
    once = replace(beating_disc, periodic=False)
    assert np.allclose(run(once, "linear", frame_rate=40).times_ms, 25 * np.arange(15))
    closed = run(beating_disc, "linear", frame_rate=30)
    assert np.array_equal(closed.times_ms, run(beating_disc, "linear", frame_duration_ms=1000 / 30).times_ms)
    assert not any("apart" in note for note in closed.notes)  # 12 of them fill the 400 ms
    assert any("26.67 ms apart instead of 26.32 ms" in n for n in run(beating_disc, "linear", frame_rate=38).notes)


@pytest.mark.parametrize("key", [*KEYS, "motion"])
def test_what_does_not_close_as_a_cycle_should_is_noted(beating_disc, key):
    if key == "motion":
        pytest.importorskip("torch", reason="torch is not installed: no motion engine to test")
    said = "mark it as not periodic"
    assert not any(said in note for note in run(beating_disc, key).notes)
    half = beating_disc.with_frames(range(5))  # from the largest disc to the smallest, and taken for a cycle
    doubts = [note for note in run(half, key).notes if said in note]
    assert len(doubts) == 1 and "as much as between neighbours" in doubts[0]
    if key != "fourier":
        assert not any(said in note for note in run(replace(half, periodic=False), key).notes)


@pytest.mark.parametrize(("key", "periodic"), [("linear", False), ("demons", False), *((key, True) for key in KEYS)])
def test_two_frames_are_enough(beating_disc, key, periodic):
    pair = replace(beating_disc.with_frames([0, 2]), periodic=periodic)
    result = run(pair, key, factor=2)
    assert len(result) == (4 if periodic else 3)
    assert np.array_equal(result.frames[::2], pair.frames)
    assert np.isfinite(result.frames).all()


@pytest.mark.parametrize(
    ("settings", "message"),
    [
        ({"times_ms": "1,two"}, "times_ms='1,two' was given; expected numbers in ms"),
        ({"times_ms": "20,10"}, "strictly increasing times. Sort them"),
        ({"times_ms": "nan"}, "expected finite"),
        ({"times_ms": "10,500"}, "the frames reach from 0 to 400 ms"),
        ({"times_ms": "10", "frame_duration_ms": 5}, "frame_duration_ms and times_ms were given; expected one of them"),
        ({"frame_rate": 20, "frame_duration_ms": 5}, "frame_duration_ms and frame_rate were given"),
    ],
)
def test_times_that_cannot_be_met_are_refused(beating_disc, settings, message):
    with pytest.raises(STEnhanceError, match=message):
        run(beating_disc, "linear", **settings)


@pytest.mark.parametrize("key", KEYS)
def test_a_single_frame_has_no_time_between(beating_disc, key):
    with pytest.raises(STEnhanceError, match="1 frame; expected at least 2"):
        run(beating_disc.with_frames([0]), key)


@pytest.mark.parametrize("key", KEYS)
def test_complex_images_are_interpolated_by_magnitude_and_say_so(beating_disc, key):
    turned = replace(beating_disc, frames=beating_disc.frames * np.complex64(1j))
    result = run(turned, key)
    assert np.allclose(result.frames, run(beating_disc, key).frames, rtol=1e-5)
    assert any("complex" in note for note in result.notes)


# Linear


def test_linear_weighs_both_neighbours_by_their_distance_in_time(beating_disc):
    result = run(beating_disc, "linear", times_ms="60,390")
    first, second, last = beating_disc.frames[[1, 2, 7]]
    assert np.allclose(result.frames[0], 0.8 * first + 0.2 * second, rtol=1e-5)
    assert np.allclose(result.frames[1], 0.2 * last + 0.8 * beating_disc.frames[0], rtol=1e-5)


# Fourier


def harmonics(times_ms: np.ndarray, highest: int) -> np.ndarray:
    random = np.random.default_rng(7)
    frames = np.full((len(times_ms), 1, 4, 5), 10.0)
    for harmonic in range(1, highest + 1):
        cosine, sine = random.normal(size=(2, 1, 4, 5))
        angle = 2 * np.pi * harmonic * times_ms[:, None, None, None] / 400
        frames += cosine * np.cos(angle) + sine * np.sin(angle)
    return frames.astype(np.float32)


@pytest.mark.parametrize("count", [7, 8])
@pytest.mark.parametrize("jitter_ms", [0.0, 6.0])
def test_fourier_is_exact_for_harmonics_of_the_cycle_also_at_uneven_times(count, jitter_ms):
    times = 400 / count * np.arange(count)
    times[1:-1] += jitter_ms * np.random.default_rng(1).uniform(-1, 1, count - 2)
    # The cycle must be known: its end is one median frame duration after the last frame.
    times *= 400 / (times[-1] + np.median(np.diff(times)))
    sequence = ImageSequence(harmonics(times, 3), np.eye(4), times, periodic=True)
    result = run(sequence, "fourier", factor=5)
    assert np.abs(result.frames - harmonics(result.times_ms, 3)).max() < 1e-4


def test_fourier_equals_zero_filling_along_time(beating_disc):
    spectrum = np.fft.rfft(beating_disc.frames, axis=0)
    spectrum[-1] /= 2
    expected = 3 * np.fft.irfft(spectrum, 24, axis=0)
    assert np.abs(run(beating_disc, "fourier", factor=3).frames - expected).max() < 1e-3


def test_fourier_refuses_what_is_no_cycle_or_too_uneven(beating_disc):
    with pytest.raises(STEnhanceError, match="not marked as one full cycle"):
        run(replace(beating_disc, periodic=False), "fourier")
    bunched = replace(beating_disc, times_ms=[0, 50, 51, 52, 53, 54, 300, 350])
    with pytest.raises(STEnhanceError, match="amplify their noise"):
        run(bunched, "fourier")


# Demons


@pytest.mark.parametrize("slices", [1, 2, 5])
@pytest.mark.parametrize("spacing_mm", [(1.0, 1.0, 6.0), (1.0, 0.75, 6.0)])
def test_demons_puts_a_sliding_disc_where_it_is_at_that_moment(spacing_mm, slices):
    def centre(frame):
        weights = frame[slices // 2].astype(float)
        return float((weights * np.arange(64)).sum() / weights.sum())

    sequence = two_frames(sliding_disc((-4, 4), spacing_mm, slices), spacing_mm)
    result = run(sequence, "demons", times_ms="10,20,30")
    truth = sliding_disc((-2, 0, 2), spacing_mm, slices)
    blend = run(sequence, "linear", times_ms="10,20,30").frames
    for frame, blended, expected in zip(result.frames, blend, truth, strict=True):
        # Swapping t and 1 − t would be 4 mm off at a quarter of the way; it and blending leave two ghosts.
        assert centre(frame) == pytest.approx(centre(expected), abs=0.25)
        assert np.square(frame - expected).mean() < 0.1 * np.square(blended - expected).mean()


def test_demons_moves_each_tissue_evenly_also_where_neighbours_move_differently():
    def ring(radius):
        j, i = np.mgrid[:64, :64]
        distance = np.hypot(j - 31, i - 32)
        return 100 / (1 + np.exp((distance - radius) / 0.8)) * (1 + 0.4 * np.cos(6 * distance / radius))

    def stack(radii):
        return np.stack([ring(radius) for radius in radii])[:, None].astype(np.float32)

    shrinking = two_frames(stack([18, 10]))
    truth = stack([16, 14, 12])
    demons, linear = (run(shrinking, key, times_ms="10,20,30").frames for key in ("demons", "linear"))
    # Taking the motion of where tissue is for that of where it came from gives up to 0.05.
    assert (np.square(demons - truth).mean((1, 2, 3)) < 0.012 * np.square(linear - truth).mean((1, 2, 3))).all()


def test_demons_blends_brightness_by_the_distance_in_time():
    flash = two_frames(np.full((2, 2, 16, 16), 10, np.float32) * np.float32([1, 3])[:, None, None, None])
    assert np.allclose(run(flash, "demons", times_ms="10").frames, 15, atol=1e-3)


def test_demons_measures_the_displacement_in_voxels_along_each_axis():
    before, after = (frame[0] for frame in sliding_disc((-3, 3), (0.5, 1.0, 6.0)))
    u = displacement(before, after, (0.5, 1.0), 3.0)
    inside = np.s_[24:40, 52:60]  # within both discs: x from −6 to −2 mm
    assert np.median(u[1][inside]) == pytest.approx(12, abs=1)  # 6 mm in voxels of 0.5 mm
    assert np.abs(np.median(u[0][inside])) < 0.3


def test_demons_does_not_depend_on_the_intensity_scale(beating_disc):
    pair = beating_disc.with_frames([0, 2])
    faint = replace(pair, frames=pair.frames * np.float32(1e-4))
    expected = run(pair, "demons").frames
    assert np.abs(run(faint, "demons").frames * 1e4 - expected).max() < 0.01 * expected.max()


def test_demons_of_black_or_equal_frames_changes_nothing():
    black = two_frames(np.zeros((2, 1, 16, 16), np.float32))
    assert not run(black, "demons").frames.any()
    still = two_frames(sliding_disc((2, 2), slices=2))
    assert np.abs(run(still, "demons").frames - still.frames[0]).max() < 1e-2


@pytest.mark.parametrize("shape", [(1, 1, 9), (2, 9, 7), (40, 8, 8)])
def test_demons_takes_volumes_of_any_shape(shape):
    frames = np.random.default_rng(3).random((2, *shape)).astype(np.float32)
    assert run(two_frames(frames), "demons").frames.shape == (3, *shape)


def test_on_a_real_heart_demons_beats_blending_without_folding_the_tissue(stenhance_data):
    image = SimpleITK.ReadImage(str(stenhance_data / "cine" / "preclinical_sax.nii.gz"))
    cine = SimpleITK.GetArrayFromImage(image)[[0, 3, 7], 8:10, 68:196, 75:203].astype(np.float32)
    sequence = ImageSequence(cine[[0, 2]], np.diag([*image.GetSpacing()[:3], 1.0]), [0.0, 7.0])
    errors = {
        key: np.square(run(sequence, key, times_ms="3").frames[0] - cine[1])[:, 16:112, 16:112].mean()
        for key in ("linear", "demons")
    }
    assert 10 * np.log10(errors["linear"] / errors["demons"]) > 0.5
    u = displacement(cine[0], cine[2], sequence.grid.spacing_mm, 3.0)
    jacobian = np.stack([np.stack(np.gradient(component)) for component in u])
    determinant = np.linalg.det(np.moveaxis(jacobian, (0, 1), (-2, -1)) + np.eye(3))
    assert determinant.min() > 0
    assert determinant.max() > 1.2
