"""Golden-angle radial cine: spokes through the centre of k-space, and the operator from images to samples."""

from __future__ import annotations

import copy
import functools
import math
import warnings

import numpy as np
import scipy.sparse
import torch
import torchkbnufft

from STEnhanceLib.acquisition.operators import at_once

GOLDEN_ANGLE = math.pi * (math.sqrt(5) - 1) / 2  # 111.246°
MISSED = 0.02  # samples by which a spoke may miss the centre as if it did not
REACH, MARGIN, BLUR = 3.0, 3.0, 0.6  # samples around the centre where coverage is evened, and how sharply it is seen
MOST_SPOKES = 260  # that tell the coverage


def golden_angle_trajectory(frames: int, spokes: int, readout: int) -> np.ndarray:
    """Spokes that turn by the golden angle from one to the next and on through all frames.

    Any number of successive spokes covers k-space almost evenly (Winkelmann et al., IEEE TMI 2007; 26:68-76).

    Args:
        frames: T.
        spokes: S of one frame.
        readout: R samples along each spoke, from −π to π − 2π/R, sample R // 2 in the centre. Scanners take twice as
            many as pixels.

    Returns:
        (T, S, R, 2) float32, (k_j, k_i) in radians per pixel.
    """
    angle = (np.arange(frames * spokes) * GOLDEN_ANGLE).reshape(frames, spokes, 1)
    radius = (np.arange(readout) - readout // 2) * (2 * np.pi / readout)
    return np.stack([radius * np.sin(angle), radius * np.cos(angle)], axis=-1).astype(np.float32)


def ramp_density(trajectory: torch.Tensor, shape_ji: tuple[int, int], widest: float = math.inf) -> torch.Tensor:
    """The area of k-space that each sample of evenly turned spokes stands for, in cells of the Cartesian grid.

    A sample at radius |k| stands for a patch of |k| Δθ · Δk with Δθ = π/S; the centre sample for its share of a disc of
    radius Δk/2, which is a patch at |k| = Δk/4. With these weights the adjoint has the intensity scale of the images.

    Args:
        trajectory: (T, S, R, 2) in radians per pixel.
        shape_ji: (J, I) of the images.
        widest: upper limit of the patch across the spoke, in cells.

    Returns:
        (T, S, R) float32.
    """
    cell = 2 * math.pi / math.sqrt(math.prod(shape_ji))
    step = (trajectory[:, :, 1:] - trajectory[:, :, :-1]).norm(dim=-1).mean(-1)[..., None] / cell
    radius = torch.maximum(trajectory.norm(dim=-1) / cell, step / 4)
    across = _evened(radius * math.pi / trajectory.shape[1], trajectory / cell, step)
    return across.clamp_max(widest) * step


def _evened(across: torch.Tensor, places: torch.Tensor, step: torch.Tensor) -> torch.Tensor:
    """Patches around the centre of spokes that miss it, as late gradients let them: there they overlap, and shrink.

    Args:
        across: (T, S, R) their width.
        places: (T, S, R, 2), and
        step: (T, S, 1) the distance of samples, all in cells.
    """
    along = places[:, :, -1] - places[:, :, 0]
    beside = places[..., 0] * along[..., None, 1] - places[..., 1] * along[..., None, 0]
    if beside.abs().max() <= MISSED * (step[..., 0] * along.norm(dim=-1)).min():
        return across
    unit = step.mean()
    distance = (places / unit).norm(dim=-1)
    # All frames cover the centre alike, so that some tell enough.
    some = slice(None, max(1, MOST_SPOKES // across.shape[1]))
    near = distance[some] < REACH + MARGIN
    those, areas = places[some][near] / unit, (across * step)[some][near] / unit**2 / len(across[some])
    inner = distance < REACH
    covered = [
        (torch.exp(-(part[:, None] - those).square().sum(-1) / (2 * BLUR**2)) * areas).sum(1) / (2 * math.pi * BLUR**2)
        for part in (places[inner] / unit).split(1000)
    ]
    across = across.clone()
    across[inner] /= torch.cat(covered)
    return across


class RadialOperator:
    """Images of one slice over time to the spokes of all coils; the adjoint is density-compensated.

    The adjoint belongs to the inner product ⟨y, z⟩ = Σ ȳ · weights · z of samples, so `normal` solves density-weighted
    least squares, which takes few steps (Pruessmann et al., Magn Reson Med 2001; 46:638-651). Its weights are those of
    a ramp only as far as spokes are closer than one cell of the Cartesian grid. Further out each sample is on its own
    and counts like a Cartesian one: in undersampled data the ramp would make its noise count up to S times more, and
    `normal` as badly scaled. `gridded` uses the whole ramp, or the density where one is given.

    Args:
        trajectory: (T, S, R, 2) float32, (k_j, k_i) in radians per pixel.
        coils: (C, J, I) complex64, root-sum-of-squares 1.
        density: (T, S, R) float32, the area of k-space of each sample, if it is known better than `ramp_density` does.
    """

    def __init__(self, trajectory: torch.Tensor, coils: torch.Tensor, density: torch.Tensor | None = None):
        self.coils = coils
        shape = tuple(coils.shape[-2:])
        self.weights = ramp_density(trajectory, shape, widest=1)[:, None]
        self._density = (ramp_density(trajectory, shape) if density is None else density)[:, None]
        self._spokes = trajectory.shape[1:3]
        self._omega = trajectory.flatten(1, 2).transpose(1, 2).contiguous()
        self._scale = 1 / math.sqrt(math.prod(shape))  # orthonormal, as for Cartesian samples
        self._gridding = [_Gridding(omega, shape) for omega in self._omega]  # shared by all copies, like the kernels
        self._kernels: list[torch.Tensor] = []  # one tensor, shared by all copies, made at the first use

    def with_coils(self, coils: torch.Tensor) -> RadialOperator:
        """The same spokes seen by the coils of another slice, (C, J, I); nothing is computed again."""
        other = copy.copy(self)
        other.coils = coils
        return other

    def forward(self, images: torch.Tensor) -> torch.Tensor:
        """(T, J, I) complex64 images to (T, C, S, R) samples."""
        # Frame by frame here and below: as fast as all at once, and the doubled grids of all coils fit the memory.
        samples = [g.sampled(image * self.coils) for image, g in zip(images, self._gridding, strict=True)]
        return torch.stack(samples).unflatten(-1, self._spokes) * self._scale

    def adjoint(self, samples: torch.Tensor) -> torch.Tensor:
        """(T, C, S, R) samples to (T, J, I): the coil-combined images of the weighted samples."""
        return self._imaged(samples * self.weights)

    def gridded(self, samples: torch.Tensor) -> torch.Tensor:
        """(T, C, S, R) samples to (T, J, I): the coil-combined images, on their intensity scale, with streaks."""
        return self._imaged(samples * self._density)

    def time_average(self, samples: torch.Tensor) -> torch.Tensor:
        """(T, C, S, R) samples to (J, I): the spokes of all frames gridded together."""
        weighted = self._flat(samples * self._density)
        # Gathered before the transform, so that one is enough for all frames.
        spectra = sum(g.spread(of_frame) for of_frame, g in zip(weighted, self._gridding, strict=True))
        return self._combined(self._gridding[0].transformed(spectra)) / len(samples)

    def normal(self, images: torch.Tensor) -> torch.Tensor:
        """`adjoint(forward(images))` by convolution on a doubled grid.

        References:
            Fessler et al., Toeplitz-based iterative image reconstruction for MRI with correction for magnetic field
            inhomogeneity. IEEE Trans Signal Process 2005; 53:3393-3402.
        """
        if not self._kernels:
            self._kernels.extend(self._toeplitz_kernels())
        frames = at_once(self.coils, per_voxel=4).frames
        parts = zip(images.split(frames), self._kernels[0].split(frames), strict=True)
        return torch.cat([self._convolved(part, kernels) for part, kernels in parts])

    def largest_eigenvalue(self) -> float:
        """Of `normal`, to a few per cent, by power iteration on the first frame; the spokes of all frames are alike."""
        if not self._kernels:
            self._kernels.extend(self._toeplitz_kernels())
        image = torch.randn(self.coils.shape[1:], dtype=self.coils.dtype, generator=torch.Generator().manual_seed(0))
        image = image.to(self.coils.device)
        for _ in range(15):
            image = self._convolved((image / image.norm())[None], self._kernels[0][:1])[0]
        return 1.05 * float(image.norm())  # the iteration comes from below

    def _imaged(self, weighted: torch.Tensor) -> torch.Tensor:
        frames = zip(self._flat(weighted), self._gridding, strict=True)
        return torch.stack([self._combined(g.transformed(g.spread(samples))) for samples, g in frames])

    def _flat(self, samples: torch.Tensor) -> torch.Tensor:
        return (samples * self._scale).flatten(-2)

    def _combined(self, images: torch.Tensor) -> torch.Tensor:
        return (images * self.coils.conj()).sum(0)

    def _toeplitz_kernels(self) -> list[torch.Tensor]:
        """One (T, 2J, 2I): the transforms of the point spread functions, real because the weights are."""
        rows, columns = self.coils.shape[-2:]
        weights = self.weights[:, 0].flatten(-2) * self._scale**2
        # The spread reaches twice as far as an image each way. Its quarters at i ≥ 0 and i < 0, with j ≥ 0 in both, are
        # images about other centres; those with j < 0 mirror them, so that their transform is the conjugate.
        centres = self._omega.new_tensor([[rows // 2, columns // 2], [rows // 2, columns // 2 - columns]])
        kernels = []
        for omega, of_frame, gridding in zip(self._omega, weights, self._gridding, strict=True):
            phase = (centres[:, :, None] * omega).sum(1)  # no matrix product, which networks may take in half precision
            quarters = gridding.transformed(gridding.spread(torch.polar(of_frame.expand(2, -1), phase)))
            half = torch.cat(list(quarters), dim=-1)
            half[0] /= 2  # both halves have the row j = 0
            kernels.append(2 * torch.fft.fft(torch.fft.fft(half), n=2 * rows, dim=-2).real)
        return [torch.stack(kernels)]

    def _convolved(self, images: torch.Tensor, kernels: torch.Tensor) -> torch.Tensor:
        rows, columns = images.shape[-2:]
        images, kernels, seen = images[:, None], kernels[:, None], torch.zeros((), device=images.device)
        for coils in self.coils.split(at_once(self.coils, per_voxel=4).coils):
            # Axis by axis, so that rows known to be zero are not transformed, nor those that are cropped afterwards.
            spectrum = torch.fft.fft(images * coils, n=2 * rows, dim=-2)
            spectrum = torch.fft.ifft(torch.fft.fft(spectrum, n=2 * columns) * kernels)[..., :columns]
            seen = seen + (torch.fft.ifft(spectrum, dim=-2)[..., :rows, :] * coils.conj()).sum(1)
        return seen


class _Gridding:
    """The non-uniform FFT of one frame: a doubled FFT, and a sparse matrix from its grid to the samples.

    The Kaiser–Bessel weights are those of torchkbnufft. As one complex matrix that is made once per trajectory they act
    on all coils several times faster than the table look-up of its modules, which use no matrix by default.

    Args:
        omega: (2, N) float32 radians per pixel.
        shape: (J, I) of the images.
    """

    def __init__(self, omega: torch.Tensor, shape: tuple[int, int]):
        self._shape = shape
        self._doubled = (2 * shape[0], 2 * shape[1])
        self._scaling = _scaling(shape).to(omega.device)
        with warnings.catch_warnings():
            warnings.filterwarnings("ignore", "Sparse")  # "in beta state", "invariant checks": nothing to act on
            real, imaginary = torchkbnufft.calc_tensor_spmatrix(omega.cpu(), shape)
            values = torch.complex(real._values(), imaginary._values()).numpy()  # both parts have the same indices
            matrix = scipy.sparse.csr_array((values, tuple(real._indices().numpy())), shape=tuple(real.shape))
            self._to_samples = _as_torch(matrix, omega.device)
            self._from_samples = _as_torch(matrix.conj().T.tocsr(), omega.device)

    def sampled(self, images: torch.Tensor) -> torch.Tensor:
        """(C, J, I) to (C, N)."""
        # Coil by coil here and below, as what fits the cache takes half the time; and axis by axis, so that neither
        # rows known to be zero are transformed nor what is cropped afterwards.
        return torch.stack([self._to_samples @ self._spectrum(image * self._scaling).flatten() for image in images])

    def spread(self, samples: torch.Tensor) -> torch.Tensor:
        """(C, N) to (C, 2J, 2I), the doubled grid; `transformed` of it is the adjoint of `sampled`."""
        return torch.stack([self._from_samples @ of_coil for of_coil in samples]).unflatten(1, self._doubled)

    def transformed(self, spectra: torch.Tensor) -> torch.Tensor:
        """(C, 2J, 2I) to (C, J, I)."""
        return torch.stack([self._image(spectrum) for spectrum in spectra]) * self._scaling.conj()

    def _spectrum(self, image: torch.Tensor) -> torch.Tensor:
        rows, columns = self._doubled
        return torch.fft.fft(torch.fft.fft(image, n=rows, dim=0), n=columns)

    def _image(self, spectrum: torch.Tensor) -> torch.Tensor:
        rows, columns = self._shape
        return torch.fft.ifft(torch.fft.ifft(spectrum, norm="forward")[:, :columns], dim=0, norm="forward")[:rows]


@functools.lru_cache(maxsize=8)
def _scaling(shape: tuple[int, int]) -> torch.Tensor:
    """(J, I) complex64: what undoes the shading by the Kaiser–Bessel weights; as costly to make as a matrix."""
    return torchkbnufft.KbNufft(shape, dtype=torch.complex64).scaling_coef


def _as_torch(matrix: scipy.sparse.csr_array, device: torch.device) -> torch.Tensor:
    rows, columns = torch.from_numpy(matrix.indptr).long(), torch.from_numpy(matrix.indices).long()
    return torch.sparse_csr_tensor(rows, columns, torch.from_numpy(matrix.data), size=matrix.shape, device=device)
