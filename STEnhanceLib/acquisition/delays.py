"""Spokes as scanners give them: how late the gradients were, found in the spokes themselves and undone.

Where a gradient is late by δ samples of the readout, a spoke was not measured where the sequence asked for it but δ
samples earlier on its way, along each axis by its own δ: the samples of k(n) lie at k(n) − S dk/dn with a symmetric
matrix S of delays. Its diagonal belongs to the two axes, the rest to axes that act on each other.
"""

from __future__ import annotations

from dataclasses import dataclass, replace
from typing import NamedTuple

import numpy as np

from STEnhanceLib import progress
from STEnhanceLib.acquisition.kspace import LATEST, KSpace
from STEnhanceLib.errors import STEnhanceError

RADIUS = 3.0  # cells of the Cartesian grid around the centre of k-space: what all spokes share, and noise is nothing in
FIELD = 1.5  # fields of view that the object may fill
RIDGE = 1e-3  # of the mean eigenvalue, for what so few samples do not determine
STEPS, SETTLED = 15, 3e-4  # samples, and radians: when a step changes less, all is found
MOST_SPOKES = 1000  # more add nothing but time
LEAST_DIRECTIONS, ALIKE_DEGREES = 8, 1.0
STRAIGHT, CENTRAL = 0.1, 1.0  # samples that a spoke may leave its line, and miss the centre
NEGLIGIBLE = 0.01  # samples: a smaller delay costs less than 0.02 dB
SURE = 3.0  # standard deviations
STEADY_DEGREES = 2.0  # so much of a phase is left to motion
AGREEMENT = 0.25  # of the centre of k-space may disagree: if more does, something else is wrong

FOUND = "The gradients were late by {} samples of the readout, so the spokes were put where they belong."
NONE_FOUND = "The gradients were on time: the spokes show no delay of more than {:.2g} samples of the readout."
DRIFT = "The phase of the spokes wandered by {:.0f}° (standard deviation), which was undone."
NOT_SOUGHT = "Delays of the gradients were not corrected, as {}."
SWITCHED_OFF = NOT_SOUGHT.format("that was switched off")
PARTS = ((0, 0), (1, 1), (0, 1))  # of S that are free


@dataclass(frozen=True, eq=False)
class Delays:
    """What spokes say of the gradients.

    Attributes:
        late: (2, 2) S, along (j, i), in samples of the readout as they follow in the trajectory, also where it is
            oversampled; below 0 where the gradients came early.
        std: (2, 2), its standard deviations.
        phases: (T, K, S) float32 radians, what each spoke has more than the mean; None where they are steady.
    """

    late: np.ndarray
    std: np.ndarray
    phases: np.ndarray | None = None

    @property
    def doubt(self) -> float:
        """Delays up to this are none: they cannot be told from 0, or do not matter. In samples."""
        return max(NEGLIGIBLE, SURE * float(self.std.max()))

    def words(self) -> str:
        """As notes say them."""
        named = zip(("rows", "columns", "each by the other"), (self.late[part] for part in PARTS), strict=True)
        *most, across = (f"{round(late, 2) + 0:.2f} ({name})" for name, late in named)
        return f"{most[0]}, {most[1]} and {across}" if abs(self.late[0, 1]) > self.doubt else " and ".join(most)


def moved(trajectory: np.ndarray, late: np.ndarray) -> np.ndarray:
    """Where samples lie, from where the sequence asked for them.

    Args:
        trajectory: (T, S, R, 2) in any unit.
        late: (2, 2) S in samples, see `Delays`.

    Returns:
        (T, S, R, 2) float32.
    """
    return (trajectory - np.gradient(trajectory, axis=2) @ late).astype(np.float32)


def in_place(kspace: KSpace) -> KSpace:
    """The same measurement with its spokes where they were measured; `notes` say what was found.

    Cartesian data, and spokes of which nothing can be told, are returned with the trajectory that they had.
    """
    if kspace.trajectory is None:
        return kspace
    try:
        found = find(kspace)
    except STEnhanceError as error:
        return replace(kspace, notes=(*kspace.notes, NOT_SOUGHT.format(error)))
    trajectory, samples, notes = kspace.trajectory, kspace.samples, []
    if np.abs(found.late).max() > found.doubt:
        trajectory = moved(trajectory, found.late)
        notes.append(FOUND.format(found.words()))
    else:
        notes.append(NONE_FOUND.format(found.doubt))
    if found.phases is not None:
        samples = samples * np.exp(-1j * found.phases)[:, :, None, :, None]
        notes.append(DRIFT.format(np.rad2deg(found.phases.std())))
    return replace(kspace, samples=samples, trajectory=trajectory, notes=(*kspace.notes, *notes))


