"""Raw data of scanners: the same samples, geometry, times and images as were written, or one clear sentence."""

from __future__ import annotations

import dataclasses
import subprocess
import sys

import numpy as np
import pytest
import raw_data

from STEnhanceLib import cli, files
from STEnhanceLib.acquisition import simulate as simulation
from STEnhanceLib.acquisition.kspace import KSpace
from STEnhanceLib.errors import STEnhanceError
from STEnhanceLib.phantoms.thorax import Thorax
from STEnhanceLib.sequence import ImageSequence

torch = pytest.importorskip("torch")
pytest.importorskip("torchkbnufft")
ismrmrd = pytest.importorskip("ismrmrd")
pytestmark = pytest.mark.usefixtures("one_thread")


@pytest.fixture(scope="module")
def tilted() -> ImageSequence:
    """Eight frames of three double-oblique slices of a thorax, 50 ms apart; neither matrix nor pixels are square."""
    sequence = Thorax(breathing_mm=0).cine(frames=8, matrix=48, slices=3)
    a, b = np.deg2rad(37.0), np.deg2rad(-21.0)
    turn = np.array([[np.cos(a), -np.sin(a), 0], [np.sin(a), np.cos(a), 0], [0, 0, 1]])
    tilt = np.array([[1, 0, 0], [0, np.cos(b), -np.sin(b)], [0, np.sin(b), np.cos(b)]])
    matrix = np.eye(4)
    matrix[:3, :3] = turn @ tilt @ np.diag([6.25, 6.5, 9.0])
    matrix[:3, 3] = (-81.5, 44.25, 12.125)
    return ImageSequence(sequence.frames[:, :, 3:43], matrix, 50.0 * np.arange(8), periodic=True, name="tilted")


@pytest.fixture(scope="module")
def measured(tilted) -> dict[str, simulation.Simulation]:
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(simulation, "COILS", 3)
        return {key: simulation.simulate(tilted, key) for key in ("c4", "r13")}


@pytest.fixture(params=["c4", "r13"])
def kspace(request, measured) -> KSpace:
    return measured[request.param].kspace


def without_noise(readouts):
    return readouts[1:]


@pytest.fixture
def path(tmp_path):
    return tmp_path / "scan.h5"


@pytest.mark.parametrize("counter", ["phase", "repetition"])
def test_what_was_written_is_read(kspace, path, counter):
    read = KSpace.load(raw_data.write(path, kspace, counter=counter))
    np.testing.assert_allclose(read.samples, kspace.samples, atol=1e-5 * np.abs(kspace.samples).max())
    if kspace.mask is not None:
        np.testing.assert_array_equal(read.mask, kspace.mask)
        assert read.trajectory is None
    else:
        np.testing.assert_allclose(read.trajectory, kspace.trajectory, atol=1e-5)
        assert read.mask is None
    assert read.grid.shape == kspace.grid.shape
    np.testing.assert_allclose(read.grid.ijk_to_ras, kspace.grid.ijk_to_ras, atol=1e-4)
    np.testing.assert_allclose(read.grid.times_ms, kspace.grid.times_ms)


def test_images_are_those_of_the_samples_that_were_written(kspace, path):
    estimated = KSpace.without_coil_maps(kspace.samples, kspace.grid, kspace.mask, kspace.trajectory)
    read = KSpace.load(raw_data.write(path, kspace))
    np.testing.assert_allclose(read.coil_sensitivities, estimated.coil_sensitivities, atol=1e-2)
    from STEnhanceLib.acquisition.operators import slice_operators

    for (one, samples), (other, others) in zip(
        slice_operators(estimated, "cpu"), slice_operators(read, "cpu"), strict=True
    ):
        expected = one.gridded(samples).abs()
        assert (other.gridded(others).abs() - expected).abs().max() < 1e-3 * expected.max()


def test_what_was_assumed_is_noted(kspace, path):
    read = KSpace.load(raw_data.write(path, kspace))
    assert any("coil maps were estimated" in note for note in read.notes)
    assert any("physiology time stamps, assumed to count 2.5 ms" in note for note in read.notes)
    assert any("cycles per pixel" in note for note in read.notes) == (kspace.mask is None)
    assert any("made white by 50 noise samples" in note for note in read.notes)


