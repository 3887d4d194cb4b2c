"""EDSR, DDoS-UNet and STEnhance-SR on whatever a user may have; with untrained networks, as weights do not matter."""

from __future__ import annotations

import os
from dataclasses import replace

import numpy as np
import pytest
import SimpleITK

torch = pytest.importorskip("torch", reason="torch is not installed: no networks")
pytest.importorskip("safetensors", reason="safetensors is not installed: no models")

from learned import DESCRIPTION  # noqa: E402
from untrained import UNTRAINED, run, sequence_of, smooth  # noqa: E402

from STEnhanceLib import files, models, networks  # noqa: E402
from STEnhanceLib.acquisition import centre_crop, thick_slices  # noqa: E402
from STEnhanceLib.acquisition.simulate import simulate  # noqa: E402
from STEnhanceLib.errors import STEnhanceError  # noqa: E402
from STEnhanceLib.evaluation.residual import kspace_residual  # noqa: E402
from STEnhanceLib.methods import find_method, in_plane, parse_parameters  # noqa: E402
from STEnhanceLib.methods.consistency import AUTO  # noqa: E402
from STEnhanceLib.methods.placement import Placement  # noqa: E402
from STEnhanceLib.methods.run import announcement, enhance  # noqa: E402
from STEnhanceLib.origin import unsupported_per_frame  # noqa: E402
from STEnhanceLib.sequence import ImageSequence  # noqa: E402

pytestmark = pytest.mark.usefixtures("one_thread", "untrained")

KEYS = ["edsr", "ddos-unet", "stenhance-sr"]


def alike(result: np.ndarray, images: np.ndarray) -> float:
    """Relative error of a result, brought back to the low resolution, of a network that nearly interpolates."""
    low = centre_crop.crop(result, images.shape[-2:])
    return float(np.linalg.norm(low - images) / np.linalg.norm(images))


# Any input


@pytest.mark.parametrize("key", KEYS)
@pytest.mark.parametrize(
    ("shape", "settings"),
    [
        ((3, 2, 33, 46), {"factor": 2}),
        ((1, 1, 25, 17), {"factor": 4}),
        ((2, 3, 20, 31), {"factor": 2.37}),
        ((2, 1, 24, 40), {"factor": 3.3, "sampling": "block average"}),
        ((1, 2, 16, 9), {"factor": 1}),
        ((1, 2, 13, 11), {"factor": 8}),
    ],
)
def test_any_matrix_factor_and_number_of_frames_and_slices(key, shape, settings):
    sequence = sequence_of(smooth(*shape))
    before = sequence.frames.tobytes()
    result = run(sequence, key, **settings)
    in_plane = tuple(int(n * settings["factor"] + 0.5) for n in shape[2:])
    assert result.frames.shape == (*shape[:2], *in_plane)
    assert sequence.frames.tobytes() == before
    if "sampling" not in settings:
        assert alike(result.frames, sequence.frames) < 0.25
    again = run(sequence, key, **settings)
    assert again.frames.tobytes() == result.frames.tobytes(), "the same input gives the same result"


@pytest.mark.parametrize("key", KEYS)
def test_voxels_stay_at_their_places_in_the_patient(key, oblique_matrix):
    sequence = sequence_of(smooth(2, 3, 20, 31), oblique_matrix)
    result = run(sequence, key, factor=3)
    assert np.allclose(result.ijk_to_ras[:, 3], oblique_matrix[:, 3], atol=1e-12)
    last = np.array([92, 59, 2, 1])
    assert np.allclose(result.ijk_to_ras @ last, oblique_matrix @ (last / [3, 3, 1, 1]), atol=1e-9)
    averaged = run(sequence, key, factor=3, sampling="block average")
    first = [(1 / 3 - 1) / 2] * 2 + [0, 1]
    assert np.allclose(averaged.ijk_to_ras @ [0, 0, 0, 1], oblique_matrix @ first, atol=1e-9)


@pytest.mark.parametrize("key", KEYS)
def test_a_target_spacing_makes_anisotropic_pixels_square(key):
    result = run(sequence_of(smooth(1, 2, 20, 30)), key, target_spacing_mm=0.5)
    assert result.grid.shape == (2, 80, 60)
    assert np.allclose(result.grid.spacing_mm, (0.5, 0.5, 8.0))