def find(kspace: KSpace) -> Delays:
    """Delays of the gradients, and the phase of each spoke, from the centre of k-space, which all spokes measure.

    All spokes of a slice must see one and the same small image through each coil. Image, delays and phases are fitted
    together: the image is a linear unknown, which is eliminated (variable projection), so Gauss–Newton steps on the
    delays are left. What moves differs between spokes too, but not as a delay would: that averages out.
    Delays are those of the scan, the median over slices; phases are those of a slice. Phases below `STEADY_DEGREES` are
    taken as motion, and delays then found without them.

    Args:
        kspace: of any number of frames; its coil maps are not used.

    Raises:
        STEnhanceError: spokes that do not tell; its text is a reason, "there are only …".

    References:
        Rosenzweig, Holme, Uecker: Simple auto-calibrated gradient delay estimation from few spokes using radial
        intersections (RING). Magn Reson Med 2019; 81:1898-1906: the matrix S. Ireland, Grissom: Improved trajectory
        auto-corrected image reconstruction (TrACR). Magn Reson Med 2018; 79:2630-2637: image and trajectory in one.
        Golub, Pereyra: The differentiation of pseudo-inverses and nonlinear least squares problems whose variables
        separate. SIAM J Numer Anal 1973; 10:413-432.
    """
    centre = _centre(kspace)
    frames, slices, coils, spokes, _ = kspace.samples.shape
    chosen = np.arange(frames * spokes)
    if len(chosen) > MOST_SPOKES:  # by chance, so that no direction is left out in step with the frames
        chosen = np.sort(np.random.default_rng(0).choice(chosen, MOST_SPOKES, replace=False))
    fits, phases = [], np.zeros((frames, slices, spokes), np.float32)
    for index in range(slices):
        progress.tell(f"delays of the gradients, slice {index + 1} of {slices}")
        samples = kspace.samples[:, index][..., centre.samples]
        samples = samples.swapaxes(1, 2).reshape(frames * spokes, coils, -1).swapaxes(1, 2)
        largest = np.abs(samples).max()
        if not largest > 0:
            raise STEnhanceError(f"the centre of k-space is 0 in slice {index + 1}")
        samples = samples * (centre.weight[..., None] / largest)
        steady, turning = (_fitted(centre.of(chosen), samples[chosen], free) for free in (False, True))
        of_spokes = _phases_of_all(centre, samples, turning)
        # Where no two spokes run against each other, phases and delays can take each other's part. What is explained as
        # well without phases has none.
        gained = steady.misfit**2 - turning.misfit**2
        due = 1 - np.abs(np.exp(1j * of_spokes).mean()) ** 2
        wanders = np.rad2deg(of_spokes.std()) >= STEADY_DEGREES and gained >= due / 2
        if wanders:
            phases[:, index] = of_spokes.reshape(frames, spokes)
        fits.append(turning if wanders else steady)
    late = np.median([fit.late for fit in fits], axis=0)
    _check(late, float(np.median([fit.misfit for fit in fits])))
    of_one = np.median([fit.std for fit in fits], axis=0)
    spread = 1.48 * np.median([np.abs(fit.late - late) for fit in fits], axis=0)  # as a standard deviation
    std = np.maximum(of_one, spread) / len(fits) ** 0.5
    return Delays(_matrix(late), _matrix(std), phases if phases.any() else None)


class _Centre(NamedTuple):
    """The samples of N spokes around the centre of k-space.

    Attributes:
        samples: which of the readout.
        places: (N, m, 2) radians per pixel, where the sequence asked for them.
        steps: (N, m, 2), from sample to sample.
        weight: (N, m), 0 where a sample is outside after all.
        pixels: two arrays, where the pixels of a small image lie that so few samples determine.
        start: (3,) delays to a sample or so, see `PARTS`.
    """

    samples: slice
    places: np.ndarray
    steps: np.ndarray
    weight: np.ndarray
    pixels: tuple[np.ndarray, np.ndarray]
    start: np.ndarray

    def of(self, chosen: np.ndarray | slice) -> _Centre:
        """Some of the spokes."""
        return self._replace(places=self.places[chosen], steps=self.steps[chosen], weight=self.weight[chosen])

    def transform(self, late: np.ndarray) -> np.ndarray:
        """(N·m, pixels) complex64: from the small image to the samples, with these delays."""
        places = self.places - self.steps @ _matrix(late)
        along_j, along_i = (np.exp(-1j * places[..., axis, None] * self.pixels[axis]) for axis in (0, 1))
        whole = (self.weight[..., None] * along_j)[..., :, None] * along_i[..., None, :]
        return whole.reshape(self.weight.size, -1).astype(np.complex64)


