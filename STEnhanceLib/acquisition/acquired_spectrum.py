"""The mean log power of images, and what it shows of how they were measured.

A scanner fills k-space with zeros before it shows an image, and often fades out its edge. In the mean log power of many
images the measured frequencies lie on a smooth curve (that of anatomy, bent by noise); outside lies only what the
magnitude brings there. Where the signal is bright, the magnitude of a band-limited image is nearly band-limited; in air
it is not: images are tapered to bright tissue first. The mean of the logarithm of a periodogram lies Euler's constant
below the logarithm of its mean (Wahba, J Am Stat Assoc 1980; 75:122-132), and no bright slice rules it.
"""

from __future__ import annotations

from typing import NamedTuple

import numpy as np

from STEnhanceLib.acquisition import centre_crop
from STEnhanceLib.acquisition.acquired_edge import Profile

IMAGES = 24  # that are looked at, spread over frames and slices
DIFFERENCES = 8  # between neighbouring frames, of which noise is told
ENLARGED = 11  # times the usual strength of a period
ACROSS = 0.2  # share of the frequencies of the other axis over which a profile is averaged
CORNER = 1.1  # radius of k-space without corners, in units of its edges
BRIGHT = 0.25  # of the brightest


class Spectra(NamedTuple):
    """Log power of images.

    Attributes:
        slices: (k, J, I) of each slice, mean over frames, in nepers and in the order of the transform.
        taper: (J, I) by which images were weighed.
    """

    slices: np.ndarray
    taper: np.ndarray

    @property
    def mean(self) -> np.ndarray:
        """(J, I) over all slices."""
        return self.slices.mean(0)


def spectra(frames: np.ndarray) -> Spectra:
    """Of some of the images (T, K, J, I); (0, J, I) slices where all of them are empty."""
    images = some_images(frames)
    if not images.any():  # as where only the grid of a result is asked for, while somebody waits
        return Spectra(np.empty((0, *images.shape[-2:]), np.float32), np.zeros(images.shape[-2:], np.float32))
    images = images / max(float(np.abs(images).max()), np.finfo(np.float32).tiny)  # whose squares float32 can hold
    taper = _taper(images)
    slices = [_log_power(of_slice, taper) for of_slice in images.swapaxes(0, 1)]
    kept = [one for one in slices if one is not None]
    return Spectra(np.stack(kept) if kept else np.empty((0, *taper.shape), np.float32), taper)