@pytest.mark.parametrize("key", KEYS)
def test_whole_numbers_from_a_file_keep_their_scale(key, tmp_path):
    voxels = (200 * smooth(2, 2, 20, 24)).astype(np.int16)
    image = SimpleITK.JoinSeries([SimpleITK.GetImageFromArray(frame) for frame in voxels])
    SimpleITK.WriteImage(image, str(tmp_path / "cine.nii.gz"))
    sequence = files.read(tmp_path / "cine.nii.gz")
    assert sequence.frames.dtype == np.float32
    result = run(sequence, key)
    assert result.frames.mean() == pytest.approx(voxels.mean(), rel=0.1)
    assert alike(result.frames, sequence.frames) < 0.25


@pytest.mark.parametrize("key", KEYS)
def test_dark_frames_and_huge_values_give_finite_numbers(key):
    images = smooth(3, 1, 16, 20)
    images[1] = 0
    with_dark_frame = sequence_of(images)
    result = run(with_dark_frame, key)
    assert np.abs(result.frames[1]).max() < np.abs(images).max()
    huge = run(replace(with_dark_frame, frames=images * np.float32(1e30)), key)
    assert np.allclose(huge.frames / np.float32(1e30), result.frames, rtol=1e-4, atol=1e-4)
    if key != "ddos-unet":
        dark = run(sequence_of(np.zeros((2, 2, 16, 16), np.float32)), key)
        assert np.isfinite(dark.frames).all()


@pytest.mark.parametrize("key", KEYS)
def test_complex_images_give_the_same_magnitude_whatever_their_phase(key):
    real = sequence_of(smooth(2, 2, 20, 24))
    still, turned = (replace(real, frames=real.frames * np.complex64(phase)) for phase in (1, 1j))
    results = [run(sequence, key, real.with_frames([0])) for sequence in (real, still, turned)]
    assert all(result.frames.dtype == np.float32 for result in results)
    assert np.abs(results[1].frames - results[2].frames).max() < 1e-3
    assert alike(results[2].frames, real.frames) < 0.25
    assert any("complex" in note for note in results[1].notes)
    assert not any("complex" in note for note in results[0].notes)


@pytest.mark.parametrize("key", KEYS)
def test_block_averages_are_moved_to_the_grid_of_the_result(key):
    fine = smooth(1, 1, 48, 64)
    averaged = sequence_of(fine.reshape(1, 1, 24, 2, 32, 2).mean(axis=(3, 5)), np.eye(4))
    prior = ImageSequence(fine, np.diag([0.5, 0.5, 1, 1]) + 0.0, [0.0])
    prior = replace(
        prior, ijk_to_ras=prior.ijk_to_ras + np.array([[0, 0, 0, -0.25], [0, 0, 0, -0.25], [0] * 4, [0] * 4])
    )
    results = {sampling: run(averaged, key, prior, sampling=sampling) for sampling in ("block average", "k-space crop")}
    error = {sampling: np.abs(result.frames - fine).mean() for sampling, result in results.items()}
    assert np.allclose(results["block average"].ijk_to_ras, prior.ijk_to_ras)
    assert any("block averages" in note for note in results["block average"].notes)
    assert error["block average"] < error["k-space crop"]


# Models


@pytest.mark.parametrize(("factor", "model"), [(1.5, "edsr-x2"), (2, "edsr-x2"), (2.5, "edsr-x4"), (6, "edsr-x4")])
def test_edsr_takes_the_network_for_the_factor(factor, model):
    result = run(sequence_of(smooth(1, 1, 20, 20)), "edsr", factor=factor)
    assert result.attributes["STEnhance.Model"].startswith(f"{model} ")


@pytest.mark.parametrize(("key", "shipped"), [("edsr", "edsr-x4"), ("ddos-unet", "ddos-unet"), ("stenhance-sr",) * 2])
def test_a_model_of_ones_own_computes_instead(key, shipped, untrained, tmp_path, monkeypatch):
    kind, configuration = UNTRAINED[shipped]
    torch.manual_seed(11)
    other = networks.build(kind, configuration)
    with torch.no_grad():
        getattr(other, "tail", other.__dict__["_modules"].get("last")).bias.fill_(0.5)
    models.save(tmp_path / "mine", other, "mine", kind, configuration, DESCRIPTION)
    monkeypatch.setenv(models.VARIABLE, f"{tmp_path}{os.pathsep}{untrained}")
    sequence = sequence_of(smooth(1, 1, 20, 20))
    own, usual = run(sequence, key, factor=4, model="mine"), run(sequence, key, factor=4)
    assert own.attributes["STEnhance.Model"].startswith("mine ")
    assert np.abs(own.frames - usual.frames).max() > 1e-3
    with pytest.raises(STEnhanceError, match="There is no model 'yours'"):
        run(sequence, key, model="yours")
    foreign = "ddos-unet" if key == "edsr" else "edsr-x2"
    with pytest.raises(STEnhanceError, match=f"The model {foreign} is a network of the kind"):
        run(sequence, key, model=foreign)