class _Fit(NamedTuple):
    """What was found in one slice.

    Attributes:
        late: (3,), see `PARTS`.
        std: (3,), its standard deviations.
        image: (pixels, C).
        misfit: the part of the signal that disagrees.
    """

    late: np.ndarray
    std: np.ndarray
    image: np.ndarray
    misfit: float


def _centre(kspace: KSpace) -> _Centre:
    """Raises STEnhanceError: spokes that do not tell."""
    trajectory = kspace.trajectory.reshape(-1, *kspace.trajectory.shape[2:]).astype(float)
    ends = trajectory[:, -1] - trajectory[:, 0]
    length = np.linalg.norm(ends, axis=-1)
    if not length.min() > 0:
        raise STEnhanceError("the samples of a spoke lie all in one place")
    step = length[:, None] / (trajectory.shape[1] - 1)
    along = ends / length[:, None]
    off = (trajectory[..., 0] * along[:, 1, None] - trajectory[..., 1] * along[:, 0, None]) / step
    if np.abs(off - off.mean(1, keepdims=True)).max() > STRAIGHT:
        raise STEnhanceError("the spokes are not straight")
    if np.abs(off).max() > CENTRAL:
        raise STEnhanceError("the spokes do not all lead through the centre of k-space")
    cell = 2 * np.pi / np.sqrt(np.prod(kspace.grid.shape[1:]))
    place = (trajectory @ along[..., None])[..., 0]
    if min(-place.min(1).max(), place.max(1).min()) < RADIUS * cell:
        raise STEnhanceError("the spokes do not lead from one side of the centre of k-space to the other")
    angles = np.rad2deg(np.arctan2(along[:, 0], along[:, 1])) % 180
    directions = len(np.unique(np.round(angles / ALIKE_DEGREES) % round(180 / ALIKE_DEGREES)))
    if directions < LEAST_DIRECTIONS:
        raise STEnhanceError(f"there are spokes in {directions} directions only, and {LEAST_DIRECTIONS} are needed")
    steps = np.gradient(trajectory, axis=1)
    start = _peaks(kspace, place / step, along, RADIUS * cell / step)
    inside = np.linalg.norm(trajectory - steps @ _matrix(start), axis=-1) <= RADIUS * cell
    used = np.flatnonzero(inside.any(0))
    samples = slice(int(used[0]), int(used[-1]) + 1)
    pixels = tuple(_pixels(n, RADIUS * cell) for n in kspace.grid.shape[1:])
    return _Centre(samples, trajectory[:, samples], steps[:, samples], inside[:, samples].astype(float), pixels, start)


def _peaks(kspace: KSpace, place: np.ndarray, along: np.ndarray, reach: np.ndarray) -> np.ndarray:
    """(3,) delays to a sample or so, by where along each spoke its energy lies: a step of the fit reaches no further.

    Args:
        place: (N, R) samples from the centre.
        along: (N, 2) directions.
        reach: (N, 1) samples of the centre.
    """
    near = np.flatnonzero((np.abs(place) <= reach + LATEST).any(0))
    some = slice(int(near[0]), int(near[-1]) + 1)
    slices = range(kspace.samples.shape[1])
    energy = sum((np.abs(kspace.samples[:, index, ..., some]).astype(float) ** 2).sum(1) for index in slices)
    weight = energy.reshape(len(place), -1) ** 2 * (np.abs(place[:, some]) <= reach + LATEST)
    peak = (weight * place[:, some]).sum(1) / np.maximum(weight.sum(1), np.finfo(float).tiny)
    along_j, along_i = along.T
    return np.linalg.lstsq(np.stack([along_j**2, along_i**2, 2 * along_j * along_i], 1), peak, rcond=None)[0]


