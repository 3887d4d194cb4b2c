"""Our iterative reconstructions against those of others: BART's `pics` and SigPy, where they are installed.

On one small measurement each, both sides minimise the same function to the end, far beyond what methods do by default,
so what is left between the two is how far either is from its end: 1 % of what moves for the slowest of theirs (ADMM on
temporal frequencies, primal-dual steps on differences), 0.5 % and less for all others.

    apt-get install bart             # Debian and Ubuntu
    pip install -e ".[crosscheck]"   # SigPy

References: Uecker et al., Berkeley Advanced Reconstruction Toolbox, Proc ISMRM 2015; 23:2486. Ong, Lustig: SigPy, Proc
ISMRM 2019; 27:4819.
"""

from __future__ import annotations

import dataclasses
import shutil
import subprocess
from pathlib import Path

import numpy as np
import pytest

torch = pytest.importorskip("torch", reason="torch is not installed: no iterative reconstruction")
pytest.importorskip("torchkbnufft", reason="torchkbnufft is not installed: no radial reconstruction")

from STEnhanceLib.acquisition import simulate as simulation  # noqa: E402
from STEnhanceLib.acquisition.operators import conjugate_gradient, slice_operators  # noqa: E402
from STEnhanceLib.methods import locally_low_rank, low_rank_sparse, temporal_tv  # noqa: E402
from STEnhanceLib.phantoms.thorax import Thorax  # noqa: E402

pytestmark = pytest.mark.usefixtures("one_thread")
with_bart = pytest.mark.skipif(shutil.which("bart") is None, reason="bart is not installed")

SIZE, FRAMES, COILS = 32, 8, 4
TO_THE_END = {"tolerance": 1e-5, "iterations": 2000}
OFF = 1e6  # a weight that leaves nothing of one part of low rank plus sparse


def measured(acquisition: str):
    """Operator and samples of one slice whose brightest tissue is 1, and how bright methods find it."""
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(simulation, "COILS", COILS)
        cine = Thorax(breathing_mm=0).cine(frames=FRAMES, matrix=SIZE, slices=1)
        cine = dataclasses.replace(cine, frames=cine.frames / np.percentile(cine.frames, 99.9))
        kspace = simulation.simulate(cine, acquisition).kspace
    ((operator, samples),) = slice_operators(kspace, "cpu")
    return operator, samples, kspace.trajectory


@pytest.fixture(scope="module")
def lines():
    return measured("c4")[:2]


def brightness(operator, samples) -> float:
    return float(np.percentile(operator.time_average(samples).abs().numpy(), 99.9))


def difference(one: torch.Tensor, other: torch.Tensor) -> float:
    return float((one - other).norm() / other.norm())


def motion(images: torch.Tensor) -> torch.Tensor:
    """What distinguishes the frames from their average."""
    return images - images.mean(0)


# BART


def pics(folder: Path, lines, *options: str) -> torch.Tensor:
    """What `bart pics` makes of Cartesian samples, (T, J, I)."""
    operator, samples = lines
    _write(folder / "samples", samples.permute(2, 3, 1, 0).numpy(), "jict")
    _write(folder / "coils", operator.coils.permute(1, 2, 0).numpy(), "jic")
    command = ["bart", "pics", "-w1", *options, "samples", "coils", "images"]
    subprocess.run(command, cwd=folder, check=True, capture_output=True, timeout=240)
    images = np.fromfile(folder / "images.cfl", np.complex64).reshape(FRAMES, SIZE, SIZE)  # its first axis runs fastest
    return torch.from_numpy(images.swapaxes(1, 2).copy())


def _write(path: Path, array: np.ndarray, axes: str) -> None:
    """BART's format: column-major complex64; of its axes the first four and the eleventh are j, i, slice, coil, t."""
    sizes = dict(zip(axes, array.shape, strict=True))
    shape = [sizes.get(axis, 1) for axis in "jikc------t-----"]
    path.with_suffix(".hdr").write_text(f"# Dimensions\n{' '.join(map(str, shape))}\n")
    array.astype(np.complex64).ravel(order="F").tofile(path.with_suffix(".cfl"))


