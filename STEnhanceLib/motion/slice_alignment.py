"""What differs between neighbouring slices because they were measured one after the other, in other breath-holds.

Every slice is compared with the mean of its two neighbours: by how far it would have to move within its plane, how much
brighter and how much later in the beat it would have to be. These are found together, by Gauss-Newton steps on the
linearised difference (Lucas and Kanade 1981), robustly, where the heart beats more than elsewhere. Anatomy, too, moves
from slice to slice, but smoothly; so only what a smooth course along the stack cannot be is taken as an error: with d
the differences from the neighbours and L what makes them from values s per slice, s minimises |L s − d|² + 0.05 |s|²,
which keeps what changes within eight slices or fewer. Errors across slices cannot be told from the stack alone.
"""

from __future__ import annotations

from typing import NamedTuple

import numpy as np
from scipy import ndimage

FEWEST_SLICES = 3
MOST_FRAMES = 5  # tell as much as all of them
STIFFNESS = 0.05
SMOOTHED, STEPS = (4, 2), 5  # pixels, coarse to fine, which are then read as far apart; Gauss-Newton steps on each
BEATING = 6.0  # pixels over which it is averaged how much the brightness changes in time
RESTING = 0.1  # weight of what never changes
REWEIGHTINGS = 3


class Differences(NamedTuple):
    """By how much each slice is off a smooth course along the stack.

    Attributes:
        shifts: (K, 2) along (j, i), in pixels.
        gains: (K,) factors of brightness, 1 where nothing differs.
        delays: (K,) in frames; positive where the beat comes late.
    """

    shifts: np.ndarray
    gains: np.ndarray
    delays: np.ndarray


def beyond_smooth(values: np.ndarray) -> np.ndarray:
    """What of (K, …) values along a stack no smooth course explains."""
    return _solved(_off_neighbours(len(values)) @ values)


def find(frames: np.ndarray, *, brightness: bool = False, phase: bool = False, periodic: bool = False) -> Differences:
    """What differs between neighbouring slices; shifts always, brightness and phase where asked for.

    Args:
        frames: (T, K, J, I) real, of at least `FEWEST_SLICES` slices.
        brightness, phase: look for these, too; phase needs at least 3 frames.
        periodic: the last frame is followed by the first.
    """
    count, slices = frames.shape[:2]
    phase = phase and count > 2
    if not phase and count > MOST_FRAMES:
        frames = frames[np.linspace(0, count, MOST_FRAMES, endpoint=False).astype(int)]
    stack = frames.astype(np.float32, copy=False).swapaxes(0, 1)  # (K, T, J, I)
    weight = _beating(stack)
    found = np.zeros((slices, 4))  # shifts along j and i in pixels, logarithm of the gain, delay
    wanted = [0, 1] + [2] * brightness + [3] * phase
    for width in SMOOTHED:
        smooth = ndimage.gaussian_filter(stack, (0, 0, width, width))[..., ::width, ::width]
        for _ in range(STEPS):
            there = _corrected(smooth, found, width, periodic)
            off = np.zeros_like(found)
            for k in range(1, slices - 1):
                off[k, wanted] = _difference(there[k - 1 : k + 2], weight[k, ::width, ::width], wanted, width, periodic)
            found = _solved(off + _off_neighbours(slices) @ found)
    return Differences(found[:, :2], np.exp(found[:, 2]), found[:, 3])


def moved(image: np.ndarray, shift_ji: np.ndarray) -> np.ndarray:
    """A (…, J, I) image whose content is moved by so many pixels; edges are repeated, and a real range is kept."""
    if np.iscomplexobj(image):
        return moved(image.real, shift_ji) + np.complex64(1j) * moved(image.imag, shift_ji)
    shift = (0.0,) * (image.ndim - 2) + tuple(shift_ji)
    return ndimage.shift(image, shift, order=3, mode="nearest").clip(image.min(), image.max())


def earlier(frames: np.ndarray, delay: float, periodic: bool) -> np.ndarray:
    """(T, …) frames of a slice as they were so many frames later, by cubic interpolation in time."""
    shift = (-delay,) + (0.0,) * (frames.ndim - 1)
    return ndimage.shift(frames, shift, order=3, mode="grid-wrap" if periodic else "nearest")


def _beating(stack: np.ndarray) -> np.ndarray:
    """(K, J, I) how much each surrounding changes in time, the most of a slice being 1; 1 where nothing does."""
    changes = ndimage.gaussian_filter(stack.std(axis=1), (0, BEATING, BEATING))
    most = changes.max(axis=(1, 2), keepdims=True)
    return np.where(most > 0, changes / np.where(most > 0, most, 1), 1).clip(RESTING)


def _corrected(stack: np.ndarray, found: np.ndarray, step: int, periodic: bool) -> np.ndarray:
    result = np.empty_like(stack)
    for k, (down, right, gain, delay) in enumerate(found):
        frames = earlier(stack[k], delay, periodic) if delay else stack[k]
        shift = (0, -down / step, -right / step)
        result[k] = ndimage.shift(frames, shift, order=1, mode="nearest") * np.float32(np.exp(-gain))
    return result


def _difference(three: np.ndarray, weight: np.ndarray, wanted: list[int], step: int, periodic: bool) -> np.ndarray:
    """By how much the middle of three slices (3, T, J, I) differs from the mean of the others."""
    neighbours = (three[0] + three[2]) / 2
    average, difference = (three[1] + neighbours) / 2, three[1] - neighbours
    of = {
        0: lambda: -np.gradient(average, axis=-2) / step,
        1: lambda: -np.gradient(average, axis=-1) / step,
        2: lambda: average,
        3: lambda: -_slope_in_time(average, periodic),
    }
    signs = np.stack([of[n]().reshape(-1) for n in wanted])
    difference = difference.reshape(-1)
    given = np.broadcast_to(weight, neighbours.shape).reshape(-1)
    trust = given
    for _ in range(REWEIGHTINGS):
        weighted = signs * trust
        normal = weighted @ signs.T
        values = np.linalg.lstsq(normal, weighted @ difference, rcond=1e-6)[0]
        left = difference - values @ signs
        usual = (given * left**2).sum() / given.sum()
        trust = given / (1 + left**2 / (4 * usual)) ** 2 if usual > 0 else given
    return values


def _slope_in_time(frames: np.ndarray, periodic: bool) -> np.ndarray:
    if periodic:
        return (np.roll(frames, -1, axis=0) - np.roll(frames, 1, axis=0)) / 2
    return np.gradient(frames, axis=0)


def _off_neighbours(slices: int) -> np.ndarray:
    """The matrix L: values less the mean of both neighbours; nothing is known of the first and last slice."""
    matrix = np.eye(slices) - (np.eye(slices, k=1) + np.eye(slices, k=-1)) / 2
    matrix[[0, -1]] = 0
    return matrix


def _solved(off: np.ndarray) -> np.ndarray:
    matrix = _off_neighbours(len(off))
    return np.linalg.solve(matrix.T @ matrix + STIFFNESS * np.eye(len(off)), matrix.T @ off)