def test_a_model_for_another_purpose_is_refused(untrained, tmp_path, monkeypatch):
    """It has the architecture of the method, but other inputs."""
    kind, configuration = UNTRAINED["ddos-unet"]
    features = networks.build(kind, {**configuration, "inputs": 1})
    models.save(tmp_path / "features", features, "features", kind, configuration, DESCRIPTION | {"task": "training"})
    monkeypatch.setenv(models.VARIABLE, f"{tmp_path}{os.pathsep}{untrained}")
    with pytest.raises(STEnhanceError, match="features is for training; expected one for super-resolution, such as dd"):
        run(sequence_of(smooth(1, 1, 20, 20)), "ddos-unet", model="features")


def test_a_model_of_ones_own_makes_slices_thinner_where_pixels_stay():
    stack = sequence_of(smooth(1, 3, 20, 20))
    own = run(stack, "stenhance-sr", factor=1, slice_factor=2, model="stenhance-sr")
    assert own.attributes["STEnhance.Model"].startswith("stenhance-sr 1")
    both = run(stack, "stenhance-sr", slice_factor=2, model="stenhance-sr-through-plane")
    assert both.grid.shape == (5, 40, 40)
    assert both.attributes["STEnhance.Model"].count("stenhance-sr-through-plane") == 2
    with pytest.raises(STEnhanceError, match="There is no model 'yours'"):
        run(stack, "stenhance-sr", factor=1, slice_factor=2, model="yours")


@pytest.mark.parametrize(("key", "most"), [("edsr", 4), ("stenhance-sr", 5)])
def test_a_factor_that_no_network_was_made_for_is_noted(key, most):
    images = sequence_of(smooth(1, 1, 20, 20))
    assert f"8 times finer, more than {most} times" in " ".join(run(images, key, factor=8).notes)
    assert "times finer" not in " ".join(run(images, key, factor=most).notes)


@pytest.mark.parametrize("key", KEYS)
def test_the_grid_of_the_result_is_known_without_a_prior(key):
    sequence = sequence_of(smooth(2, 3, 20, 24))
    method = find_method(key)
    grid = announcement(method, sequence.grid, parse_parameters(method, {"factor": 2})).grid
    assert grid.shape == run(sequence, key).grid.shape == (3, 40, 48)


# What is measured and what is not


@pytest.mark.parametrize("key", KEYS)
@pytest.mark.parametrize(("shape", "factor"), [((64, 48), 4), ((45, 63), 3), ((50, 41), 2.5), ((32, 33), 2)])
def test_with_data_consistency_the_measured_k_space_is_kept(key, shape, factor):
    small = tuple(round(n / factor) for n in shape)
    low = sequence_of(centre_crop.crop(smooth(2, 2, *shape), small))
    kept = run(low, key, factor=factor, data_consistency=True)
    assert kspace_residual(kept, low) <= 1e-5
    changed = run(low, key, factor=factor, data_consistency=False)
    assert kspace_residual(changed, low) > 1e-3, "else nothing had to be put back"
    assert any("kept exactly" in note for note in kept.notes)
    assert any("all that deviates from it is unsupported" in note for note in changed.notes)


@pytest.mark.parametrize("key", KEYS)
def test_ringing_below_zero_is_part_of_the_measurement(key):
    images = smooth(2, 2, 40, 48)
    images[..., 10:30, 10:30] = 0  # the edges of the hole ring
    low = sequence_of(centre_crop.crop(images - images.mean(), (20, 24)))
    assert (low.frames < 0).mean() > 0.2
    assert kspace_residual(run(low, key, factor=2, data_consistency=True), low) <= 1e-5


