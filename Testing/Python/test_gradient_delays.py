"""Late gradients: found in the spokes themselves and undone wherever spokes become images, and said so."""

from __future__ import annotations

import dataclasses
import importlib.util
import json
import shutil
from pathlib import Path

import numpy as np
import pytest
import raw_data

from STEnhanceLib import cli, files, given
from STEnhanceLib.acquisition import delays
from STEnhanceLib.acquisition.kspace import KSpace
from STEnhanceLib.acquisition.simulate import LATEST, simulate
from STEnhanceLib.errors import STEnhanceError
from STEnhanceLib.evaluation.cases import find_cases
from STEnhanceLib.evaluation.protocols import middle_slices
from STEnhanceLib.methods import find_method, run
from STEnhanceLib.phantoms.thorax import Thorax
from STEnhanceLib.sequence import ImageSequence

torch = pytest.importorskip("torch")
pytest.importorskip("torchkbnufft")
pytestmark = pytest.mark.usefixtures("one_thread")

EXACT = 0.01  # samples; the issue of these tests is 0.05
LATE = np.array([[0.4, 0.0], [0.0, 1.3]])
SCRIPT = Path(__file__).parents[1] / "benchmarks" / "gradient_delays.py"


@pytest.fixture(scope="module")
def thorax() -> ImageSequence:
    return Thorax(breathing_mm=10).cine(frames=6, matrix=64, slices=2)


@pytest.fixture(scope="module")
def on_time(thorax) -> KSpace:
    return simulate(thorax, "r13").kspace


@pytest.fixture(scope="module")
def late(thorax) -> KSpace:
    return simulate(thorax, "r13", late=LATE).kspace


def with_drift(kspace: KSpace, degrees: float) -> KSpace:
    frames, slices, _, spokes, _ = kspace.samples.shape
    phases = np.deg2rad(degrees) * np.random.default_rng(0).standard_normal((frames, slices, 1, spokes, 1))
    return dataclasses.replace(kspace, samples=kspace.samples * np.exp(1j * phases))


def told(kspace: KSpace) -> str:
    """What correcting it adds to its notes."""
    return " ".join(delays.in_place(kspace).notes[len(kspace.notes) :])


class TestFound:
    @pytest.mark.parametrize("planted", [(0, 0, 0), (0.5, 0.5, 0), (1.5, 0, 0), (0.3, 1.2, 0.1), (-1, 3, 0)])
    def test_what_was_planted_in_the_phantom(self, thorax, planted):
        rows, columns, across = planted
        true = np.array([[rows, across], [across, columns]])
        found = delays.find(simulate(thorax.part([0, 1, 2], slice(0, 1)), "r13", late=true).kspace)
        np.testing.assert_allclose(found.late, true, atol=EXACT)

    @pytest.mark.parametrize("planted", [(0, 0), (0.5, 0.9), (1.5, 1.5)])
    def test_what_was_planted_in_a_real_heart(self, stenhance_data, planted):
        (case,) = find_cases(stenhance_data / "cine", ("scd0000301_sax",))
        heart = middle_slices(case.read(), 1).part([0, 5, 10, 15], slice(0, 1))
        found = delays.find(simulate(heart, "r13", late=np.diag(planted)).kspace)
        np.testing.assert_allclose(found.late, np.diag(planted), atol=EXACT)
        assert found.doubt < 2 * EXACT and found.phases is None

    def test_a_single_frame_and_a_single_coil_are_enough(self, late):
        one = dataclasses.replace(
            late.frame(2), samples=late.samples[2:3, :, :1], coil_sensitivities=np.ones((2, 1, 64, 64), np.complex64)
        )
        np.testing.assert_allclose(delays.find(one).late, LATE, atol=EXACT)

    def test_more_spokes_than_are_fitted(self, late, monkeypatch):
        monkeypatch.setattr(delays, "MOST_SPOKES", 20)
        found = delays.find(with_drift(late, 15))
        np.testing.assert_allclose(found.late, LATE, atol=EXACT)
        assert found.phases.shape == (6, 2, 13)

    def test_spokes_that_all_run_in_one_sense(self, thorax, on_time):
        from STEnhanceLib.acquisition.radial import RadialOperator

        angle, radius = np.pi / 16 * np.arange(16)[:, None], np.pi / 64 * (np.arange(128) - 64)
        half = np.stack([radius * np.sin(angle), radius * np.cos(angle)], axis=-1)[None].astype(np.float32)
        scanner = RadialOperator(
            torch.from_numpy(delays.moved(half, LATE)), torch.tensor(on_time.coil_sensitivities[0])
        )
        samples = scanner.forward(torch.from_numpy(thorax.frames[:1, 0].astype(np.complex64))).numpy()
        one = on_time.part([0], slice(0, 1))
        found = delays.find(dataclasses.replace(one, samples=samples[:, None], trajectory=half))
        np.testing.assert_allclose(found.late, LATE, atol=EXACT)

    def test_the_unit_of_the_samples_does_not_matter(self, late):
        loud = dataclasses.replace(late, samples=np.float32(1e16) * late.samples)
        np.testing.assert_allclose(delays.find(loud).late, delays.find(late).late, atol=1e-4)

    def test_a_slice_that_disagrees_is_outvoted(self, thorax):
        three = Thorax(breathing_mm=0).cine(frames=2, matrix=48, slices=3)
        kspace = simulate(three, "r13", late=LATE).kspace
        samples = kspace.samples.copy()
        samples[:, 2] = simulate(three, "r13", late=2 * LATE).kspace.samples[:, 2]
        found = delays.find(dataclasses.replace(kspace, samples=samples))
        np.testing.assert_allclose(found.late, LATE, atol=EXACT)


