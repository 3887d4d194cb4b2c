"""Where the spectrum of images ends: support and filter of the measurement, found along one axis of k-space.

A scanner fills k-space with zeros before it shows an image, and often fades out its edge. In the mean log power of many
images the measured frequencies lie on a smooth curve (that of anatomy, bent by noise), multiplied by the power of the
filter; outside, only what the magnitude brings there: where the signal is bright, the magnitude of a band-limited image
is nearly band-limited, in air it is not, so that images are tapered to bright tissue first.

Along each axis, hypotheses of edge and filter are fitted to the logarithm of

    P(u) = kernel * [(exp(a0 + a2 u²) |u|^a1 + exp(a3)) W(u)²] + exp(b0 + b1 u)

anatomy, whose power falls by a power law (Field, J Opt Soc Am A 1987; 4:2379-2394), and white noise, both under the
filter W, and what lies outside; the kernel is how the taper spreads power to neighbouring frequencies. A hypothesis
without an edge is the rival.
The mean of the logarithm of a periodogram lies a constant below the logarithm of its mean (Wahba, J Am Stat Assoc 1980;
75:122-132), and is not ruled by the brightest slice.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import NamedTuple

import numpy as np

from STEnhanceLib.sequence import ImageSequence

FADED = 0.1  # amplitude of the filter below which nothing counts as measured
IMAGES = 36  # that are looked at, spread over frames and slices
HIGHEST = 0.98  # the largest share that is told from all
SMALLEST = 0.25  # the smallest share of the shown matrix that is looked for
LEAST_DROP = 1.0  # nepers of power that a spectrum must lose at its edge
LEAST_GAIN = 1.6  # times that the edge must explain the spectrum better than none
SHARP, FERMI, TUKEY = "no filter", "Fermi", "Tukey"
# (family, parameters) that are tried at every edge: Fermi by radius and width, Tukey by its share, all in edges.
SHAPES = (
    (SHARP, ()),
    (FERMI, (1.0, 0.03)),
    (FERMI, (0.94, 0.05)),
    (TUKEY, (0.3,)),
    (TUKEY, (0.6,)),
    (TUKEY, (1.0,)),
)


@dataclass(frozen=True)
class Edge:
    """The end of the measured frequencies along one axis.

    Attributes:
        share: measured part of the shown matrix, 0 … 1; 1 where nothing was interpolated. Where a filter fades out,
            up to where its amplitude is `FADED`.
        edge: where the filter ends, as `share`; at or beyond it.
        family: `SHARP`, `FERMI` or `TUKEY`.
        shape: its parameters, in units of `edge`.
        drop: nepers of power lost beyond the edge, against the spectrum continued.
        misfit, misfit_native: root mean square, nepers, with the edge and without any.
    """

    share: float
    edge: float
    family: str
    shape: tuple[float, ...]
    drop: float
    misfit: float
    misfit_native: float

    @property
    def sure(self) -> bool:
        """The spectrum cannot be explained without this edge."""
        better = self.misfit_native >= LEAST_GAIN * self.misfit
        return better and self.drop >= LEAST_DROP and self.share < HIGHEST

    def window(self, share: np.ndarray) -> np.ndarray:
        """Amplitude of the filter at these shares of the Nyquist frequency of the shown matrix."""
        return filter_of(self.family, self.shape, np.abs(share) / self.edge)


NATIVE = Edge(1.0, 1.0, SHARP, (), 0.0, 0.0, 0.0)


def filter_of(family: str, shape: tuple[float, ...], radius: np.ndarray) -> np.ndarray:
    """Amplitude at a radius of which 1 is the edge of the samples; the samples end there, the filter need not."""
    if family == FERMI:
        return 1 / (1 + np.exp(np.clip((radius - shape[0]) / shape[1], -60, 60)))
    if family == TUKEY:
        return 0.5 * (1 + np.cos(np.pi * np.clip((radius - 1 + shape[0]) / shape[0], 0, 1)))
    return np.ones_like(radius)


def fades_at(family: str, shape: tuple[float, ...]) -> float:
    """The radius, at most 1, up to which the filter is above `FADED`."""
    if family == FERMI:
        return min(1.0, shape[0] + shape[1] * np.log(1 / FADED - 1))
    if family == TUKEY:
        return 1 - shape[0] + shape[0] * np.arccos(2 * FADED - 1) / np.pi
    return 1.0


def some_images(sequence: ImageSequence, most: int = IMAGES) -> np.ndarray:
    """At most so many images of a sequence, spread over frames and slices: (n, k, J, I) of n frames and k slices."""
    frames, slices = sequence.frames.shape[:2]
    few_slices = min(slices, max(1, int(np.sqrt(most * slices / max(frames, 1)) + 0.5), most // max(frames, 1)))
    few_slices = min(few_slices, most)
    few_frames = min(frames, max(1, most // few_slices))
    at = np.linspace(0, frames - 1, few_frames).astype(int)
    k = np.linspace(0, slices - 1, few_slices + 2)[1:-1] if slices > few_slices + 1 else np.arange(few_slices)
    return sequence.frames[at][:, np.unique(np.round(k).astype(int))]


def mean_log_power(images: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    """Of images (..., J, I): the mean log power of their spectra in nepers, and the power of the taper's spectrum.

    Both (J, I) in the order of the transform.
    """
    import scipy.fft
    from scipy import ndimage

    images = images.reshape(-1, *images.shape[-2:])
    rows, columns = images.shape[-2:]
    taper = np.outer(np.hanning(rows + 2)[1:-1], np.hanning(columns + 2)[1:-1]).astype(np.float32)
    mean = ndimage.gaussian_filter(np.abs(images).mean(0), (rows / 50, columns / 50))
    bright = (mean > 0.25 * np.percentile(mean, 95)).astype(np.float32)
    taper *= ndimage.gaussian_filter(bright, (rows / 16, columns / 16), mode="constant")
    total, used = np.zeros((rows, columns), np.float32), 0
    for image in images:
        spectrum = scipy.fft.fft2(image * taper)
        power = spectrum.real**2 + spectrum.imag**2
        if power.max() > 0:  # not an empty image
            total += np.log(power + 1e-14 * power.max())
            used += 1
    return total / max(used, 1), np.abs(scipy.fft.fft2(taper)) ** 2


class Profile(NamedTuple):
    """Log power along one axis of k-space.

    Attributes:
        line: (N // 2 + 1,) mean over both signs and over low frequencies of the other axis, nepers.
        kernel: (N // 2 + 1, N // 2 + 1) how the taper spreads power: power before, times this.
        across: root mean square of the frequencies of the other axis, in shares of this one's Nyquist frequency.
        size: N, voxels along the axis.
    """

    line: np.ndarray
    kernel: np.ndarray
    across: float
    size: int


def profile(log_power: np.ndarray, taper: np.ndarray, axis: int, others: float = 0.3) -> Profile:
    """Along one axis (0 or 1), over this share of the frequencies of the other axis; arguments as `mean_log_power`."""
    other = np.fft.fftfreq(log_power.shape[1 - axis]) * 2
    line = log_power.compress(np.abs(other) <= others, axis=1 - axis).mean(1 - axis)
    size = len(line)
    u = np.arange(size // 2 + 1)
    spread = taper.sum(1 - axis)
    kernel = spread[(u - u[:, None]) % size] + spread[(u + u[:, None]) % size] * (
        (u[:, None] > 0) & (2 * u[:, None] != size)
    )
    return Profile((line[u] + line[-u]) / 2, kernel / spread.sum(), others / np.sqrt(3), size)


def find_edge(measured: Profile) -> Edge:
    """The end of the measured frequencies that a profile shows."""
    last = len(measured.line) - 1
    first = max(3, round(0.06 * last))
    if last - first < 8:
        return NATIVE
    fit = _Fit(measured, first)
    native = fit.solve([(SHARP, (), last + 1.0)])
    edges = np.geomspace(max(first + 4, SMALLEST * last), last - 0.5, 40)
    tried = [(family, shape, edge) for family, shape in SHAPES for edge in edges]
    found = fit.solve(tried)
    best = None
    for family, penalty in PENALTIES.items():
        those = [n for n, (kind, _, _) in enumerate(tried) if kind == family]
        start = min(those, key=lambda n: found.cost[n])
        refined = fit.refined(tried[start], found.coefficients[start], edges[1] / edges[0] - 1)
        cost = refined.cost[0] * penalty
        if best is None or cost < best[0]:
            best = cost, refined
    return fit.edge(best[1], native)


class _Solved(NamedTuple):
    tried: list
    coefficients: np.ndarray
    cost: np.ndarray


class _Fit:
    """The model of this file on one profile."""

    def __init__(self, measured: Profile, first: int):
        self.line, self.kernel = measured.line.astype(float), measured.kernel
        self.first, self.last, self.nyquist = first, len(self.line) - 1, measured.size / 2
        self.u = np.arange(len(self.line), dtype=float)
        x = self.u / self.last
        self.inside = np.stack([np.ones_like(x), np.log(np.hypot(x, measured.across)), x**2])
        self.outside = np.stack([np.ones_like(x), x - 1])

    def windows(self, tried: list) -> np.ndarray:
        """(H, N // 2 + 1) power of filters at every frequency; the sample at the edge counts in part."""
        power = [filter_of(family, shape, self.u / edge) ** 2 for family, shape, edge in tried]
        edges = np.array([edge for _, _, edge in tried])[:, None]
        return np.stack(power) * np.clip(edges - self.u + 0.5, 0, 1)

    def start(self, windows: np.ndarray) -> np.ndarray:
        """Coefficients to begin with, (H, 6)."""
        slope = -2.3
        low = slice(self.first, self.first + 4)
        level = np.mean(self.line[low] - slope * self.inside[1, low])
        ends = (windows > 0.05).sum(1).clip(1, self.last) - 1
        outside = [np.mean(self.line[min(end + 2, self.last) :]) for end in ends]
        return np.stack(
            [np.array([level, slope, 0.0, at, out, 0.0]) for at, out in zip(self.line[ends] - 1, outside, strict=True)]
        )

    def solve(self, tried: list, coefficients: np.ndarray | None = None, steps: int = 8) -> _Solved:
        """Gauss-Newton with damping, all hypotheses at once."""
        windows = self.windows(tried)
        c = self.start(windows) if coefficients is None else np.array(np.broadcast_to(coefficients, (len(tried), 6)))
        rest, jacobian = self._model(c, windows)
        cost, damping = _cost(c, rest), np.full(len(c), 1e-2)
        for _ in range(steps):
            normal = jacobian @ jacobian.transpose(0, 2, 1)
            right = (jacobian @ rest[..., None])[..., 0] - PRIOR * (c - CENTRE)
            normal += np.eye(6) * (PRIOR + damping[:, None] * np.einsum("hpp->hp", normal) + 1e-6)[:, None]
            new = c + np.clip(np.linalg.solve(normal, right[..., None])[..., 0], -3, 3)
            new_rest, new_jacobian = self._model(new, windows)
            new_cost = _cost(new, new_rest)
            better = new_cost < cost
            c[better], rest[better], jacobian[better] = new[better], new_rest[better], new_jacobian[better]
            cost = np.where(better, new_cost, cost)
            damping = np.where(better, damping / 5, damping * 8)
        return _Solved(tried, c, cost / rest.shape[1])

    def refined(self, start: tuple, coefficients: np.ndarray, step: float) -> _Solved:
        """The best filter of a family near a start, by grids that become finer."""
        family, shape, edge = start
        steps = [step * edge, *STEPS[family]]
        cost = np.inf
        for _ in range(5):
            axes = [edge + steps[0] * np.array([-1, -0.5, 0, 0.5, 1])]
            for value, width, limits in zip(shape, steps[1:], LIMITS[family], strict=True):
                axes.append(np.clip(value + width * np.array([-1, 0, 1]), *limits))
            grid = np.stack([each.ravel() for each in np.meshgrid(*axes, indexing="ij")], axis=1)
            grid[:, 0] = grid[:, 0].clip(self.first + 3, self.last + 0.5)
            found = self.solve([(family, tuple(row[1:]), row[0]) for row in grid], coefficients, 4)
            n = int(np.argmin(found.cost))
            if found.cost[n] < cost:
                cost, coefficients, (edge, *shape) = found.cost[n], found.coefficients[n], grid[n]
            steps = [width / 2 for width in steps]
        return _Solved([(family, tuple(float(v) for v in shape), float(edge))], coefficients[None], np.array([cost]))

    def edge(self, best: _Solved, native: _Solved) -> Edge:
        family, shape, edge = best.tried[0]
        c = best.coefficients[0]
        at = min(edge * fades_at(family, shape), self.last)
        here = np.array([np.interp(at, self.u, row) for row in self.inside])
        signal = np.logaddexp(c[:3] @ here, c[3])
        drop = signal - (c[4] + c[5] * (at / self.last - 1))
        misfit = np.sqrt(best.cost[0]), np.sqrt(native.cost[0])
        return Edge(
            float(min(1, at / self.nyquist)), edge / self.nyquist, family, shape, float(drop), *map(float, misfit)
        )

    def _model(self, c: np.ndarray, windows: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
        anatomy = np.exp(np.clip(c[:, :3] @ self.inside, -60, 60)) * windows
        noise = np.exp(np.clip(c[:, 3:4], -60, 60)) * windows
        floor = np.exp(np.clip(c[:, 4:] @ self.outside, -60, 60))
        within = np.concatenate([anatomy[:, None] * self.inside, noise[:, None]], axis=1) @ self.kernel
        parts = np.concatenate([within, floor[:, None] * self.outside], axis=1)[..., self.first :]
        power = within[:, 0] + within[:, 3] + floor
        power = power[:, self.first :] + 1e-300
        return self.line[self.first :] - np.log(power), parts / power[:, None]


# What is known of the coefficients before: the slope of anatomy, no curvature, an even floor; one over the variance, in
# units of that of a point of the profile.
CENTRE = np.array([0, -2.3, 0, 0, 0, 0])
PRIOR = 0.1**2 / np.array([1e6, 1.0, 0.7, 1e6, 1e6, 2.0]) ** 2
PENALTIES = {SHARP: 1.0, FERMI: 1.06, TUKEY: 1.06}
STEPS = {SHARP: (), FERMI: (0.08, 0.03), TUKEY: (0.25,)}
LIMITS = {SHARP: (), FERMI: ((0.7, 1.3), (0.005, 0.2)), TUKEY: ((0.05, 1.0),)}


def _cost(c: np.ndarray, rest: np.ndarray) -> np.ndarray:
    return (rest**2).sum(1) + (PRIOR * (c - CENTRE) ** 2).sum(1)