@pytest.mark.parametrize("key", KEYS)
@pytest.mark.parametrize("consistent", [True, False])
def test_what_deviates_from_the_measurement_is_unsupported(key, consistent):
    low = sequence_of(smooth(2, 2, 20, 24))
    method = find_method(key)
    parameters = parse_parameters(method, {"data_consistency": consistent})
    for frame, measured in zip(
        enhance(method, low, parameters, prior=low.with_frames([0])).frames, low.frames, strict=True
    ):
        invented = frame.voxels - centre_crop.zero_fill(measured, frame.voxels.shape[-2:])
        if consistent:  # then that is the same as what lies beyond the measured k-space
            inside = centre_crop.zero_fill(centre_crop.crop(frame.voxels, (20, 24)), (40, 48))
            assert np.abs(invented - (frame.voxels - inside)).max() < 1e-4
        expected = np.minimum(np.abs(invented) / np.abs(frame.voxels), 1)
        assert np.abs(frame.unsupported - expected).max() < 1e-4
        assert expected.max() > 1e-3


# STEnhance-SR


def test_neighbouring_frames_help_noisy_ones_and_those_of_a_cycle_go_around(beating_disc):
    noise = 0.03 * beating_disc.frames.max() * np.random.default_rng(0).standard_normal(beating_disc.frames.shape)
    noisy = replace(beating_disc, frames=(beating_disc.frames + noise).astype(np.float32))

    def moved_by(changed: int, **settings) -> np.ndarray:
        """(T,) how much each frame of the result changes with one frame of the input."""
        frames = noisy.frames.copy()
        frames[changed] = 0.5 * frames[changed, :, ::-1]
        sequences = (replace(noisy, frames=f, periodic=settings.get("cycle", True)) for f in (noisy.frames, frames))
        known = {"neighbours": settings.get("neighbours", True), "data_consistency": True}
        one, other = (run(s, "stenhance-sr", **known) for s in sequences)
        return np.abs(one.frames - other.frames).max(axis=(1, 2, 3)) > 1e-2 * noisy.frames.max()

    frames = np.arange(8)
    assert np.array_equal(frames[moved_by(7)], [0, 6, 7])
    assert np.array_equal(frames[moved_by(7, cycle=False)], [6, 7])
    assert np.array_equal(frames[moved_by(3)], [2, 3, 4])
    assert np.array_equal(frames[moved_by(3, neighbours=False)], [3])
    assert find_method("stenhance-sr").preview_frames == 3


def test_real_and_imaginary_parts_are_kept_as_measured():
    images = (smooth(1, 2, 15, 21)[0] * np.exp(1j * smooth(1, 2, 15, 21)[0])).astype(np.complex64)
    finer = in_plane.finer(
        in_plane.Scan((15, 21), lambda _t: images, None, None, 0.0),
        lambda t: (t, t, t),
        (40, 50),
        None,
        model="stenhance-sr",
        placement=Placement([]),
        consistency=AUTO,
    )
    fine, supported = finer(0)
    assert fine.dtype == supported.dtype == np.complex64
    assert np.abs(supported - centre_crop.zero_fill(images, (40, 50))).max() < 1e-4
    assert np.abs(fine - supported).max() > 1e-2
    assert np.abs(centre_crop.crop(fine, (15, 21)) - images).max() < 1e-5 * np.abs(images).max()


def test_slices_are_made_thinner_and_the_thick_ones_kept(beating_disc):
    thick = simulate(
        replace(beating_disc, frames=np.repeat(beating_disc.frames, 3, axis=1)[:2], times_ms=[0, 50]), "z4"
    ).sequence
    result = run(thick, "stenhance-sr", factor=1, slice_factor=4)
    assert result.grid.shape == (9, 40, 48)
    assert np.allclose(result.ijk_to_ras, beating_disc.ijk_to_ras)
    undone = np.sqrt(32**2 - 2 * (2.355 * 2) ** 2) / 32  # of slices 32 mm thick that lie off by 2 mm
    again = thick_slices.measure(result.frames, 3, 4, undone)
    assert np.linalg.norm(again - thick.frames) < 1e-5 * np.linalg.norm(thick.frames)
    plain = thick_slices.start(thick.frames, 4)
    assert np.abs(result.frames - plain).max() > 1e-2, "else no network took part"
    assert result.attributes["STEnhance.Model"].startswith("stenhance-sr-through-plane ")
    shares = unsupported_per_frame(result)
    assert (shares > 0).all() and (shares < 0.5).all()


