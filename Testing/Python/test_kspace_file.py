"""The measurement as a value and as a file: parts that belong together, whole files, else one clear sentence."""

from __future__ import annotations

import dataclasses
import re

import numpy as np
import pytest

from STEnhanceLib.acquisition.kspace import KSpace
from STEnhanceLib.acquisition.simulate import simulate
from STEnhanceLib.errors import STEnhanceError
from STEnhanceLib.sequence import ImageSequence

torch = pytest.importorskip("torch")
pytest.importorskip("torchkbnufft")
pytestmark = pytest.mark.usefixtures("one_thread")

from STEnhanceLib.acquisition.cartesian import interleaved_mask  # noqa: E402
from STEnhanceLib.acquisition.operators import slice_operators  # noqa: E402
from STEnhanceLib.acquisition.radial import ramp_density  # noqa: E402


@pytest.fixture(scope="module")
def measured() -> dict[str, KSpace]:
    """Nine frames of six slices, an off-centre blob that moves to the right, as each acquisition measures it."""
    frame, k, j, i = np.mgrid[:9, :6, :32, :32]
    frames = 50 * np.exp(-((k - 2.5) ** 2 / 6 + (j - 12) ** 2 / 20 + (i - 14 - frame / 2) ** 2 / 20))
    blob = ImageSequence(frames.astype(np.float32), np.diag([2, 2, 4, 1.0]), 30.0 * np.arange(9), True, "blob")
    return {key: simulate(blob, key).kspace for key in ("c4", "c8", "r13")}


@pytest.mark.parametrize("key", ["c8", "r13"])
def test_k_space_survives_its_file(measured, tmp_path, key):
    saved = measured[key]
    path = tmp_path / "measurement.npz"
    saved.save(path)
    assert [p.name for p in tmp_path.iterdir()] == ["measurement.npz"]
    loaded = KSpace.load(path)
    for name in ("samples", "coil_sensitivities", "mask", "trajectory"):
        np.testing.assert_array_equal(getattr(loaded, name), getattr(saved, name))
    assert loaded.noise_std == saved.noise_std
    assert (loaded.grid.shape, loaded.grid.periodic) == (saved.grid.shape, saved.grid.periodic)
    np.testing.assert_array_equal(loaded.grid.ijk_to_ras, saved.grid.ijk_to_ras)
    np.testing.assert_array_equal(loaded.grid.times_ms, saved.grid.times_ms)


def _gridded(of_slice) -> torch.Tensor:
    operator, samples = of_slice
    return operator.gridded(samples)


def _averaged(of_slice) -> torch.Tensor:
    operator, samples = of_slice
    return operator.time_average(samples)


def test_gridding_takes_the_density_that_came_with_the_spokes(measured, tmp_path):
    """Spokes that were measured twice stand for half of their area each; only their density tells."""
    once = measured["r13"]
    area = ramp_density(torch.tensor(once.trajectory), once.grid.shape[1:]).numpy()
    again, shares = np.s_[:, :3], np.concatenate([area[:, :3] / 2, area[:, :3] / 2, area[:, 3:]], axis=1)
    twice = dataclasses.replace(
        once,
        samples=np.concatenate([once.samples[:, :, :, :3], once.samples], axis=3),
        trajectory=np.concatenate([once.trajectory[again], once.trajectory], axis=1),
    )
    told = dataclasses.replace(twice, density=shares)

    def gridded(kspace):
        return np.stack(list(map(_gridded, slice_operators(kspace, "cpu"))), axis=1)

    expected = gridded(once)
    np.testing.assert_allclose(gridded(told), expected, atol=1e-5 * np.abs(expected).max())
    assert np.linalg.norm(gridded(twice) - expected) > 0.1 * np.linalg.norm(expected)
    told.save(tmp_path / "measurement.npz")
    np.testing.assert_array_equal(KSpace.load(tmp_path / "measurement.npz").density, told.density)
    np.testing.assert_array_equal(told.frame(4).density, told.density[4:5])


@pytest.mark.parametrize("unit", [12, 1e-6, np.geomspace(0.1, 10, 9)[:, None, None]], ids=["12", "tiny", "per frame"])
def test_a_density_on_any_scale_gives_the_same_images_and_a_note(measured, tmp_path, unit):
    """Programs make the largest or the sum 1, of all frames or of each; the area is known up to that."""
    once = measured["r13"]
    area = ramp_density(torch.tensor(once.trajectory), once.grid.shape[1:]).numpy()
    known, scaled = dataclasses.replace(once, density=area), dataclasses.replace(once, density=unit * area)

    for of_unit, of_area in zip(slice_operators(scaled, "cpu"), slice_operators(known, "cpu"), strict=True):
        for found, expected in ((kind(of_unit), kind(of_area)) for kind in (_gridded, _averaged)):
            assert (found - expected).abs().max() < 0.02 * expected.abs().max()
    assert np.array_equal(known.density, area) and not known.notes
    said = re.findall(r"images about (\S+) times as bright as the object", " ".join(scaled.notes))
    assert list(map(float, said)) == pytest.approx([np.median(unit)], rel=0.02)
    scaled.save(tmp_path / "measurement.npz")
    again = KSpace.load(tmp_path / "measurement.npz")
    assert again.notes == scaled.notes, "it came on that scale once"
    np.testing.assert_array_equal(again.frame(4).density, scaled.density[4:5])