def test_the_command_line_takes_it_wherever_it_takes_our_own_file(measured, tmp_path, path, capsys):
    for key in ("c4", "r13"):
        streaky, ours, result = (tmp_path / f"{key} {name}" for name in ("in.seq.nrrd", "k.npz", "out.seq.nrrd"))
        files.write(measured[key].sequence, streaky)
        measured[key].kspace.save(ours)
        raw_data.write(path, measured[key].kspace)
        arguments = ["enhance", str(streaky), str(result), "--method", "gridding", "--kspace"]
        assert cli.main([*arguments, str(ours)]) == 0
        expected = files.read(result).frames
        assert cli.main([*arguments, str(path)]) == 0
        found = files.read(result)
        assert np.linalg.norm(found.frames - expected) < 0.2 * np.linalg.norm(expected)  # the coil maps differ
        assert "coil maps were estimated" in found.attributes["STEnhance.Assumed"]
    capsys.readouterr()


# Cartesian details


@pytest.fixture
def lines(measured) -> KSpace:
    return measured["c4"].kspace


def test_without_readout_oversampling_nothing_is_transformed(lines, path):
    read = KSpace.load(raw_data.write(path, lines, oversampling=1, change=without_noise))
    np.testing.assert_array_equal(read.samples, lines.samples)


def test_discarded_samples_and_an_asymmetric_echo_find_their_place(lines, path):
    def partial(readouts):
        for readout in readouts[1:]:
            data = readout.data.copy()
            head = readout.getHead()
            head.number_of_samples, head.center_sample = data.shape[1] - 10, head.center_sample - 10
            readout.setHead(head)
            readout.data[:] = data[:, 10:]
            readout.discard_pre = 2
        return without_noise(readouts)

    read = KSpace.load(raw_data.write(path, lines, oversampling=1, change=partial))
    np.testing.assert_array_equal(read.samples[..., 12:], lines.samples[..., 12:])
    assert not read.samples[..., :12].any()
    assert any("echo is asymmetric" in note for note in read.notes)


# Noise


def test_correlated_noise_of_the_coils_is_made_white(lines, path):
    """Whatever mixes the coils mixes their noise alike: white again, they differ by a unitary matrix at most."""
    rng = np.random.default_rng(3)
    mixing = (rng.normal(size=(3, 3)) + 1j * rng.normal(size=(3, 3))) * (1, 2, 5)
    std = lines.noise_std
    white = std * (rng.normal(size=(3, 4000)) + 1j * rng.normal(size=(3, 4000)))
    mixed = dataclasses.replace(lines, samples=np.einsum("dc,tkcji->tkdji", mixing, lines.samples))
    read = KSpace.load(raw_data.write(path, mixed, oversampling=1, noise=(mixing @ white).astype(np.complex64)))
    # The mean level of the mixed coils stays; in its units all is larger by one factor.
    larger = np.sqrt(np.sum(np.abs(mixing) ** 2) / 3)
    assert read.noise_std == pytest.approx(larger * std, rel=0.03)
    found, before = (np.moveaxis(samples, 2, 0).reshape(3, -1) for samples in (read.samples, lines.samples))
    turning = found @ np.linalg.pinv(before) / larger
    assert np.abs(turning @ turning.conj().T - np.eye(3)).max() < 0.1
    assert np.linalg.norm(found - larger * turning @ before) < 1e-3 * np.linalg.norm(found)
    assert any("made white by 4000 noise samples" in note for note in read.notes)


@pytest.mark.parametrize(("filter_passes", "times"), [(None, 2.0), (0.64, 2.5)])
def test_the_noise_level_follows_the_bandwidth(measured, path, filter_passes, times):
    def timed(readouts):
        for readout in readouts:
            readout.sample_time_us = 2.0
        readouts[0].sample_time_us = 8.0
        return readouts

    def with_system(header):
        if filter_passes:
            system = ismrmrd.xsd.acquisitionSystemInformationType(relativeReceiverNoiseBandwidth=filter_passes)
            header.acquisitionSystemInformation = system
        return header

    read = KSpace.load(raw_data.write(path, measured["r13"].kspace, change=timed, change_header=with_system))
    assert read.noise_std == pytest.approx(times * 1e6, rel=1e-4)
    assert not any("bandwidth" in note for note in read.notes)


def test_without_sampling_times_the_bandwidth_is_assumed_and_that_is_noted(lines, path):
    read = KSpace.load(raw_data.write(path, lines))
    assert read.noise_std == pytest.approx(1e6, rel=1e-4)
    assert any("assumed to have the bandwidth" in note for note in read.notes)


def test_without_noise_readouts_the_noise_level_is_unknown(lines, path):
    read = KSpace.load(raw_data.write(path, lines, change=without_noise))
    assert np.isnan(read.noise_std)
    assert not any("white" in note for note in read.notes)