def _pixels(matrix: int, reach: float) -> np.ndarray:
    """Where those of the small image lie along an axis, in pixels of the large one."""
    field = FIELD * matrix
    count = int(np.ceil(field * reach / np.pi)) + 2
    return (np.arange(count) - count // 2) * (field / count)


def _fitted(centre: _Centre, samples: np.ndarray, phases: bool) -> _Fit:
    """Delays that let all spokes see one image.

    Args:
        samples: (N, m, C).
        phases: each spoke has a phase of its own.
    """
    spokes, _, coils = samples.shape
    late, turned = centre.start.copy(), np.ones(spokes, complex)
    for _ in range(STEPS):
        transform = centre.transform(late)
        measured = (samples * turned.conj()[:, None, None]).reshape(-1, coils).astype(np.complex64)
        solve = _least_squares(transform)
        image = solve(measured)
        seen = transform @ image
        columns = [column - transform @ solve(column) for column in _derivatives(centre, transform, image)]
        parts = [measured - seen, *columns]
        if phases:  # what a phase of the spoke would explain says nothing of delays
            parts = [_without_phase(part, seen, spokes) for part in parts]
        rest, *columns = (part.ravel() for part in parts)
        products = np.array([[np.vdot(a, b).real for b in columns] for a in columns])
        change = np.linalg.solve(products, [np.vdot(column, rest).real for column in columns])
        late += change
        turn = np.ones(spokes)
        if phases:
            sums = (seen.conj() * measured).reshape(spokes, -1).sum(1)
            turn = sums / np.maximum(np.abs(sums), np.finfo(np.float32).tiny)
            turned *= turn * np.exp(-1j * np.angle((turned * turn).sum()))
        settled = np.abs(change).max() < SETTLED and np.std(np.angle(turn)) < SETTLED
        if settled or np.abs(late).max() > LATEST:
            break
    variance = np.linalg.norm(rest) ** 2 / (2 * rest.size)
    std = np.sqrt(np.diag(np.linalg.inv(products)) * variance)
    misfit = float(np.linalg.norm(measured - seen) / np.linalg.norm(measured))
    return _Fit(late, std, image, misfit)


def _least_squares(transform: np.ndarray):
    """Samples to the image that they determine."""
    back = transform.conj().T
    normal = (back @ transform).astype(complex)
    normal[np.diag_indices_from(normal)] += RIDGE * np.trace(normal).real / len(normal)
    inverse = np.linalg.inv(normal).astype(np.complex64)
    return lambda samples: inverse @ (back @ samples)


def _derivatives(centre: _Centre, transform: np.ndarray, image: np.ndarray) -> list[np.ndarray]:
    """(N·m, C) each: how the samples change with the delays."""
    in_plane = image.reshape(len(centre.pixels[0]), len(centre.pixels[1]), -1)
    slopes = [
        transform @ (-1j * place[..., None] * in_plane).reshape(image.shape).astype(np.complex64)
        for place in (centre.pixels[0][:, None], centre.pixels[1][None])
    ]
    columns = []
    for part in np.eye(len(PARTS)):
        shift = (-centre.steps @ _matrix(part)).reshape(-1, 2)
        columns.append(sum(shift[:, axis, None].astype(np.float32) * slopes[axis] for axis in (0, 1)))
    return columns


def _without_phase(values: np.ndarray, seen: np.ndarray, spokes: int) -> np.ndarray:
    turning, values = (1j * seen).reshape(spokes, -1), values.reshape(spokes, -1)
    energy = np.maximum((np.abs(turning) ** 2).sum(1), np.finfo(np.float32).tiny)
    return values - ((turning.conj() * values).sum(1).real / energy)[:, None] * turning


def _phases_of_all(centre: _Centre, samples: np.ndarray, fit: _Fit) -> np.ndarray:
    """(N,) radians around their mean, of all spokes against the image of the chosen ones."""
    sums = []
    for first in range(0, len(samples), MOST_SPOKES):
        some = slice(first, first + MOST_SPOKES)
        seen = centre.of(some).transform(fit.late) @ fit.image
        sums.append((seen.reshape(samples[some].shape).conj() * samples[some]).sum((1, 2)))
    sums = np.concatenate(sums)
    return np.angle(sums * np.exp(-1j * np.angle((sums / np.abs(sums).clip(np.finfo(float).tiny)).sum())))


def _matrix(parts: np.ndarray) -> np.ndarray:
    along_j, along_i, across = parts
    return np.array([[along_j, across], [across, along_i]])


def _check(late: np.ndarray, misfit: float) -> None:
    if not misfit <= AGREEMENT:
        raise STEnhanceError(f"the spokes disagree on {misfit:.0%} of the centre of k-space whatever the delays")
    if np.abs(late).max() > LATEST:
        raise STEnhanceError(f"they would have to be above {LATEST:g} samples of the readout, which is no delay")