def test_the_scale_of_a_density_is_noted_where_coil_maps_are_estimated_too(measured):
    once = measured["r13"]
    area = ramp_density(torch.tensor(once.trajectory), once.grid.shape[1:]).numpy()
    kspace = KSpace.without_coil_maps(once.samples, once.grid, trajectory=once.trajectory, density=3 * area)
    assert ["scale" in note for note in kspace.notes] == [True, False]


def test_cartesian_file_holds_only_measured_lines(measured, tmp_path):
    kspace = measured["c8"]
    kspace.save(tmp_path / "c8.npz")
    all_lines = kspace.samples.nbytes + kspace.coil_sensitivities.nbytes
    assert (tmp_path / "c8.npz").stat().st_size < 0.6 * all_lines


def with_nan(kspace: KSpace) -> dict:
    samples = kspace.samples.copy()
    samples[2, 0, 0, 0, 0] = np.nan
    return {"samples": samples}


def without_frame(kspace: KSpace) -> dict:
    samples = kspace.samples.copy()
    samples[1] = 0
    return {"samples": samples}


def without_frame_of_a_slice(kspace: KSpace) -> dict:
    samples = kspace.samples.copy()
    samples[1, 2] = 0
    return {"samples": samples}


def with_infinite_trajectory(kspace: KSpace) -> dict:
    trajectory = kspace.trajectory.copy()
    trajectory[0, 3, 5] = np.inf
    return {"trajectory": trajectory}


def dark_in_slice_2(kspace: KSpace) -> np.ndarray:
    coils = kspace.coil_sensitivities.copy()
    coils[1] = 0
    return coils


@pytest.mark.parametrize(
    ("key", "change", "needle"),
    [
        ("c4", with_nan, "NaN or infinite"),
        ("r13", with_nan, "NaN or infinite"),
        ("r13", without_frame, "frame 2 of 9 all k-space samples are 0"),
        ("c8", without_frame_of_a_slice, "frame 2 of 9 all k-space samples are 0 in slice 3"),
        ("r13", without_frame_of_a_slice, "frame 2 of 9 all k-space samples are 0 in slice 3"),
        ("r13", lambda k: {"samples": k.samples[..., :0, :]}, "at least one spoke"),
        ("r13", lambda k: {"samples": k.samples[..., :7, :]}, r"expected \(9, 7, 64, 2\)"),
        ("r13", lambda k: {"trajectory": k.trajectory[:, :, 1:]}, r"expected \(9, 13, 64, 2\)"),
        ("r13", lambda k: {"trajectory": k.trajectory[0]}, r"expected \(9, 13, 64, 2\)"),
        ("r13", with_infinite_trajectory, "trajectory of k-space hold NaN or infinite"),
        ("r13", lambda k: {"samples": k.samples[:, :, :5]}, "samples of k-space have shape .* with 8 coils"),
        ("c4", lambda k: {"samples": k.samples[:, :, :5]}, "with 8 coils"),
        ("r13", lambda k: {"coil_sensitivities": k.coil_sensitivities[:, :7]}, "with 7 coils"),
        ("c4", lambda k: {"coil_sensitivities": k.coil_sensitivities[..., :30]}, "coil sensitivities of k-space have"),
        ("c4", lambda k: {"samples": k.samples[1:]}, "for 9 frames"),
        ("c4", lambda k: {"mask": k.mask[:, :31]}, "mask of k-space have shape"),
        (
            "c4",
            lambda k: {"mask": np.roll(k.mask, 16, axis=1), "samples": np.roll(k.samples, 16, axis=3)},
            "centre of k-space",
        ),
        ("c4", lambda k: {"mask": interleaved_mask(9, 32, 8)}, "samples on lines that its mask leaves out"),
        ("c4", lambda k: {"mask": None}, "neither of mask and trajectory"),
        ("r13", lambda k: {"mask": np.ones((9, 32), bool)}, "both of mask and trajectory"),
        ("r13", lambda k: {"trajectory": k.trajectory[:, :-1]}, "trajectory of k-space have shape"),
        ("r13", lambda k: {"trajectory": k.trajectory * 2}, "reaches 6.283 radians per pixel"),
        ("r13", lambda k: {"trajectory": k.trajectory / (2 * np.pi)}, "Multiply cycles per pixel by 2π"),
        ("r13", lambda k: {"trajectory": k.trajectory[:, :, 32:33], "samples": k.samples[..., 32:33]}, "1 sample each"),
        ("r13", lambda k: {"density": np.ones((9, 13, 63))}, r"density of k-space have shape \(9, 13, 63\)"),
        ("r13", lambda k: {"density": np.full((9, 13, 64), np.nan)}, "density of k-space hold NaN"),
        ("r13", lambda k: {"density": np.linalg.norm(k.trajectory, axis=-1)}, "goes down to 0; expected areas above 0"),
        ("c4", lambda k: {"density": np.ones((9, 32, 32))}, "density came with Cartesian lines"),
        ("c4", lambda k: {"samples": np.abs(k.samples)}, "samples of k-space are real numbers"),
        ("r13", lambda k: {"noise_std": -k.noise_std}, "standard deviation of -.*; expected 0 or more"),
        ("r13", lambda k: {"noise_std": float("inf")}, "standard deviation of inf"),
        ("c4", lambda k: {"coil_sensitivities": 10 * k.coil_sensitivities}, "root-sum-of-squares of 10; expected 1"),
        ("r13", lambda k: {"coil_sensitivities": dark_in_slice_2(k)}, "slice 2 have a root-sum-of-squares of 0"),
    ],
)
def test_parts_that_do_not_belong_together_are_refused(measured, key, change, needle):
    kspace = measured[key]
    with pytest.raises(STEnhanceError, match=needle):
        dataclasses.replace(kspace, **change(kspace))