@pytest.mark.parametrize(
    ("noise", "needle"),
    [
        (raw_data.white_noise(3)[:, :11], "11 samples of 3 coils; expected at least 12"),
        (raw_data.white_noise(3)[[0, 1, 1]], "the noise of others"),
        (raw_data.white_noise(3) * np.float32([[1], [1], [0]]), "a coil has no noise"),
        (np.full((3, 50), np.nan, np.complex64), "NaN or infinite"),
        (raw_data.white_noise(2), "of 2 coils, and the images of 3"),
    ],
)
def test_noise_readouts_that_cannot_be_used_leave_the_samples_alone_and_that_is_noted(lines, path, noise, needle):
    read = KSpace.load(raw_data.write(path, lines, oversampling=1, noise=noise))
    np.testing.assert_array_equal(read.samples, lines.samples)
    assert np.isnan(read.noise_std)
    assert any("was not made white" in note and needle in note for note in read.notes)


# Times


@pytest.mark.parametrize("counter", ["phase", "repetition"])
def test_without_time_stamps_tr_decides_and_is_noted(measured, path, counter):
    read = KSpace.load(raw_data.write(path, measured["r13"].kspace, stamps=False, tr_ms=4.0, counter=counter))
    np.testing.assert_allclose(read.grid.times_ms, 4.0 * 13 * np.arange(8))
    assert any("TR of 4 ms × 13 lines" in note for note in read.notes)


def test_lines_of_one_cardiac_phase_come_from_several_beats(measured, path):
    def segmented(readouts):
        for number, readout in enumerate(readouts[1:]):
            readout.idx.segment = number % 13
        return readouts

    read = KSpace.load(raw_data.write(path, measured["r13"].kspace, stamps=False, tr_ms=4.0, change=segmented))
    np.testing.assert_allclose(read.grid.times_ms, 4.0 * np.arange(8))


def test_without_any_time_frames_are_numbered_and_that_is_noted(kspace, path):
    read = KSpace.load(raw_data.write(path, kspace, stamps=False, tr_ms=None))
    np.testing.assert_allclose(read.grid.times_ms, 40.0 * np.arange(8))
    assert any("no frame times" in note for note in read.notes)


# Units and directions


@pytest.mark.parametrize(("scale", "unit"), [(2 * np.pi, "radians per pixel"), ((40, 48), "cycles per field of view")])
def test_the_unit_of_the_trajectory_is_recognised_by_its_reach_and_noted(measured, path, scale, unit):
    spokes = measured["r13"].kspace

    def scaled(readouts):
        for readout in readouts[1:]:
            readout.traj[:] *= np.broadcast_to(scale, 2)[::-1]
        return readouts

    read = KSpace.load(raw_data.write(path, spokes, change=scaled))
    np.testing.assert_allclose(read.trajectory, spokes.trajectory, atol=1e-4)
    assert any(f"assumed to be in {unit}" in note for note in read.notes)


def test_without_directions_slices_are_taken_as_axial_and_that_is_noted(lines, path):
    def silent(readouts):
        for readout in readouts:
            for field in (readout.read_dir, readout.phase_dir, readout.slice_dir):
                field[:] = (0, 0, 0)
            readout.position[:] = (0, 0, 9.0 * [0, 2, 1][readout.idx.slice])
        return readouts

    read = KSpace.load(raw_data.write(path, lines, change=silent))
    expected = np.diag([-6.25, -6.5, 9, 1])
    expected[:2, 3] = 24 * 6.25, 20 * 6.5
    np.testing.assert_allclose(read.grid.ijk_to_ras, expected, atol=1e-4)
    assert any("assumed axial" in note for note in read.notes)


def test_a_single_slice_is_as_thick_as_the_header_says(tilted, path):
    one = dataclasses.replace(tilted, frames=tilted.frames[:, :1])
    kspace = simulation.simulate(one, "c8").kspace
    read = KSpace.load(raw_data.write(path, kspace))
    np.testing.assert_allclose(read.grid.ijk_to_ras, kspace.grid.ijk_to_ras, atol=1e-4)


# What is refused


def on_all(action):
    """A change of every readout but the noise."""

    def change(readouts):
        for number, readout in enumerate(readouts[1:]):
            action(number, readout)
        return readouts

    return change


def set_counter(name, values):
    return on_all(lambda number, readout: setattr(readout.idx, name, number % values))


def move(number, readout):
    readout.position[2] += 3 * (readout.idx.slice == 1)


def turn(number, readout):
    if readout.idx.slice == 1:
        readout.read_dir[:], readout.phase_dir[:] = list(readout.phase_dir), [-x for x in readout.read_dir]


def spoil(number, readout):
    if number == 7:
        readout.data[0, 3] = np.nan


