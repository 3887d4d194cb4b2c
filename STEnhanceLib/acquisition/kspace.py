"""`KSpace`: what the scanner measured, beside the images made from it, and its file."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np

from STEnhanceLib.sequence import Grid


@dataclass(frozen=True, eq=False)
class KSpace:
    """Multi-coil k-space samples of a 2D cine stack, slice by slice.

    Cartesian data have a `mask`, radial data a `trajectory`; exactly one of the two is given.

    Attributes:
        samples: complex64; Cartesian (T, K, C, J, I) with centred, orthonormal FFT convention and zeros where nothing
            was measured; radial (T, K, C, S, R) with S spokes of R readout samples.
        coil_sensitivities: (K, C, J, I) complex64, root-sum-of-squares 1 where there is signal.
        grid: of the images that belong to it.
        mask: (T, J) bool, the measured phase-encoding lines of every frame.
        trajectory: (T, S, R, 2) float32, (k_j, k_i) in radians per pixel, −π … π.
        noise_std: standard deviation of the complex noise per real and imaginary part, in units of `samples`;
            NaN where unknown.
    """

    samples: np.ndarray
    coil_sensitivities: np.ndarray
    grid: Grid
    mask: np.ndarray | None = None
    trajectory: np.ndarray | None = None
    noise_std: float = float("nan")
