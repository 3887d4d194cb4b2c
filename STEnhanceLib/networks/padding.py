"""Images of any size for networks that fold or halve them."""

from __future__ import annotations

import torch
from torch.nn import functional


def padded(images: torch.Tensor, multiple: int, axes: int = 2) -> torch.Tensor:
    """(B, C, J, I) or (B, C, K, J, I) continued with its edge to multiples of `multiple` along the last axes."""
    missing = [-n % multiple for n in images.shape[-axes:]]
    if not any(missing):
        return images
    by = [edge for more in reversed(missing) for edge in (0, more)]
    by += [0, 0] * (images.ndim - 2 - axes)  # torch continues all axes of an image or none
    return functional.pad(images, by, mode="replicate")