class TestUndone:
    def test_spokes_move_to_where_they_were_measured(self, late):
        before = late.trajectory.copy(), late.samples.copy()
        corrected = delays.in_place(late)
        true = delays.moved(late.trajectory, LATE)
        step = 2 * np.pi / late.trajectory.shape[2]
        assert np.abs(corrected.trajectory - true).max() < EXACT * step
        np.testing.assert_array_equal(late.trajectory, before[0])
        np.testing.assert_array_equal(late.samples, before[1])
        assert corrected.samples is late.samples or np.array_equal(corrected.samples, late.samples)
        assert "late by 0.40 (rows) and 1.30 (columns) samples of the readout" in told(late)

    def test_gradients_on_time_change_nothing(self, on_time):
        corrected = delays.in_place(on_time)
        np.testing.assert_array_equal(corrected.trajectory, on_time.trajectory)
        np.testing.assert_array_equal(corrected.samples, on_time.samples)
        assert "The gradients were on time" in told(on_time)

    def test_what_is_within_its_doubt_changes_nothing(self, late, monkeypatch):
        unsure = delays.Delays(np.diag([0.2, 0.1]), np.full((2, 2), 0.1))
        monkeypatch.setattr(delays, "find", lambda kspace: unsure)
        np.testing.assert_array_equal(delays.in_place(late).trajectory, late.trajectory)
        assert "no delay of more than 0.3 samples" in told(late)

    @pytest.mark.parametrize("degrees", [5, 60])
    def test_a_phase_that_wanders_from_spoke_to_spoke(self, late, degrees):
        wandering = with_drift(late, degrees)
        corrected = delays.in_place(wandering)
        for index in range(2):
            found, true = corrected.samples[:, index], late.samples[:, index]
            common = np.vdot(true, found) / abs(np.vdot(true, found))  # the mean phase of a slice is free
            assert np.linalg.norm(found / common - true) < 0.02 * np.linalg.norm(true)
        np.testing.assert_allclose(delays.find(wandering).late, LATE, atol=EXACT)
        assert "The phase of the spokes wandered by" in told(wandering)

    def test_axes_that_act_on_each_other_are_told(self, thorax):
        true = np.array([[0.5, 0.2], [0.2, 0.5]])
        assert "0.50 (rows), 0.50 (columns) and 0.20 (each by the other)" in told(
            simulate(thorax, "r13", late=true).kspace
        )


