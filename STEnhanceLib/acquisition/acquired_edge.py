"""Where the spectrum of images ends along one axis: edge and filter of what was measured, fitted to log power.

Hypotheses of edge and filter are fitted to the logarithm of

    P(u) = kernel * [(exp(a0 + a2 u²) |u|^a1 + exp(a3)) W(u)²] + exp(b0 + b1 u + b2 u²)

anatomy, whose power falls by a power law (Field, J Opt Soc Am A 1987; 4:2379-2394), and white noise, both under the
filter W, and what lies outside; the kernel is how the taper spreads power to neighbouring frequencies. A hypothesis
without an edge is the rival. Filters are those of scanners: none, Fermi, and the raised cosine at the end of a flat top
(Tukey), of which Hann is the one without a top (Bernstein, King, Zhou: Handbook of MRI Pulse Sequences, 2004, 13.1).
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import NamedTuple

import numpy as np

FADED = 0.1  # amplitude of the filter below which nothing counts as measured
HIGHEST = 0.98  # the largest share that is told from all
HIGHEST_FADED = 0.95  # the same, where a filter may fade before samples end
SMALLEST = 0.25  # the smallest share of the shown matrix that is looked for
SHARP, FERMI, TUKEY = "no filter", "Fermi", "Tukey"
# How well an edge must be seen, see `Edge.strength`; and where something else, such as the header, says the same.
LEAST_STRENGTH = {SHARP: 2.5, FERMI: 3.8, TUKEY: 3.8}
LEAST_STRENGTH_EXPECTED = 1.2
EVEN, LEAST_STRENGTH_EVEN, LEAST_GAIN_EVEN = 0.8, 2.3, 2.2  # nepers that a floor may fall to be called even
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
        fall: nepers by which what lies beyond the edge falls towards the highest frequency.
        left_out: what partial Fourier left out along the axis, in words.
        misfit, misfit_native: root mean square, nepers, with the edge and without any.
    """

    share: float
    edge: float
    family: str
    shape: tuple[float, ...]
    drop: float
    fall: float
    misfit: float
    misfit_native: float
    left_out: str = ""

    @property
    def gain(self) -> float:
        """How many times better the spectrum is explained with the edge than without any."""
        return self.misfit_native / max(self.misfit, 1e-9)

    @property
    def strength(self) -> float:
        """How well the edge is seen: how much better it explains the spectrum than none does, times what is lost."""
        return (self.gain - 1) * float(np.clip(self.drop, 0, 8))

    @property
    def sure(self) -> bool:
        """The spectrum cannot be explained without this edge; less is enough where an even floor follows it."""
        least = LEAST_STRENGTH[self.family]
        if self.fall < EVEN and self.gain > LEAST_GAIN_EVEN:
            least = min(least, LEAST_STRENGTH_EVEN)
        return self.strength >= least and self.drop >= 1 and self.told_from_all

    @property
    def told_from_all(self) -> bool:
        """Whether it is not merely the fading of a filter over samples that reach the end."""
        return self.share < (HIGHEST if self.family == SHARP else HIGHEST_FADED)

    def window(self, share: np.ndarray) -> np.ndarray:
        """Amplitude of the filter at these shares of the Nyquist frequency of the shown matrix."""
        return filter_of(self.family, self.shape, np.abs(share) / self.edge)


NATIVE = Edge(1.0, 1.0, SHARP, (), 0.0, 0.0, 0.0, 0.0)


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


def find_edge(measured: Profile) -> Edge:
    """The end of the measured frequencies that a profile shows."""
    last = len(measured.line) - 1
    first = _first(measured)
    if last - first < 8:
        return NATIVE
    fit = _Fit(measured, first)
    native = fit.solve([(SHARP, (), last + 1.0)])
    edges = np.geomspace(max(first + 4, SMALLEST * last), last - 0.5, 40)
    tried = [(family, shape, edge) for family, shape in SHAPES for edge in edges]
    found = fit.solve(tried)
    best = None
    for family, shape in STARTS:
        those = [n for n, (kind, other, _) in enumerate(tried) if kind == family and shape in (None, other)]
        start = min(those, key=lambda n: found.cost[n])
        refined = fit.refined(tried[start], found.coefficients[start], edges[1] / edges[0] - 1)
        cost = refined.cost[0] * PENALTIES[family]
        if best is None or cost < best[0]:
            best = cost, refined
    return fit.edge(best[1], native)