def test_files_that_hold_no_k_space_are_refused(measured, tmp_path):
    with pytest.raises(STEnhanceError, match="There is no k-space file"):
        KSpace.load(tmp_path / "absent.npz")
    np.savez(tmp_path / "other.npz", a=np.ones(3))
    np.save(tmp_path / "array.npy", np.ones(3))
    (tmp_path / "text.npz").write_text("not a file of arrays")
    (tmp_path / "empty.npz").touch()
    measured["r13"].save(tmp_path / "good.npz")
    (tmp_path / "short.npz").write_bytes((tmp_path / "good.npz").read_bytes()[:-3000])
    damaged = bytearray((tmp_path / "good.npz").read_bytes())
    damaged[5000:5100] = bytes(100)
    (tmp_path / "damaged.npz").write_bytes(damaged)
    for name in ("other.npz", "array.npy", "text.npz", "empty.npz", "short.npz", "damaged.npz"):
        with pytest.raises(STEnhanceError, match=name):
            KSpace.load(tmp_path / name)


def test_coil_maps_that_are_0_outside_the_body_are_taken(measured):
    coils = measured["c8"].coil_sensitivities.copy()
    coils[..., :12] = 0
    assert dataclasses.replace(measured["c8"], coil_sensitivities=coils).coils == 8


@pytest.mark.parametrize(
    ("change", "needle"),
    [
        (lambda arrays: arrays.pop("samples"), "lacks samples; expected samples, shape"),
        (lambda arrays: (arrays.pop("shape"), arrays.pop("times_ms")), "lacks shape, times_ms"),
        (lambda arrays: arrays.update(samples=np.abs(arrays["samples"])), "samples of k-space are real numbers"),
        (lambda arrays: arrays.update(noise_std=np.array("loud")), "array of a wrong kind .*loud.*; expected"),
    ],
)
def test_what_a_file_lacks_or_has_of_a_wrong_kind_is_named(measured, tmp_path, change, needle):
    path = tmp_path / "measurement.npz"
    measured["c8"].save(path)
    with np.load(path) as file:
        arrays = dict(file)
    change(arrays)
    np.savez(path, **arrays)
    with pytest.raises(STEnhanceError, match=needle):
        KSpace.load(path)


def test_a_file_that_cannot_be_written_leaves_nothing_behind(measured, tmp_path):
    kspace = measured["r13"]
    (tmp_path / "taken.npz").mkdir()
    with pytest.raises(STEnhanceError, match="could not be written"):
        kspace.save(tmp_path / "taken.npz")
    assert [p.name for p in tmp_path.iterdir()] == ["taken.npz"]
    with pytest.raises(STEnhanceError, match="could not be written"):
        kspace.save(tmp_path / "absent" / "k.npz")


def test_an_interrupted_write_leaves_the_old_measurement_and_nothing_else(measured, tmp_path, monkeypatch):
    measured["r13"].save(tmp_path / "k.npz")
    before = (tmp_path / "k.npz").read_bytes()

    def interrupt(*_, **__):
        raise KeyboardInterrupt

    monkeypatch.setattr(np, "savez", interrupt)
    with pytest.raises(KeyboardInterrupt):
        measured["r13"].save(tmp_path / "k.npz")
    assert [p.name for p in tmp_path.iterdir()] == ["k.npz"]
    assert (tmp_path / "k.npz").read_bytes() == before


def test_one_frame_of_a_measurement_is_a_measurement(measured):
    for key in ("c4", "r13"):
        kspace = measured[key]
        one = kspace.frame(4)
        np.testing.assert_array_equal(one.samples[0], kspace.samples[4])
        assert list(one.grid.times_ms) == [kspace.grid.times_ms[4]]
