"""Which part of a reconstruction the measured samples determine, and which part something else put there."""

from __future__ import annotations

import math
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    import torch

    from STEnhanceLib.acquisition.operators import Operator

LEAST_GAIN = 1e-3  # of the largest: seen a thousand times more weakly is not seen, even where no noise is known
ITERATIONS, TOLERANCE = 60, 1e-3


def measured_part(operator: Operator, images: torch.Tensor, noise_std: float = math.nan) -> torch.Tensor:
    """The part z of the images x that the measurement determines: (AᴴA + ε) z = AᴴA x.

    Every frame is judged by its own samples: what a method borrows from other frames counts as not measured.

    Of a pattern that AᴴA multiplies by λ there remains λ / (λ + ε): all of what was measured well, nothing of what no
    sample depends on, and half of where the measurement gains as much as its noise costs. With one Cartesian coil it
    is the projection onto the measured lines (short of ε); with several it is what parallel imaging alone could tell.

    ε is the power of the noise over that of the images, as in a Wiener filter: what lies below the noise cannot be
    said to be measured. It is at least `LEAST_GAIN` of the largest λ, which also bounds the number of steps.

    Args:
        operator: A, the acquisition of one slice.
        images: x, (T, J, I) complex64.
        noise_std: of the complex noise of the samples per real and imaginary part; NaN where unknown.

    Returns:
        (T, J, I) complex64.

    References:
        Backus, Gilbert: The resolving power of gross Earth data. Geophys J R Astron Soc 1968; 16:169-205 (x to z is
        the resolution operator of regularized least squares).
    """
    import torch

    from STEnhanceLib.acquisition.operators import conjugate_gradient

    with torch.no_grad():
        strength = LEAST_GAIN * operator.largest_eigenvalue()
        power = float(images.abs().square().mean())
        if noise_std > 0 and power > 0:
            # Weights below 1 let that much less noise into the adjoint.
            weight = float(torch.as_tensor(operator.weights).max())
            strength = max(strength, 2 * noise_std**2 * weight / power)
        seen, nothing = operator.forward(images), torch.zeros_like(images)
        return conjugate_gradient(operator, seen, nothing, strength, iterations=ITERATIONS, tolerance=TOLERANCE)