class TestLeftAlone:
    """What no delays can be told of keeps its trajectory, and the note says why."""

    def alone(self, kspace: KSpace, why: str) -> None:
        np.testing.assert_array_equal(delays.in_place(kspace).trajectory, kspace.trajectory)
        assert told(kspace) == delays.NOT_SOUGHT.format(why)

    def test_few_directions(self, late):
        few = dataclasses.replace(late, samples=late.samples[:1, ..., :5, :], trajectory=late.trajectory[:1, :5],
                                  grid=late.grid.part([0], slice(None)))  # fmt: skip
        self.alone(few, "there are spokes in 5 directions only, and 8 are needed")

    def test_curved_spokes(self, late):
        angle = np.linspace(0, 1, 128)[:, None]
        radial = late.trajectory
        curved = radial * np.cos(angle) + radial[..., ::-1] * np.sin(angle) * [1, -1]
        self.alone(dataclasses.replace(late, trajectory=curved), "the spokes are not straight")

    def test_lines_beside_the_centre(self, late):
        beside = dataclasses.replace(late, trajectory=0.9 * late.trajectory + 0.3)
        self.alone(beside, "the spokes do not all lead through the centre of k-space")

    def test_half_spokes(self, late):
        half = dataclasses.replace(late, samples=late.samples[..., 64:], trajectory=late.trajectory[:, :, 64:])
        self.alone(half, "the spokes do not lead from one side of the centre of k-space to the other")

    def test_samples_of_another_trajectory(self, late):
        mixed = dataclasses.replace(late, trajectory=late.trajectory[:, np.random.default_rng(0).permutation(13)])
        np.testing.assert_array_equal(delays.in_place(mixed).trajectory, mixed.trajectory)
        assert "of the centre of k-space whatever the delays" in told(mixed)

    def test_an_asymmetric_echo_is_no_hindrance(self, late):
        partial = dataclasses.replace(late, samples=late.samples[..., 40:], trajectory=late.trajectory[:, :, 40:])
        np.testing.assert_allclose(delays.find(partial).late, LATE, atol=EXACT)

    def test_lines(self, thorax):
        kspace = simulate(thorax, "c4").kspace
        assert delays.in_place(kspace) is kspace


def error(images: np.ndarray, truth: ImageSequence) -> float:
    return float(np.linalg.norm(images - truth.frames) / np.linalg.norm(truth.frames))


@pytest.mark.parametrize("key", ["temporal-tv", "low-rank-sparse", "locally-low-rank"])
def test_a_method_corrects_unless_it_is_switched_off_and_says_so(thorax, late, on_time, key):
    method = find_method(key)
    streaky = dataclasses.replace(thorax)

    def result(kspace: KSpace, **settings) -> ImageSequence:
        return run.enhance_all(method, streaky, method.parameters(iterations=15, **settings), kspace=kspace)

    ideal, corrected, left = result(on_time), result(late), result(late, delays=False)
    assert error(corrected.frames, thorax) < 1.1 * error(ideal.frames, thorax) < 0.7 * error(left.frames, thorax)
    assert any("late by 0.40 (rows) and 1.30 (columns)" in note for note in corrected.notes)
    assert delays.SWITCHED_OFF in left.notes
    assert not any("late by" in note for note in left.notes)
    assert any("The gradients were on time" in note for note in ideal.notes)


def test_the_network_corrects_too(thorax, late, untrained):
    method = find_method("xt-yt")
    started = run.enhance(method, thorax, method.parameters(), kspace=late)
    list(started.frames)
    assert any("late by 0.40 (rows) and 1.30 (columns)" in note for note in started.notes)


def test_gridding_and_images_of_a_measurement_are_those_of_the_true_trajectory(thorax, late, tmp_path):
    late.save(tmp_path / "late.npz")
    before = (tmp_path / "late.npz").read_bytes()
    true = dataclasses.replace(late, trajectory=delays.moved(late.trajectory, LATE))
    method = find_method("gridding")
    expected = run.enhance_all(method, thorax, method.parameters(delays=False), kspace=true).frames

    gridded = run.enhance_all(method, thorax, method.parameters(), kspace=late)
    images = given.images(tmp_path / "late.npz")
    as_it_says = given.images(tmp_path / "late.npz", delays=False)

    scale = expected.max()
    np.testing.assert_allclose(gridded.frames, expected, atol=0.01 * scale)
    np.testing.assert_allclose(images.frames, expected, atol=0.01 * scale)
    assert np.abs(as_it_says.frames - expected).max() > 0.1 * scale
    for notes in (gridded.notes, images.notes):
        assert any("late by" in note for note in notes)
    assert not any("late by" in note for note in as_it_says.notes)
    assert (tmp_path / "late.npz").read_bytes() == before


