"""The k-space centre crop for tensors, with gradients: the operators of `centre_crop`, as one small matrix per axis.

For the matrices of a cine a product with such a matrix is faster than two Fourier transforms, and it treats odd sizes,
whole factors and any others alike.
"""

from __future__ import annotations

import functools

import numpy as np
import torch

from STEnhanceLib.acquisition import centre_crop


def resample(images: torch.Tensor, shape_ji: tuple[int, int]) -> torch.Tensor:
    """(..., J, I) float32 → (..., J', I'): `crop` of `centre_crop` along axes that shrink, `zero_fill` along others."""
    if images.is_complex():
        return torch.complex(resample(images.real, shape_ji), resample(images.imag, shape_ji))
    (old_j, old_i), (new_j, new_i) = images.shape[-2:], shape_ji
    along_j = functools.partial(_along_j, size=new_j)
    along_i = functools.partial(_along_i, size=new_i)
    # The axis that shrinks most goes first: the other one then has less to do.
    first, second = (along_j, along_i) if new_j * old_i <= new_i * old_j else (along_i, along_j)
    return second(first(images))


def replace_centre(images: torch.Tensor, measured: torch.Tensor) -> torch.Tensor:
    """Hard data consistency: the image (..., J, I) nearest to `images` whose crop is `measured` (..., J', I')."""
    return images + resample(measured - resample(images, measured.shape[-2:]), images.shape[-2:])


def with_signs(images: torch.Tensor, shown: torch.Tensor, measured_ji: tuple[int, int]) -> torch.Tensor:
    """What was measured of magnitude images, given an estimate of the truth, which knows where ringing is below zero.

    A scan with the matrix `measured_ji` rings, and the magnitude folds up what rings below zero. Where the estimate,
    scanned alike, is negative, so the magnitudes are taken to be.

    Args:
        images: (B, 1, J, I) the estimate.
        shown: (B, 1, J', I') as a scanner gives them; those with values below zero are signed already and stay so.
        measured_ji: the matrix of the scan, at most J', I' and J, I.

    Returns:
        (B, 1, j, i) the samples of the scan.
    """
    expected = resample(resample(images, measured_ji), shown.shape[-2:])
    folded = shown.flatten(1).amin(dim=1).view(-1, 1, 1, 1) >= 0
    return resample(torch.where(folded & (expected < 0), -shown, shown), measured_ji)


def _along_j(images: torch.Tensor, size: int) -> torch.Tensor:
    return images if images.shape[-2] == size else _matrix(images.shape[-2], size, images.device) @ images


def _along_i(images: torch.Tensor, size: int) -> torch.Tensor:
    return images if images.shape[-1] == size else images @ _matrix(images.shape[-1], size, images.device).T


@functools.lru_cache(maxsize=128)
def _matrix(old: int, new: int, device: torch.device) -> torch.Tensor:
    """(new, old) float32: what the operator of one axis does to each unit vector."""
    shape_ji = (new, old)
    unit = np.eye(old)
    matrix = centre_crop.crop(unit, shape_ji) if new < old else centre_crop.zero_fill(unit, shape_ji)
    with torch.inference_mode(False):  # whoever asks first, it is kept for those who need gradients, too
        return torch.from_numpy(matrix.astype(np.float32)).to(device)
