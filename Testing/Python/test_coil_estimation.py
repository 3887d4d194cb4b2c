"""Coil maps that nobody measured: estimated from the scan itself, nearly as good as the true ones, and said so."""

from __future__ import annotations

import dataclasses
import subprocess
import sys

import numpy as np
import pytest

from STEnhanceLib.acquisition import simulate as simulation
from STEnhanceLib.acquisition.kspace import KSpace
from STEnhanceLib.errors import STEnhanceError
from STEnhanceLib.methods import Need, all_methods, find_method, run
from STEnhanceLib.phantoms.thorax import Thorax
from STEnhanceLib.sequence import ImageSequence

torch = pytest.importorskip("torch")
pytest.importorskip("torchkbnufft")
pytestmark = pytest.mark.usefixtures("one_thread")

from STEnhanceLib.acquisition import coil_estimation  # noqa: E402

COILS = 4


@pytest.fixture(scope="module")
def thorax() -> ImageSequence:
    return Thorax(breathing_mm=0).cine(frames=8, matrix=64, slices=2)


@pytest.fixture(scope="module", params=["c4", "c8", "r13"])
def measured(request, thorax) -> simulation.Simulation:
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(simulation, "COILS", COILS)
        return simulation.simulate(thorax, request.param)


@pytest.fixture(scope="module")
def estimated(measured) -> KSpace:
    true = measured.kspace
    return KSpace.without_coil_maps(true.samples, true.grid, true.mask, true.trajectory, noise_std=true.noise_std)


def body(sequence: ImageSequence) -> np.ndarray:
    """(K, J, I) where there is anatomy in all frames."""
    return sequence.frames.min(0) > 0.05 * np.percentile(sequence.frames, 99.9)


def test_estimated_maps_are_the_true_ones_up_to_a_phase_common_to_all_coils(measured, estimated, thorax):
    agreement = np.abs((measured.kspace.coil_sensitivities.conj() * estimated.coil_sensitivities).sum(1))
    inside = agreement[body(thorax)]
    assert inside.mean() > 0.999
    assert np.percentile(inside, 5) > 0.997


def test_estimated_maps_have_root_sum_of_squares_1(estimated):
    np.testing.assert_allclose(np.linalg.norm(estimated.coil_sensitivities, axis=1), 1, atol=1e-4)


def test_the_common_phase_is_smooth_inside_the_body_whatever_phases_the_receivers_add(measured, thorax):
    true, added = measured.kspace, np.exp(1j * np.pi * np.arange(COILS)).astype(np.complex64)[:, None, None]
    found = KSpace.without_coil_maps(true.samples * added, true.grid, true.mask, true.trajectory).coil_sensitivities
    common = np.angle(((added * true.coil_sensitivities).conj() * found).sum(1))
    steps = np.abs(np.angle(np.exp(1j * np.diff(common, axis=-1))))
    both = body(thorax)[..., 1:] & body(thorax)[..., :-1]
    assert steps[both].max() < 0.35


@pytest.mark.parametrize("key", ["gridding", "temporal-tv"])
def test_images_by_estimated_maps_are_nearly_as_good_as_by_true_ones(measured, estimated, thorax, key):
    method, inside = find_method(key), np.broadcast_to(body(thorax), thorax.frames.shape)

    def error(kspace: KSpace) -> float:
        found = run.enhance_all(method, measured.sequence, method.parameters(), kspace=kspace).frames
        return float(np.linalg.norm((found - thorax.frames)[inside]) / np.linalg.norm(thorax.frames[inside]))

    assert error(estimated) < error(measured.kspace) + 0.01


def test_every_slice_has_its_own_maps(measured, estimated):
    true = measured.kspace
    samples = true.samples.copy()
    samples[:, 1] = samples[:, 1, ::-1]
    found = KSpace.without_coil_maps(samples, true.grid, true.mask, true.trajectory).coil_sensitivities
    np.testing.assert_array_equal(found[0], estimated.coil_sensitivities[0])
    alike = np.abs((found[1, ::-1].conj() * estimated.coil_sensitivities[1]).sum(0))
    np.testing.assert_allclose(alike, 1, atol=1e-3)