def ends_later(measured: Profile, edge: Edge) -> bool:
    """Whether a profile ends clearly beyond an edge, or nowhere."""
    fit = _Fit(measured, _first(measured))
    at = edge.edge * fit.nyquist
    beyond = np.geomspace(1.12 * at, max(1.12 * at, fit.last - 0.5), 12)
    tried = [(edge.family, edge.shape, where) for where in (at, *beyond)] + [(SHARP, (), fit.last + 1.0)]
    cost = fit.solve(tried).cost
    return bool(cost[1:].min() * 2.5 < cost[0])


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
        self.outside = np.stack([np.ones_like(x), x - 1, (x - 1) ** 2])

    def windows(self, tried: list) -> np.ndarray:
        """(H, N // 2 + 1) power of filters at every frequency; the sample at the edge counts in part."""
        power = [filter_of(family, shape, self.u / edge) ** 2 for family, shape, edge in tried]
        edges = np.array([edge for _, _, edge in tried])[:, None]
        return np.stack(power) * np.clip(edges - self.u + 0.5, 0, 1)

    def start(self, windows: np.ndarray) -> np.ndarray:
        """Coefficients to begin with, (H, 7)."""
        slope = -2.3
        low = slice(self.first, self.first + 4)
        level = np.mean(self.line[low] - slope * self.inside[1, low])
        ends = (windows > 0.05).sum(1).clip(1, self.last) - 1
        outside = [np.mean(self.line[min(end + 2, self.last) :]) for end in ends]
        c = np.zeros((len(windows), 7))
        c[:, 0], c[:, 1], c[:, 3], c[:, 4] = level, slope, self.line[ends] - 1, outside
        return c

    def solve(self, tried: list, coefficients: np.ndarray | None = None, steps: int = 8) -> _Solved:
        """Gauss-Newton with damping, all hypotheses at once."""
        windows = self.windows(tried)
        c = self.start(windows) if coefficients is None else np.array(np.broadcast_to(coefficients, (len(tried), 7)))
        rest, jacobian = self._model(c, windows)
        cost, damping = _cost(c, rest), np.full(len(c), 1e-2)
        for _ in range(steps):
            normal = jacobian @ jacobian.transpose(0, 2, 1)
            right = (jacobian @ rest[..., None])[..., 0] - PRIOR * (c - CENTRE)
            normal += np.eye(7) * (PRIOR + damping[:, None] * np.einsum("hpp->hp", normal) + 1e-6)[:, None]
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
        floor = np.polyval(c[:3:-1], at / self.last - 1)
        misfit = np.sqrt(best.cost[0]), np.sqrt(native.cost[0])
        return Edge(
            float(min(1, at / self.nyquist)),
            edge / self.nyquist,
            family,
            shape,
            float(signal - floor),
            float(floor - c[4]),
            *map(float, misfit),
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
CENTRE = np.array([0, -3.3, 0, 0, 0, 0, 0])
PRIOR = 0.3**2 / np.array([1e6, 0.6, 0.4, 1e6, 1e6, 3.0, 3.0]) ** 2
PENALTIES = {SHARP: 1.0, FERMI: 1.15, TUKEY: 1.25}
STARTS = ((SHARP, None), (FERMI, None), (TUKEY, (0.3,)), (TUKEY, (1.0,)))  # family, and of which shape; any if None
STEPS = {SHARP: (), FERMI: (0.08, 0.03), TUKEY: (0.25,)}
LIMITS = {SHARP: (), FERMI: ((0.85, 1.2), (0.005, 0.12)), TUKEY: ((0.05, 1.0),)}


def _first(measured: Profile) -> int:
    """The lowest frequency that the model is fitted to: below, a spectrum is that of one patient."""
    return max(3, round(0.06 * (len(measured.line) - 1)))


def _cost(c: np.ndarray, rest: np.ndarray) -> np.ndarray:
    return (rest**2).sum(1) + (PRIOR * (c - CENTRE) ** 2).sum(1)