def bare(readouts):
    for readout in readouts[1:]:
        data, head = readout.data.copy(), readout.getHead()
        head.trajectory_dimensions = 0
        readout.setHead(head)
        readout.data[:] = data
    return readouts


def fewer_coils(readouts):
    data, head = readouts[9].data.copy(), readouts[9].getHead()
    head.active_channels = 2
    readouts[9].setHead(head)
    readouts[9].data[:] = data[:2]
    return readouts


def without_centre(readouts):
    return [readout for readout in readouts if readout.idx.kspace_encode_step_1 != 20]


REFUSED = [
    ("c4", set_counter("kspace_encode_step_2", 4), r"4 partitions \(3D\)"),
    ("c4", set_counter("contrast", 2), "2 echoes; expected 2D cine"),
    ("r13", set_counter("set", 2), "2 sets; expected 2D cine"),
    ("r13", set_counter("repetition", 2), "2 repetitions of 8 cardiac phases"),
    ("c4", set_counter("kspace_encode_step_1", 50), "outside its encoded matrix of 96×40"),
    ("c4", lambda readouts: readouts[:1], "no readouts of images"),
    ("c4", on_all(lambda n, readout: readout.setFlag(ismrmrd.ACQ_IS_REVERSE)), "in reverse"),
    ("c4", fewer_coils, "2 coils × 96 samples, 3 coils × 96 samples"),
    ("c4", lambda readouts: readouts[:-1], "other lines in one slice"),
    ("c4", without_centre, "centre of k-space"),
    ("r13", lambda readouts: readouts[:-1], "between 12 and 13 spokes"),
    ("r13", lambda readouts: readouts[:-13], "between 0 and 13 spokes"),
    ("r13", bare, "spokes without their trajectory"),
    ("r13", on_all(lambda n, readout: readout.traj.__imul__(readout.idx.slice + 1)), "other spokes in one slice"),
    ("r13", on_all(lambda n, readout: readout.traj.__imul__(1000)), "reaches 500 for images of 48×40"),
    ("c4", on_all(move), "at uneven distances"),
    ("c4", on_all(turn), "not parallel"),
    ("c4", on_all(spoil), "NaN or infinite"),
    ("r13", on_all(spoil), "NaN or infinite"),
    (
        "r13",
        on_all(lambda n, readout: readout.data.__imul__(readout.idx.phase != 2)),
        "frame 3 of 8 all k-space samples",
    ),
]


@pytest.mark.parametrize(("key", "change", "needle"), REFUSED, ids=[needle for *_, needle in REFUSED])
def test_what_cannot_be_held_is_refused_in_one_sentence(measured, path, key, change, needle):
    raw_data.write(path, measured[key].kspace, change=change)
    with pytest.raises(STEnhanceError, match=needle):
        KSpace.load(path)


def test_other_trajectories_are_refused(measured, path):
    def spiral(header):
        header.encoding[0].trajectory = ismrmrd.xsd.trajectoryType.SPIRAL
        return header

    raw_data.write(path, measured["r13"].kspace, change_header=spiral)
    with pytest.raises(STEnhanceError, match="'spiral'; expected cartesian, radial or goldenangle"):
        KSpace.load(path)


def test_files_of_another_kind_are_refused(measured, tmp_path):
    import h5py

    with pytest.raises(STEnhanceError, match="There is no k-space file"):
        KSpace.load(tmp_path / "absent.h5")
    (tmp_path / "text.h5").write_text("no raw data")
    with h5py.File(tmp_path / "other.h5", "w") as file:
        file["a"] = np.ones(3)
    h5py.File(tmp_path / "empty.h5", "w").close()
    whole = raw_data.write(tmp_path / "whole.h5", measured["c4"].kspace).read_bytes()
    (tmp_path / "short.h5").write_bytes(whole[:5000])
    for name in ("text.h5", "other.h5", "empty.h5", "short.h5"):
        with pytest.raises(STEnhanceError, match=f"{name} is not an ISMRMRD file or is damaged"):
            KSpace.load(tmp_path / name)


def test_without_the_package_one_sentence_says_what_to_install(tmp_path):
    code = (
        "import sys; sys.modules['ismrmrd'] = None\n"
        "from STEnhanceLib.acquisition.kspace import KSpace\n"
        "from STEnhanceLib.errors import STEnhanceError\n"
        "try: KSpace.load('scan.h5')\n"
        "except STEnhanceError as error: print(error)\n"
    )
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True, cwd=tmp_path)
    assert "needs ismrmrd" in done.stdout and "pip install ismrmrd" in done.stdout