def bart_low_rank(weight: float, side: int) -> list[str]:
    """BART multiplies the weight with the size that the singular values of noise of level 1 would have."""
    of_noise = side + FRAMES**0.5 + np.log((SIZE // side) ** 2 * FRAMES) ** 0.5
    return [f"-RL:3:3:{weight / of_noise}", f"-b{side}", "-n", "-m", "-i300"]


@with_bart
def test_conjugate_gradients_solve_what_bart_solves(lines, tmp_path):
    nothing = torch.zeros(FRAMES, SIZE, SIZE, dtype=torch.complex64)
    ours = conjugate_gradient(*lines, nothing, 0.1, iterations=200, tolerance=1e-7)
    assert difference(ours, pics(tmp_path, lines, "-l2", "-r0.1", "-i200")) < 1e-5


@with_bart
def test_temporal_tv_minimises_what_bart_minimises(lines, tmp_path):
    parameters = temporal_tv.TemporalTVParameters(strength=0.01, **TO_THE_END)
    ours = temporal_tv.reconstruct(*lines, parameters, periodic=True)
    theirs = pics(tmp_path, lines, f"-RT:1024:0:{0.01 * brightness(*lines)}", "-m", "-i1000")
    assert difference(ours, theirs) < 1e-3
    assert difference(motion(ours), motion(theirs)) < 5e-3


@with_bart
def test_a_patch_as_large_as_the_image_has_the_low_rank_that_bart_finds(lines, tmp_path):
    parameters = locally_low_rank.LocallyLowRankParameters(strength=0.01, patch=SIZE, **TO_THE_END)
    ours = locally_low_rank.reconstruct(*lines, parameters)
    weight = 0.01 * brightness(*lines) * (SIZE + FRAMES**0.5)
    theirs = pics(tmp_path, lines, *bart_low_rank(weight, SIZE))
    assert difference(ours, theirs) < 1e-4
    assert difference(motion(ours), motion(theirs)) < 1e-3


@with_bart
def test_small_patches_differ_from_those_of_bart_by_the_second_tiling_alone(lines, tmp_path):
    """BART tiles the image once where ours tiles it twice, so each has the lower cost by its own measure."""
    operator, samples = lines
    side, weight = 8, 0.003 * brightness(*lines) * (8 + FRAMES**0.5)
    parameters = locally_low_rank.LocallyLowRankParameters(strength=0.003, patch=side, **TO_THE_END)
    ours = locally_low_rank.reconstruct(*lines, parameters)
    theirs = pics(tmp_path, lines, *bart_low_rank(weight, side))

    def tiled(images, first):
        patches = images.roll((-first, -first), (1, 2)).unflatten(2, (-1, side)).unflatten(1, (-1, side))
        return float(torch.linalg.svdvals(patches.permute(1, 3, 0, 2, 4).flatten(3)).sum())

    def cost(images, *starts):
        off = float((operator.forward(images) - samples).norm()) ** 2 / 2
        return off + weight * np.mean([tiled(images, first) for first in starts])

    assert cost(theirs, 0) < cost(ours, 0) < 1.02 * cost(theirs, 0)
    assert cost(ours, 0, side // 2) < cost(theirs, 0, side // 2)
    assert difference(ours, theirs) < 0.03


@with_bart
def test_the_sparse_part_alone_has_the_temporal_frequencies_that_bart_finds(lines, tmp_path):
    parameters = low_rank_sparse.LowRankSparseParameters(low_rank=OFF, sparse=0.01, **TO_THE_END)
    ours = low_rank_sparse.reconstruct(*lines, parameters)
    weight = 0.01 * brightness(*lines) / FRAMES**0.5  # BART's Fourier transform here is not orthonormal
    theirs = pics(tmp_path, lines, f"-RF:1024:0:{weight}", "-m", "-i1000")
    assert difference(ours, theirs) < 3e-3
    assert difference(motion(ours), motion(theirs)) < 0.03


@with_bart
def test_the_low_rank_part_alone_has_the_rank_that_bart_finds(lines, tmp_path):
    parameters = low_rank_sparse.LowRankSparseParameters(low_rank=0.02, sparse=OFF, **TO_THE_END)
    ours = low_rank_sparse.reconstruct(*lines, parameters)
    weight = 0.02 * float(lines[0].time_average(lines[1]).norm()) * FRAMES**0.5
    theirs = pics(tmp_path, lines, *bart_low_rank(weight, SIZE))
    assert difference(ours, theirs) < 1e-4
    assert difference(motion(ours), motion(theirs)) < 1e-3


# SigPy


@pytest.fixture
def sigpy():
    module = pytest.importorskip("sigpy", reason="sigpy is not installed")
    pytest.importorskip("sigpy.mri")
    return module


def encoding(sigpy, lines):
    """Images (T, J, I) to the measured lines (T, C, J, I), made of SigPy's own parts."""
    operator, samples = lines
    coils, mask = operator.coils.numpy()[None], (samples.numpy() != 0).any((1, 3), keepdims=True)
    split = sigpy.linop.Reshape((FRAMES, 1, SIZE, SIZE), (FRAMES, SIZE, SIZE))
    seen = sigpy.linop.Multiply((FRAMES, 1, SIZE, SIZE), coils)
    spectra = sigpy.linop.FFT(seen.oshape, axes=(-2, -1))
    return sigpy.linop.Multiply(spectra.oshape, mask.astype(np.complex64)) * spectra * seen * split


def test_conjugate_gradients_on_spokes_solve_what_sigpy_solves(sigpy):
    operator, samples, trajectory = measured("r13")
    nothing = torch.zeros(FRAMES, SIZE, SIZE, dtype=torch.complex64)
    ours = conjugate_gradient(operator, samples, nothing, 0.1, iterations=100, tolerance=1e-6)
    weights = operator.weights.numpy()
    for t in range(2):
        theirs = sigpy.mri.app.SenseRecon(
            samples[t].numpy(),
            operator.coils.numpy(),
            lamda=0.1,
            weights=weights[t],
            coord=trajectory[t] * SIZE / (2 * np.pi),
            max_iter=100,
            show_pbar=False,
        ).run()
        assert difference(ours[t], torch.from_numpy(theirs)) < 0.01  # what the two ways of gridding differ by


def test_temporal_tv_minimises_what_sigpy_minimises(sigpy, lines):
    parameters = temporal_tv.TemporalTVParameters(strength=0.01, **TO_THE_END)
    ours = temporal_tv.reconstruct(*lines, parameters, periodic=True)
    differences = sigpy.linop.FiniteDifference((FRAMES, SIZE, SIZE), axes=(0,))
    theirs = sigpy.app.LinearLeastSquares(
        encoding(sigpy, lines),
        lines[1].numpy(),
        proxg=sigpy.prox.L1Reg(differences.oshape, 0.01 * brightness(*lines)),
        G=differences,
        max_iter=500,
        show_pbar=False,
    ).run()
    theirs = torch.from_numpy(theirs)
    assert difference(ours, theirs) < 3e-3
    assert difference(motion(ours), motion(theirs)) < 0.03


def test_low_rank_plus_sparse_minimises_what_sigpy_minimises(sigpy, lines):
    """SigPy has no such method; here it is as plain proximal gradient steps on SigPy's parts."""
    operator, samples = lines
    parameters = low_rank_sparse.LowRankSparseParameters(low_rank=0.02, sparse=0.01, **TO_THE_END)
    ours = low_rank_sparse.reconstruct(operator, samples, parameters)
    shape = (FRAMES, SIZE, SIZE)
    encode = encoding(sigpy, lines)
    both = sigpy.linop.Hstack([encode * sigpy.linop.Identity(shape)] * 2)
    low_rank = 0.02 * float(operator.time_average(samples).norm()) * FRAMES**0.5

    class NuclearNorm(sigpy.prox.Prox):
        def __init__(self):
            super().__init__([int(np.prod(shape))])

        def _prox(self, alpha, flat):
            left, sizes, right = np.linalg.svd(flat.reshape(FRAMES, -1), full_matrices=False)
            return ((left * sigpy.soft_thresh(alpha * low_rank, sizes)) @ right).ravel()

    frequencies = sigpy.linop.FFT(shape, axes=(0,), center=False) * sigpy.linop.Reshape(shape, [int(np.prod(shape))])
    sparse = sigpy.prox.UnitaryTransform(sigpy.prox.L1Reg(frequencies.oshape, 0.01 * brightness(*lines)), frequencies)
    theirs = sigpy.app.LinearLeastSquares(
        both, samples.numpy(), proxg=sigpy.prox.Stack([NuclearNorm(), sparse]), max_iter=500, show_pbar=False
    ).run()
    theirs = torch.from_numpy(theirs.reshape(2, *shape).sum(0))
    assert difference(ours, theirs) < 1e-3
    assert difference(motion(ours), motion(theirs)) < 5e-3