def profile(log_power: np.ndarray, taper: np.ndarray, axis: int, sign: int = 0) -> Profile:
    """Log power along one axis of k-space, over the low frequencies of the other.

    Args:
        log_power, taper: (J, I), see `Spectra`.
        axis: 0 or 1.
        sign: of the frequencies, 1 or -1; 0 for the mean of both.
    """
    other = np.fft.fftfreq(log_power.shape[1 - axis]) * 2
    line = log_power.compress(np.abs(other) <= ACROSS, axis=1 - axis).mean(1 - axis)
    u = np.arange(len(line) // 2 + 1)
    line = (line[u] + line[-u]) / 2 if sign == 0 else line[sign * u]
    return _profile(line, taper, axis, ACROSS / np.sqrt(3))


def diagonal_profiles(
    log_power: np.ndarray, taper: np.ndarray, axis: int, other_edge: float
) -> tuple[Profile, Profile]:
    """As `profile`, over middle frequencies of the other axis: where both have the same sign, and where not.

    Of images that were turned after the scan, the measured frequencies are a turned rectangle, and these two end at
    different frequencies.
    """
    along_axis = log_power if axis == 0 else log_power.T
    other = np.fft.fftfreq(along_axis.shape[1]) * 2 / other_edge
    positive, negative = (along_axis[:, (sign * other > 0.4) & (sign * other < 0.6)].mean(1) for sign in (1, -1))
    u = np.arange(along_axis.shape[0] // 2 + 1)
    pairs = ((positive[u] + negative[-u]) / 2, (negative[u] + positive[-u]) / 2)
    return tuple(_profile(line, taper, axis, 0.5 * other_edge) for line in pairs)


def _profile(line: np.ndarray, taper: np.ndarray, axis: int, across: float) -> Profile:
    size = taper.shape[axis]
    u = np.arange(size // 2 + 1)
    spread = (np.abs(np.fft.fft2(taper)) ** 2).sum(1 - axis)
    twice = (u > 0) & (2 * u != size)  # frequencies of which there is a negative one
    kernel = spread[(u - u[:, None]) % size] + spread[(u + u[:, None]) % size] * twice[:, None]
    return Profile(line, kernel / spread.sum(), across, size)


def lopsided(log_power: np.ndarray, edges: tuple[float, float]) -> float:
    """By how many nepers mirrored quadrants differ about the edges, where they differ most (the 90th percentile).

    A rectangle of measured frequencies is its own mirror image, and so is one with cut or faded corners: up to 3.6 on
    hearts, from anatomy, and up to 3.9 in single slices. One that was turned by 5 or 30° is not: 4 to 8.
    """
    from scipy import ndimage

    smooth = ndimage.uniform_filter(log_power, [max(3, n // 24) for n in log_power.shape], mode="wrap")
    mirrored = smooth[:, -np.arange(log_power.shape[1]) % log_power.shape[1]]
    j, i = _in_edges(log_power.shape, edges)
    outer, inner = np.maximum(j, i), np.minimum(j, i)
    about = (outer > 0.8) & (outer < 1.25) & (inner > 0.15)
    return float(np.quantile(np.abs(smooth - mirrored)[about], 0.9)) if about.any() else 0.0


def corners_cut(log_power: np.ndarray, edges: tuple[float, float]) -> bool:
    """Whether the corners of the measured rectangle (its edges as shares of the shown one) hold nothing."""
    j, i = _in_edges(log_power.shape, edges)
    outside = np.maximum(j, i)
    radius = np.hypot(j, i)
    ring = log_power[(radius > 0.75) & (radius < 0.95)]
    corner = log_power[(radius > 1.2) & (outside < 0.95)]
    beyond = log_power[outside > 1.08]
    if min(ring.size, corner.size, beyond.size) < 8 or ring.mean() - beyond.mean() < 1:
        return False
    return bool(corner.mean() - beyond.mean() < 0.25 * (ring.mean() - beyond.mean()))


def enlarged_by_neighbours(frames: np.ndarray, axis: int) -> bool:
    """Whether something other than a zero-fill enlarged images along an axis (-2 or -1): nearest, linear, spline.

    Interpolation between neighbours makes the second derivative weaker between old voxels than on them, with their
    period (Gallagher, Detection of linear and cubic interpolation in JPEG compressed images, CRV 2005); the nearest
    one repeats whole lines.
    """
    images = np.moveaxis(np.abs(some_images(frames)), axis, -1)
    size = images.shape[-1]
    if size < 32 or not images.any():
        return False
    of_others = tuple(range(images.ndim - 1))
    repeated = np.abs(np.diff(images)).max(of_others) == 0
    full = images.max(of_others)[1:] > 0
    if np.count_nonzero(repeated & full) > 0.1 * size:
        return True
    curvature = np.abs(np.diff(images, n=2)).mean(of_others)
    course = np.log(curvature + 1e-6 * curvature.max())
    strength = np.abs(np.fft.rfft((course - course.mean()) * np.hanning(size - 2)))[size // 8 :]  # anatomy is below
    return bool(strength.max() > ENLARGED * np.median(strength))


def beyond(frames: np.ndarray, measured_ji: tuple[int, int]) -> float:
    """How much bright tissue holds at frequencies beyond these, root mean square, in units of the brightest.

    Taking the magnitude of a scan that ends there brings in 0.1 to 0.7 %, its noise included. What was measured there
    is lost when images are taken back to a matrix that is too small.
    """
    images = np.abs(some_images(frames)).reshape(-1, *frames.shape[-2:])
    brightest = float(np.percentile(images, 99.9))
    if not brightest:
        return 0.0
    left = centre_crop.beyond(images, measured_ji)
    return float(np.sqrt(np.mean(np.square(left[images > BRIGHT * brightest] / brightest))))


def noise_std(frames: np.ndarray, taper: np.ndarray, window: np.ndarray) -> float:
    """Standard deviation of the noise (of real and imaginary part each) in images (T, K, J, I); NaN below 3 frames.

    Second differences of neighbouring frames hold noise and little else at high frequencies, where they are looked at.

    Args:
        taper: see `Spectra`.
        window: amplitude of the scanner's filter, see `Acquired.window`.
    """
    if len(frames) < 3:
        return float("nan")
    middle = frames.shape[1] // 2
    starts = np.unique(np.linspace(0, len(frames) - 3, DIFFERENCES).astype(int))
    frames = frames[:, middle].astype(np.result_type(frames, np.float64))  # huge intensities, too, have squares
    differences = np.stack([frames[t] - 2 * frames[t + 1] + frames[t + 2] for t in starts])
    log_power = _log_power(differences / np.float32(np.sqrt(6)), taper)
    if log_power is None:
        return 0.0
    j, i = _in_edges(log_power.shape, tuple(m / n for m, n in zip(window.shape, log_power.shape, strict=True)))
    band = (np.hypot(j, i) > 0.6) & (np.hypot(j, i) < 0.9)
    filtered = window[_nearest(log_power.shape, window.shape)][band]
    power = np.exp(np.mean(log_power[band] - 2 * np.log(filtered)) + np.euler_gamma) / np.sum(taper**2)
    channels = 2 if np.iscomplexobj(frames) else 1  # that a magnitude keeps of noise: the one along the signal
    return float(np.sqrt(power / channels * np.sum(window**2) / log_power.size))


def some_images(frames: np.ndarray) -> np.ndarray:
    """(t, k, J, I), at most `IMAGES` of them, and more slices than frames only where there are few frames."""
    count, slices = frames.shape[:2]
    few_slices = min(slices, max(4, IMAGES // count))
    few = min(count, IMAGES // few_slices)
    at = np.linspace(0, count - 1, few).round().astype(int)
    inset = (slices - few_slices) / (2 * few_slices)  # not the outermost ones, where there is little to see
    k = np.linspace(inset, slices - 1 - inset, few_slices).round().astype(int)
    return frames[at][:, k]


def _taper(images: np.ndarray) -> np.ndarray:
    """(J, I): one on bright tissue, falling to nothing at the edge of the field of view."""
    from scipy import ndimage

    rows, columns = images.shape[-2:]
    taper = np.outer(np.hanning(rows + 2)[1:-1], np.hanning(columns + 2)[1:-1])
    mean = ndimage.gaussian_filter(np.abs(images).mean((0, 1)), (rows / 50, columns / 50))
    bright = (mean > 0.25 * np.percentile(mean, 95)).astype(np.float32)
    return (taper * ndimage.gaussian_filter(bright, (rows / 16, columns / 16), mode="constant")).astype(np.float32)


def _log_power(images: np.ndarray, taper: np.ndarray) -> np.ndarray | None:
    """(J, I) mean over images (n, J, I), float32; None where all of them are empty."""
    import scipy.fft

    logarithms = []
    for image in images:
        spectrum = scipy.fft.fft2(image * taper)
        power = spectrum.real**2 + spectrum.imag**2
        if power.max() > 0:
            logarithms.append(np.log(power + np.float32(1e-14) * power.max()))
    return np.mean(logarithms, axis=0) if logarithms else None


def _in_edges(shape: tuple[int, int], edges: tuple[float, float]) -> list[np.ndarray]:
    """Size of the frequencies along both axes, (J, I) each, in units of the edges."""
    shares = [np.abs(np.fft.fftfreq(n)) * 2 / edge for n, edge in zip(shape, edges, strict=True)]
    return np.meshgrid(*shares, indexing="ij")


def _nearest(shape: tuple[int, int], measured: tuple[int, int]) -> tuple[np.ndarray, np.ndarray]:
    """Where frequencies of the shown matrix lie in the measured one; the outermost for those beyond."""
    at = []
    for n, m in zip(shape, measured, strict=True):
        f = np.round(np.fft.fftfreq(n) * n).astype(int)
        at.append(np.clip(f, -(m // 2), (m - 1) // 2) % m)
    return np.ix_(*at)
