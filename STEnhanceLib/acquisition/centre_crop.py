"""The k-space centre crop: a scan of low resolution keeps the low frequencies of each slice and nothing else.

Both directions act in-plane, along each axis in turn, by copying the frequencies |f| < n/2 of the small matrix n. The
first samples of both matrices coincide, so small sample m lies at index m · (large / small) of the large matrix, also
where that ratio is no whole number. Intensities are kept: a constant image stays the same constant.

The Nyquist frequency of an even small matrix stands for two frequencies of the large one. It is shared between them
with weight 1/√2 each way, so that real images stay real, `crop(zero_fill(x))` is x, and, with N and n voxels per slice
of the large and the small matrix, the two are adjoint up to their scale: N · ⟨crop(x), y⟩ = n · ⟨x, zero_fill(y)⟩.
`zero_fill(crop(x))` is therefore the orthogonal projection of x onto what the scanner measured.
"""

from __future__ import annotations

import numpy as np

from STEnhanceLib.errors import STEnhanceError


def crop(frames: np.ndarray, shape_ji: tuple[int, int]) -> np.ndarray:
    """What a scan with the smaller matrix measures, as images.

    Args:
        frames: (..., J, I) float32 or complex64.
        shape_ji: the smaller matrix (J', I'), each at least 1 and at most J, I.

    Returns:
        (..., J', I') of the type of `frames`.

    Raises:
        STEnhanceError: the matrix is larger than the frames.
    """
    if not (1 <= shape_ji[0] <= frames.shape[-2] and 1 <= shape_ji[1] <= frames.shape[-1]):
        raise STEnhanceError(_unfit("cropped", frames, shape_ji, "at most"))
    return _resample(frames, shape_ji)


def zero_fill(frames: np.ndarray, shape_ji: tuple[int, int]) -> np.ndarray:
    """The images on a larger matrix, with zeros for the high frequencies that were not measured.

    Args:
        frames: (..., J, I) float32 or complex64.
        shape_ji: the larger matrix (J', I'), each at least J, I.

    Returns:
        (..., J', I') of the type of `frames`.

    Raises:
        STEnhanceError: the matrix is smaller than the frames.
    """
    if shape_ji[0] < frames.shape[-2] or shape_ji[1] < frames.shape[-1]:
        raise STEnhanceError(_unfit("zero-filled", frames, shape_ji, "at least"))
    return _resample(frames, shape_ji)


def replace_centre(frames: np.ndarray, measured: np.ndarray) -> np.ndarray:
    """Hard data consistency: the low frequencies of `frames` replaced by those of `measured`, the others untouched.

    Args:
        frames: (..., J, I), the estimate.
        measured: (..., J', I'), the images of the smaller matrix.

    Returns:
        (..., J, I), the image nearest to `frames` whose `crop` is `measured`.

    Raises:
        STEnhanceError: `measured` has the larger matrix.
    """
    return frames + zero_fill(measured - crop(frames, measured.shape[-2:]), frames.shape[-2:])


def beyond(frames: np.ndarray, shape_ji: tuple[int, int]) -> np.ndarray:
    """What (..., J, I) frames hold at frequencies that a smaller matrix does not measure, on their own matrix.

    Raises:
        STEnhanceError: the matrix is larger than the frames.
    """
    return frames - zero_fill(crop(frames, shape_ji), frames.shape[-2:])


def _resample(frames: np.ndarray, shape_ji: tuple[int, int]) -> np.ndarray:
    if np.iscomplexobj(frames):
        return _resample(frames.real, shape_ji) + np.complex64(1j) * _resample(frames.imag, shape_ji)
    # The axis that shrinks most (or grows least) goes first: the other one then has less to do.
    for axis in sorted((-2, -1), key=lambda a: shape_ji[a] / frames.shape[a]):
        frames = _resample_axis(frames, axis, shape_ji[axis])
    return frames


def _resample_axis(frames: np.ndarray, axis: int, size: int) -> np.ndarray:
    import scipy.fft

    old = frames.shape[axis]
    if size == old:
        return frames
    small = min(old, size)
    # Frequencies 0 … small // 2; the negative ones of a real signal follow from them.
    kept = [slice(None)] * frames.ndim
    kept[axis] = slice(small // 2 + 1)
    spectrum = scipy.fft.rfft(frames, axis=axis, workers=-1)[tuple(kept)]
    weights = np.full(small // 2 + 1, size / old, spectrum.real.dtype)
    if small % 2 == 0:
        # ±Nyquist of the large matrix become one: (a + conj a)/√2 = √2 · Re a; and the other way, a/√2 for each.
        weights[-1] *= np.sqrt(2) if size < old else np.sqrt(0.5)
    spectrum = spectrum * weights.reshape(-1, *[1] * (-axis - 1))
    return scipy.fft.irfft(spectrum, size, axis=axis, workers=-1)


def _unfit(verb: str, frames: np.ndarray, shape_ji: tuple[int, int], bound: str) -> str:
    return (
        f"Frames of {frames.shape[-1]}×{frames.shape[-2]} were to be {verb} to {shape_ji[1]}×{shape_ji[0]}; expected "
        f"{bound} the size of the frames along both axes. Choose another matrix or factor."
    )