def test_raw_data_of_a_scanner_with_late_gradients(thorax, late, on_time, tmp_path):
    pytest.importorskip("ismrmrd")
    read = KSpace.load(raw_data.write(tmp_path / "late.h5", late))
    ideal = KSpace.load(raw_data.write(tmp_path / "good.h5", on_time))
    np.testing.assert_allclose(read.trajectory, late.trajectory, atol=1e-5)  # as the file says

    body = thorax.frames.min(0) > 0.05 * np.percentile(thorax.frames, 99.9)
    agreement = np.abs((read.coil_sensitivities.conj() * ideal.coil_sensitivities).sum(1))[body]
    assert agreement.mean() > 0.999
    method = find_method("gridding")
    sequence = ImageSequence(thorax.frames, read.grid.ijk_to_ras, read.grid.times_ms)
    result = run.enhance_all(method, sequence, method.parameters(), kspace=read)
    assert any("late by 0.40 (rows) and 1.30 (columns)" in note for note in result.notes)


def test_a_trajectory_may_begin_before_the_edge_as_late_gradients_make_it(late):
    moved = dataclasses.replace(late, trajectory=delays.moved(late.trajectory, LATE))
    assert np.abs(moved.trajectory).max() > np.pi
    with pytest.raises(STEnhanceError, match="expected −π … π"):
        dataclasses.replace(late, trajectory=delays.moved(late.trajectory, 6 * np.eye(2)))


class TestProtocol:
    def test_the_file_says_where_samples_were_meant_to_lie_and_the_record_where_they_do(self, thorax, on_time):
        spoilt = simulate(thorax, "r13d")
        np.testing.assert_array_equal(spoilt.kspace.trajectory, on_time.trajectory)
        truth = json.loads(spoilt.sequence.attributes["STEnhance.Simulated"])["delays_in_samples"]
        assert truth["rows"] != truth["columns"]
        assert 0 <= min(truth.values()) <= max(truth.values()) <= LATEST
        found = delays.find(spoilt.kspace).late
        np.testing.assert_allclose(found, np.diag([truth["rows"], truth["columns"]]), atol=EXACT)

    def test_delays_are_drawn_by_the_seed(self, beating_disc):
        drawn = {simulate(beating_disc, "r20d", seed=s).sequence.attributes["STEnhance.Simulated"] for s in (0, 0, 1)}
        assert len(drawn) == 2

    def test_lines_have_none(self, beating_disc):
        with pytest.raises(STEnhanceError, match="no acquisition 'c8d'"):
            simulate(beating_disc, "c8d")


def test_the_command_line_simulates_corrects_and_can_leave_as_is(thorax, tmp_path, capsys):
    cine, streaky, spokes, out = (tmp_path / name for name in ("a.seq.nrrd", "b.seq.nrrd", "k.npz", "c.seq.nrrd"))
    files.write(thorax, cine)
    assert cli.main(["simulate", str(cine), str(streaky), "--acquisition", "r13d", "--keep-kspace", str(spokes)]) == 0
    capsys.readouterr()
    enhance = ["enhance", str(spokes), str(out), "--method", "gridding"]
    assert cli.main(enhance) == 0
    assert "The gradients were late by" in " ".join(capsys.readouterr().out.split())
    assert cli.main([*enhance, "--set", "delays=off"]) == 0
    assert "switched off" in " ".join(capsys.readouterr().out.split())
    assert "late by" not in files.read(out).attributes["STEnhance.Assumed"]
    np.testing.assert_allclose(files.read(out).frames, files.read(streaky).frames, atol=1e-3 * thorax.frames.max())


@pytest.mark.skipif(shutil.which("bart") is None, reason="BART is not installed: nothing to compare with")
def test_bart_finds_the_same_delays(late):
    spec = importlib.util.spec_from_file_location("gradient_delays", SCRIPT)
    script = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(script)
    np.testing.assert_allclose(script.by_bart(late, ()), delays.find(late).late, atol=0.15)


def test_spokes_that_miss_the_centre_cover_it_no_more_than_others_do(thorax, on_time, monkeypatch):
    from STEnhanceLib.acquisition import radial

    still = torch.from_numpy(thorax.frames[:1, 0].astype(np.complex64)).expand(20, -1, -1)
    trajectory = torch.from_numpy(delays.moved(radial.golden_angle_trajectory(20, 13, 128), np.diag([1.3, 0.3])))

    def error() -> float:
        """Of the average over many frames, which has no streaks."""
        operator = radial.RadialOperator(trajectory, torch.tensor(on_time.coil_sensitivities[0]))
        average = operator.time_average(operator.forward(still))
        return float((average - still[0]).norm() / still[0].norm())

    evened = error()
    monkeypatch.setattr(radial, "MISSED", float("inf"))
    assert evened < 0.95 * error()
