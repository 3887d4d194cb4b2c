"""Golden-angle radial cine: spokes through the centre of k-space, and the operator from images to samples."""

from __future__ import annotations

import copy
import math

import numpy as np
import torch
import torchkbnufft

GOLDEN_ANGLE = math.pi * (math.sqrt(5) - 1) / 2  # 111.246°


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


def ramp_density(trajectory: torch.Tensor, shape_ji: tuple[int, int]) -> torch.Tensor:
    """The area of k-space around each sample of evenly turned spokes, in cells of the Cartesian grid.

    A sample at radius |k| stands for a patch of |k| Δθ · Δk with Δθ = π/S; the centre sample for its share of a disc of
    radius Δk/2, which is a patch at |k| = Δk/4. With these weights the adjoint has the intensity scale of the images.

    Args:
        trajectory: (T, S, R, 2) in radians per pixel.
        shape_ji: (J, I) of the images.

    Returns:
        (T, S, R) float32.
    """
    spokes = trajectory.shape[1]
    step = (trajectory[:, :, 1:] - trajectory[:, :, :-1]).norm(dim=-1).mean(-1)[..., None]
    radius = torch.maximum(trajectory.norm(dim=-1), step / 4)
    return radius * step * (math.pi / spokes) * (math.prod(shape_ji) / (2 * math.pi) ** 2)


class RadialOperator:
    """Images of one slice over time to the spokes of all coils, with density compensation in the adjoint.

    The adjoint belongs to the inner product ⟨y, z⟩ = Σ ȳ · weights · z of samples. Gridding is then `adjoint(samples)`,
    and the least-squares problems solved with `normal` are the density-weighted ones, which converge in few steps
    (Pruessmann et al., Magn Reson Med 2001; 46:638-651). `weights=None` gives the plain adjoint.

    Args:
        trajectory: (T, S, R, 2) float32, (k_j, k_i) in radians per pixel.
        coils: (C, J, I) complex64, root-sum-of-squares 1.
        weights: (T, S, R) float32, for example `ramp_density`.
    """

    def __init__(self, trajectory: torch.Tensor, coils: torch.Tensor, weights: torch.Tensor | None = None):
        self.coils = coils
        self._spokes = trajectory.shape[1:3]
        self.weights = torch.ones_like(trajectory[..., 0]) if weights is None else weights
        self.weights = self.weights[:, None]
        self._omega = trajectory.flatten(1, 2).transpose(1, 2).contiguous()
        shape = tuple(coils.shape[-2:])
        self._scale = 1 / math.sqrt(math.prod(shape))  # orthonormal, as for Cartesian samples
        self._nufft = torchkbnufft.KbNufft(shape, dtype=torch.complex64, device=trajectory.device)
        self._adjoint_nufft = torchkbnufft.KbNufftAdjoint(shape, dtype=torch.complex64, device=trajectory.device)
        self._kernels: list[torch.Tensor] = []  # shared by all copies, made at the first use

    def with_coils(self, coils: torch.Tensor) -> RadialOperator:
        """The same spokes seen by the coils of another slice, (C, J, I); nothing is computed again."""
        other = copy.copy(self)
        other.coils = coils
        return other

    def forward(self, images: torch.Tensor) -> torch.Tensor:
        """(T, J, I) complex64 images to (T, C, S, R) samples."""
        samples = self._nufft(images[:, None] * self.coils, self._omega) * self._scale
        return samples.unflatten(-1, self._spokes)

    def adjoint(self, samples: torch.Tensor) -> torch.Tensor:
        """(T, C, S, R) samples to (T, J, I): the gridded, coil-combined images."""
        images = self._adjoint_nufft((samples * self.weights).flatten(-2), self._omega) * self._scale
        return (images * self.coils.conj()).sum(1)

    def normal(self, images: torch.Tensor) -> torch.Tensor:
        """`adjoint(forward(images))` by convolution on a doubled grid, one frame at a time to save memory.

        References:
            Fessler et al., Toeplitz-based iterative image reconstruction for MRI with correction for magnetic field
            inhomogeneity. IEEE Trans Signal Process 2005; 53:3393-3402.
        """
        if not self._kernels:
            self._kernels.extend(self._toeplitz_kernels())
        return torch.stack([self._convolved(image, k) for image, k in zip(images, self._kernels, strict=True)])

    def _toeplitz_kernels(self) -> torch.Tensor:
        """(T, 2J, 2I); real, because the weights are."""
        weights = self.weights.flatten(-2) * self._scale**2
        return torchkbnufft.calc_toeplitz_kernel(self._omega, self.coils.shape[-2:], weights).real * math.prod(
            2 * n for n in self.coils.shape[-2:]
        )

    def _convolved(self, image: torch.Tensor, kernel: torch.Tensor) -> torch.Tensor:
        rows, columns = image.shape
        # Axis by axis, so that rows known to be zero are not transformed, nor those that are cropped afterwards.
        spectrum = torch.fft.fft(image * self.coils, n=2 * rows, dim=-2)
        spectrum = torch.fft.ifft(torch.fft.fft(spectrum, n=2 * columns) * kernel)[..., :columns]
        return (torch.fft.ifft(spectrum, dim=-2)[:, :rows] * self.coils.conj()).sum(0)