def test_slices_moved_together_are_computed_anew_even_if_there_are_no_more_of_them():
    thick = sequence_of(smooth(1, 2, 20, 24))
    result = run(thick, "stenhance-sr", factor=1, slice_factor=1.5, position_error_mm=0)
    assert result.grid.shape == (2, 20, 24)
    assert np.allclose(result.grid.spacing_mm[2], 8 / 1.5)
    again = thick_slices.measure(result.frames, 2, 1.5)
    assert np.linalg.norm(again - thick.frames) < 1e-5 * np.linalg.norm(thick.frames)
    assert np.abs(result.frames - thick.frames).max() > 1e-2
    assert any("profile was taken as Gaussian" in note for note in result.notes)


def test_both_pixels_and_slices_can_be_made_finer_at_once(oblique_matrix):
    low = sequence_of(smooth(3, 4, 15, 20), oblique_matrix, periodic=True)
    for frames in (low.frames, low.frames * np.complex64(np.exp(0.3j))):
        given = replace(low, frames=frames)
        exactly = {"data_consistency": True, "position_error_mm": 0}
        result = run(given, "stenhance-sr", factor=2, slice_factor=1.5, **exactly)
        assert result.frames.shape == (3, 5, 30, 40)
        assert np.allclose(result.ijk_to_ras @ [2, 2, 3, 1], oblique_matrix @ [1, 1, 2, 1])
        if frames is low.frames:
            measured = centre_crop.crop(thick_slices.measure(result.frames, 4, 1.5), (15, 20))
            assert np.linalg.norm(measured - low.frames) < 1e-5 * np.linalg.norm(low.frames)
            assert result.attributes["STEnhance.Model"].count("sha256") == 2


def test_slices_too_thin_for_their_errors_of_position_stay_as_they_are(oblique_matrix):
    thin = sequence_of(smooth(1, 4, 20, 24), oblique_matrix @ np.diag([1, 1, 5 / 8, 1]))
    result = run(thin, "stenhance-sr", factor=1, slice_factor=2)
    assert np.abs(result.frames[:, ::2] - thin.frames).max() < 1e-4 * thin.frames.max()
    assert any("thickness was not undone, since they may lie 2 mm from" in note for note in result.notes)
    assert any("for display rather than for detail" in note for note in result.notes)
    assert any("taken as 5 mm thick, without gaps, since no header" in note for note in result.notes)


def test_slices_are_as_thick_as_the_header_says():
    known = replace(sequence_of(smooth(1, 3, 20, 24)), attributes={"DICOM.SliceThickness": "10"})
    result = run(known, "stenhance-sr", factor=1, slice_factor=2)
    assert any("10 mm thick and 8 mm apart, as the header says" in note for note in result.notes)
    undone = np.sqrt(10**2 - 2 * (2.355 * 2) ** 2) / 8
    again = thick_slices.measure(result.frames, 3, 2, undone)
    assert np.linalg.norm(again - known.frames) < 1e-4 * np.linalg.norm(known.frames)


def test_slices_are_aligned_on_request_before_they_are_made_thinner():
    stack = np.repeat(smooth(1, 1, 48, 56), 6, axis=1)
    stack[:, 3] = np.roll(stack[:, 3], 3, axis=-1)
    plain, aligned = (run(sequence_of(stack), "stenhance-sr", factor=1, slice_factor=2, align=on) for on in (0, 1))
    assert any(note.startswith("Moved: slice 4 by") for note in aligned.notes)
    assert not any(note.startswith("Moved") for note in plain.notes)
    assert np.abs(np.diff(aligned.frames, axis=1)).mean() < 0.7 * np.abs(np.diff(plain.frames, axis=1)).mean()


def test_slices_that_cannot_be_told_apart_are_refused():
    one = sequence_of(smooth(1, 1, 16, 16))
    with pytest.raises(STEnhanceError, match=r"factor of 2 was given for 1 slice; expected 1, or from 1.5 to 4"):
        run(one, "stenhance-sr", slice_factor=2)
    with pytest.raises(STEnhanceError, match=r"slice factor of 1.2 was given for 3 slices"):
        run(sequence_of(smooth(1, 3, 16, 16)), "stenhance-sr", slice_factor=1.2)


def test_where_nothing_finer_is_asked_for_nothing_changes(beating_disc):
    result = run(beating_disc, "stenhance-sr", factor=1)
    assert np.allclose(result.frames, beating_disc.frames, rtol=1e-6)
    assert "as they were" in result.notes[0]
    assert "STEnhance.Model" not in result.attributes