def test_nothing_measured_around_a_voxel_leaves_all_coils_alike(measured):
    """Pixels that are exactly 0 have no strongest direction; the maps there must still be finite and of size 1."""
    images = torch.zeros(COILS, 32, 32, dtype=torch.complex64)
    images[0, 10:14, 10:14] = 1
    found = coil_estimation._sensitivities(images)
    np.testing.assert_allclose(np.abs(found[:, 25, 25]), COILS**-0.5, atol=1e-6)
    np.testing.assert_allclose(np.abs(found[:, 12, 12]), [1, 0, 0, 0], atol=1e-6)


# Files and notes


def without_coils(path, kspace: KSpace, leave_out=("coil_sensitivities",)):
    kspace.save(path)
    with np.load(path) as file:
        arrays = {name: file[name] for name in file.files if name not in leave_out}
    np.savez(path, **arrays)
    return path


def test_a_file_without_coil_maps_is_read_and_the_estimate_is_noted(measured, estimated, tmp_path):
    path = without_coils(tmp_path / "k.npz", measured.kspace, ("coil_sensitivities", "notes", "noise_std"))
    loaded = KSpace.load(path)
    np.testing.assert_array_equal(loaded.coil_sensitivities, estimated.coil_sensitivities)
    assert any("coil maps were estimated" in note for note in loaded.notes)
    assert np.isnan(loaded.noise_std)
    loaded.save(tmp_path / "again.npz")
    again = KSpace.load(tmp_path / "again.npz")
    assert again.notes == loaded.notes
    assert not measured.kspace.notes


def test_every_method_tells_with_its_result_that_coil_maps_were_estimated(measured, estimated, untrained):
    one_frame = estimated.frame(0)
    assert one_frame.notes == estimated.notes
    for method in all_methods().values():
        on_lines_alone = method.key == "k-space-cnn"
        if Need.KSPACE in method.takes and not (on_lines_alone and estimated.mask is None):
            started = run.enhance(method, measured.sequence, method.parameters(), kspace=estimated)
            told = run.provenance(method, method.parameters(), measured.sequence, started)["STEnhance.Assumed"]
            assert "coil maps were estimated" in told, method.key


def test_a_damaged_measurement_without_coil_maps_is_refused_as_with_them(measured):
    true = measured.kspace
    samples = true.samples.copy()
    samples[2, 0, 0] = np.nan
    with pytest.raises(STEnhanceError, match="NaN or infinite"):
        KSpace.without_coil_maps(samples, true.grid, true.mask, true.trajectory)
    with pytest.raises(STEnhanceError, match="at least one spoke or line"):
        KSpace.without_coil_maps(true.samples[:, :, :0], true.grid, true.mask, true.trajectory)
    with pytest.raises(STEnhanceError, match="samples of k-space have shape"):
        KSpace.without_coil_maps(true.samples[0], true.grid, true.mask, true.trajectory)


def test_without_torch_one_sentence_says_what_estimating_needs(measured, tmp_path):
    path = without_coils(tmp_path / "k.npz", measured.kspace)
    code = (
        "import sys; sys.modules['torch'] = sys.modules['torchkbnufft'] = None\n"
        "from STEnhanceLib.acquisition.kspace import KSpace\n"
        "from STEnhanceLib.errors import STEnhanceError\n"
        "try: KSpace.load(sys.argv[1])\n"
        "except STEnhanceError as error: print(error)\n"
    )
    done = subprocess.run([sys.executable, "-c", code, path], capture_output=True, text=True, check=True)
    assert "no coil maps" in done.stdout and "needs torch" in done.stdout


def test_the_unit_of_the_samples_does_not_change_the_maps(measured, estimated):
    true = measured.kspace
    loud = KSpace.without_coil_maps(np.float32(1e12) * true.samples, true.grid, true.mask, true.trajectory)
    np.testing.assert_allclose(loud.coil_sensitivities, estimated.coil_sensitivities, atol=1e-3)


def test_one_coil_needs_no_map(measured):
    true = measured.kspace
    one = dataclasses.replace(
        true, samples=true.samples[:, :, :1], coil_sensitivities=np.ones_like(true.coil_sensitivities[:, :1])
    )
    found = KSpace.without_coil_maps(one.samples, one.grid, one.mask, one.trajectory).coil_sensitivities
    np.testing.assert_allclose(np.abs(found), 1, atol=1e-5)
