"""`KSpace`: what the scanner measured, beside the images made from it, and its file."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, replace
from pathlib import Path

import numpy as np

from STEnhanceLib.acquisition import density_scale
from STEnhanceLib.acquisition.kspace_archive import read_arrays
from STEnhanceLib.errors import STEnhanceError
from STEnhanceLib.files.replace import replaced_when_complete
from STEnhanceLib.sequence import Grid

FORMAT = "STEnhance k-space 1"
HALF_A_CYCLE = 0.5  # where trajectories in cycles per pixel end
LATEST = 5.0  # samples that spokes may begin before −π, where gradients are late
COILS_AS_ONE = 0.2  # how far the root-sum-of-squares of coil maps may be from 1
AS_BRIGHT = 0.05  # how far the brightness after gridding with a density may be from that of the object
NEEDED = ("samples", "shape", "ijk_to_ras", "times_ms", "periodic")  # in every file
ARRAYS = (*NEEDED, "format", "coil_sensitivities", "mask", "trajectory", "density", "noise_std", "notes")
ISMRMRD_SUFFIXES = (".h5", ".hdf5", ".mrd")
SUFFIXES = (".npz", *ISMRMRD_SUFFIXES)
RESCALED = (
    "The density of the spokes came on another scale: with it gridding would make images about {:.3g} times as bright "
    "as the object, so it was divided by that, frame by frame."
)


@dataclass(frozen=True, eq=False)
class KSpace:
    """Multi-coil k-space samples of a 2D cine stack, slice by slice. Immutable.

    Cartesian data have a `mask`, radial data a `trajectory`; exactly one of the two is given. Both follow the centred,
    orthonormal Fourier convention: with pixels n_j, n_i counted from pixel (J // 2, I // 2), a sample at (k_j, k_i) is
    Σ image · sensitivity · exp(−𝑖 (k_j n_j + k_i n_i)) / √(J·I). Noise therefore has one level in both.

    Attributes:
        samples: complex64; Cartesian (T, K, C, J, I) with zeros where nothing was measured; radial (T, K, C, S, R)
            with S spokes of R readout samples.
        coil_sensitivities: (K, C, J, I) complex64, root-sum-of-squares 1 where there is signal.
        grid: of the images that belong to it.
        mask: (T, J) bool, the measured phase-encoding lines of every frame.
        trajectory: (T, S, R, 2) float32, (k_j, k_i) in radians per pixel, −π … π, or a few samples beyond; as the
            sequence asked for it or as it was measured, see `acquisition.delays`.
        noise_std: standard deviation of the complex noise per real and imaginary part, in units of `samples`;
            NaN where unknown.
        notes: what had to be assumed or estimated, one sentence each; methods pass them on with their result.
        density: (T, S, R) float32, the area of k-space that each radial sample stands for, in cells of the Cartesian
            grid, (2π)² / (J·I) in the units of `trajectory`; gridding weights the samples with it. Where it came on
            another scale it is brought to this one frame by frame, see `density_scale`, and `notes` say so. By default
            that of evenly turned spokes, see `radial.ramp_density`.

    Raises:
        STEnhanceError: shapes that do not belong together, samples that are real, NaN or infinite, a frame in which
            nothing was measured of a slice, coil sensitivities on another scale, noise that is negative or infinite, a
            mask without the centre of k-space, samples where the mask says that there are none, a trajectory in other
            units, a density that is not positive.
    """

    samples: np.ndarray
    coil_sensitivities: np.ndarray
    grid: Grid
    mask: np.ndarray | None = None
    trajectory: np.ndarray | None = None
    noise_std: float = float("nan")
    notes: tuple[str, ...] = ()
    density: np.ndarray | None = None

    def __post_init__(self):
        if (self.mask is None) == (self.trajectory is None):
            found = "neither" if self.mask is None else "both"
            raise STEnhanceError(f"K-space came with {found} of mask and trajectory; expected exactly one of the two.")
        for name, kind in (("samples", np.complex64), ("coil_sensitivities", np.complex64), ("mask", np.bool_),
                           ("trajectory", np.float32), ("density", np.float32)):  # fmt: skip
            self._adopt(name, kind)
        self._check_shapes()
        self._check_scales()
        if self.density is not None:
            self._check_density()
        if self.mask is not None:
            self._check_mask()
        else:
            self._check_trajectory()
        if self.density is not None:
            self._scale_density()
        for frame, samples in enumerate(self.samples):
            for index, of_slice in enumerate(samples):
                if not of_slice.any():
                    raise STEnhanceError(
                        f"In frame {frame + 1} of {len(self.samples)} all k-space samples are 0 in slice {index + 1}; "
                        "expected at least one measured spoke or line. Leave the frame out."
                    )

    @property
    def coils(self) -> int:
        """Number of receiver coils."""
        return self.coil_sensitivities.shape[1]

    @classmethod
    def without_coil_maps(
        cls,
        samples: np.ndarray,
        grid: Grid,
        mask: np.ndarray | None = None,
        trajectory: np.ndarray | None = None,
        *,
        noise_std: float = float("nan"),
        notes: tuple[str, ...] = (),
        density: np.ndarray | None = None,
    ) -> KSpace:
        """A measurement of which no coil maps are known: they are estimated from it, and a note says so.

        Raises:
            STEnhanceError: as the constructor, or torch is needed and missing.
        """
        coils = np.shape(samples)[2] if np.ndim(samples) == 5 else 1
        alike = np.full((grid.shape[0], coils, *grid.shape[1:]), max(coils, 1) ** -0.5, np.complex64)
        kspace = cls(samples, alike, grid, mask, trajectory, noise_std, notes, density)
        try:
            from STEnhanceLib.acquisition import coil_estimation, delays

            estimated = coil_estimation.estimate(delays.in_place(kspace))
        except ImportError as error:
            raise STEnhanceError(
                f"The k-space has no coil maps, and to estimate them needs {error.name}, not installed here; install "
                "with `pip install torch torchkbnufft`."
            ) from None
        return replace(kspace, coil_sensitivities=estimated, notes=(*kspace.notes, coil_estimation.NOTE))

    def frame(self, index: int) -> KSpace:
        """The measurement of one frame only."""
        return self.part([index], slice(None))

    def part(self, frames: Sequence[int], slices: slice) -> KSpace:
        """The measurement of some frames of some neighbouring slices, see `Grid.part`."""
        frames = np.asarray(frames)
        return replace(
            self,
            samples=self.samples[:, slices][frames],
            coil_sensitivities=self.coil_sensitivities[slices],
            grid=self.grid.part(frames, slices),
            mask=None if self.mask is None else self.mask[frames],
            trajectory=None if self.trajectory is None else self.trajectory[frames],
            density=None if self.density is None else self.density[frames],
        )

    def save(self, path: str | Path) -> None:
        """Write an `.npz` file, of the Cartesian samples only the measured lines.

        The file appears complete or not at all. Its arrays are `format`, `samples` (Cartesian: (lines of all frames,
        K, C, I) in the order of `mask`; radial: as here), `coil_sensitivities`, `mask` or `trajectory`, `density`
        where there is one, `noise_std`, and `shape`, `ijk_to_ras`, `times_ms`, `periodic` of the grid, and `notes`.

        Raises:
            STEnhanceError: the file cannot be written.
        """
        path = Path(path)
        arrays = {
            "format": np.array(FORMAT),
            "samples": self.samples,
            "coil_sensitivities": self.coil_sensitivities,
            "noise_std": np.array(self.noise_std),
            "shape": np.array(self.grid.shape),
            "ijk_to_ras": self.grid.ijk_to_ras,
            "times_ms": self.grid.times_ms,
            "periodic": np.array(self.grid.periodic),
            "notes": np.array(self.notes, str),
        }
        if self.mask is not None:
            arrays |= {"mask": self.mask, "samples": np.moveaxis(self.samples, 3, 1)[self.mask]}
        else:
            arrays |= {"trajectory": self.trajectory}
        if self.density is not None:
            arrays |= {"density": self.density}
        try:
            with replaced_when_complete(path) as stream:
                np.savez(stream, **arrays)
        except STEnhanceError as error:
            raise STEnhanceError(f"The k-space file {path} could not be written: {error}") from error
        except OSError as error:
            raise STEnhanceError(
                f"The k-space file {path} could not be written ({error.strerror or error}); nothing was left behind. "
                "Check the folder and the free space."
            ) from error

    @classmethod
    def load(cls, path: str | Path) -> KSpace:
        """Read what `save` wrote, or an ISMRMRD file (.h5, .hdf5, .mrd).

        Files of others need no `noise_std`, `notes` and `density`, and without `coil_sensitivities` they are estimated.

        Raises:
            STEnhanceError: no such file, not a k-space file or damaged, or as the constructor.
        """
        if Path(path).suffix.lower() in ISMRMRD_SUFFIXES:
            from STEnhanceLib.acquisition import ismrmrd_file

            return ismrmrd_file.read(Path(path))
        if Path(path).exists() and not Path(path).is_file():
            raise STEnhanceError(f"{path} is no k-space file but a folder, a device or a pipe; expected .npz.")
        try:
            arrays = read_arrays(Path(path), ARRAYS)
        except FileNotFoundError:
            raise STEnhanceError(f"There is no k-space file {path}; expected an .npz or ISMRMRD file.") from None
        except OSError as error:
            raise STEnhanceError(
                f"{path} cannot be read ({error.strerror or error}); expected an .npz file."
            ) from error
        if str(arrays.get("format")) != FORMAT:
            raise STEnhanceError(f"{path} is not a k-space file; expected arrays marked {FORMAT!r}.")
        lacking = [name for name in NEEDED if name not in arrays]
        if lacking:
            raise STEnhanceError(f"{path} lacks {', '.join(lacking)}; expected {', '.join(NEEDED)}. Add what it lacks.")
        try:
            periodic = arrays["periodic"]
            if periodic.dtype.kind not in "biu" or periodic.size != 1:
                raise ValueError(f"periodic is {periodic!r:.60}, and neither true nor false")
            grid = Grid(tuple(arrays["shape"]), arrays["ijk_to_ras"], arrays["times_ms"], bool(periodic))
            mask, samples = arrays.get("mask"), arrays["samples"]
            if mask is not None:
                samples = _unpacked(samples, mask)
            coils, trajectory = arrays.get("coil_sensitivities"), arrays.get("trajectory")
            noise_std, notes = float(arrays.get("noise_std", "nan")), tuple(map(str, arrays.get("notes", ())))
            known = {"noise_std": noise_std, "notes": notes, "density": arrays.get("density")}
            if coils is None:
                return cls.without_coil_maps(samples, grid, mask, trajectory, **known)
            return cls(samples, coils, grid, mask, trajectory, **known)
        except (ValueError, TypeError, IndexError, OverflowError) as error:
            raise STEnhanceError(
                f"{path} holds an array of a wrong kind ({error}); expected those that STEnhance writes. Compare with "
                "a file from `stenhance simulate --keep-kspace`."
            ) from error

    def _adopt(self, name: str, kind: type) -> None:
        given = getattr(self, name)
        if given is None:
            return
        if np.iscomplexobj(given) and kind is not np.complex64:
            raise STEnhanceError(f"The {name} of k-space is complex; expected {np.dtype(kind)}.")
        if name == "samples" and not np.iscomplexobj(given):
            raise STEnhanceError("The samples of k-space are real numbers; expected complex ones, with their phase.")
        array = np.asarray(given, kind).view()
        array.setflags(write=False)
        if array.size == 0:
            raise STEnhanceError(
                f"The {_words(name)} of k-space have shape {array.shape}; expected at least one spoke or line, "
                "coil and sample in every frame."
            )
        # Part by part: a whole stack may have a gigabyte.
        if not all(np.isfinite(part).all() for part in array):
            raise STEnhanceError(f"The {_words(name)} of k-space hold NaN or infinite numbers; expected finite ones.")
        object.__setattr__(self, name, array)

    def _check_shapes(self) -> None:
        slices, rows, columns = self.grid.shape
        coils = self.coil_sensitivities.shape[1] if self.coil_sensitivities.ndim == 4 else "C"
        self._expect("coil sensitivities", self.coil_sensitivities, (slices, coils, rows, columns))
        if self.mask is not None:
            self._expect("mask", self.mask, (len(self.grid), rows))
            self._expect("samples", self.samples, (len(self.grid), slices, coils, rows, columns))
        else:
            spokes, readout = self.samples.shape[-2:] if self.samples.ndim == 5 else ("S", "R")
            self._expect("samples", self.samples, (len(self.grid), slices, coils, spokes, readout))
            self._expect("trajectory", self.trajectory, (len(self.grid), spokes, readout, 2))

    def _expect(self, what: str, array: np.ndarray, shape: tuple) -> None:
        if array.shape != shape:
            k, j, i = self.grid.shape
            coils = self.coil_sensitivities.shape[1] if self.coil_sensitivities.ndim == 4 else "unknown"
            raise STEnhanceError(
                f"The {what} of k-space have shape {array.shape}; expected {tuple(shape)} for {len(self.grid)} frames "
                f"of {k} slices of {j}×{i} with {coils} coils. Check that all parts are of one scan."
            )

    def _check_scales(self) -> None:
        if self.noise_std < 0 or self.noise_std == float("inf"):
            raise STEnhanceError(
                f"The noise of k-space has a standard deviation of {self.noise_std:g}; expected 0 or more, or NaN "
                "where it is unknown."
            )
        for index, coils in enumerate(self.coil_sensitivities):
            together = np.linalg.norm(coils, axis=0)
            usual = float(np.median(together[together > 0])) if together.any() else 0.0
            if abs(usual - 1) > COILS_AS_ONE:
                raise STEnhanceError(
                    f"The coil sensitivities of slice {index + 1} have a root-sum-of-squares of {usual:.4g}; expected "
                    "1 where there is signal. Divide them by it, or leave them out to have them estimated."
                )

    def _check_density(self) -> None:
        if self.trajectory is None:
            raise STEnhanceError("A density came with Cartesian lines; expected one with radial spokes only.")
        self._expect("density", self.density, self.trajectory.shape[:-1])
        if not self.density.min() > 0:
            raise STEnhanceError(
                f"The density of k-space goes down to {self.density.min():.4g}; expected areas above 0. Give those in "
                "the centre their shares of the innermost disc."
            )

    def _scale_density(self) -> None:
        """Of each frame by itself: then it does not matter of which frames a part consists, see `part`."""
        brightness = density_scale.brightness_of_a_spot(self.density, self.trajectory, self.grid.shape[1:])
        if np.abs(brightness - 1).max() <= AS_BRIGHT or not brightness.min() > 0:
            return
        density = (self.density / brightness[:, None, None]).astype(np.float32)
        density.setflags(write=False)
        object.__setattr__(self, "density", density)
        object.__setattr__(self, "notes", (*self.notes, RESCALED.format(np.median(brightness))))

    def _check_trajectory(self) -> None:
        if self.trajectory.shape[2] < 2:
            raise STEnhanceError("The spokes of k-space have 1 sample each; expected at least 2 along the readout.")
        reach = float(np.abs(self.trajectory).max())
        step = float(np.median(np.linalg.norm(np.diff(self.trajectory[0], axis=1), axis=-1)))
        if reach > np.pi + LATEST * step + 1e-4:
            raise STEnhanceError(
                f"The trajectory reaches {reach:.4g} radians per pixel; expected −π … π. Divide "
                "cycles per field of view by the matrix and multiply them by 2π."
            )
        if reach <= HALF_A_CYCLE + 1e-4:
            raise STEnhanceError(
                f"The trajectory reaches {reach:.4g} radians per pixel, a sixth of k-space or less; expected up to π. "
                "Multiply cycles per pixel by 2π, or give images of fewer and larger pixels."
            )

    def _check_mask(self) -> None:
        rows = self.mask.shape[1]
        for frame, (lines, samples) in enumerate(zip(self.mask, self.samples, strict=True)):
            if not lines[rows // 2]:
                raise STEnhanceError(
                    f"The mask of frame {frame + 1} leaves out line {rows // 2}, the centre of k-space; expected it to "
                    "be measured in every frame. Check whether the mask must be shifted by half its size."
                )
            if samples[..., ~lines, :].any():
                raise STEnhanceError(
                    f"Frame {frame + 1} has samples on lines that its mask leaves out; expected zeros there. Check "
                    "that mask and samples are of one scan."
                )


def _unpacked(lines: np.ndarray, mask: np.ndarray) -> np.ndarray:
    """(lines of all frames, K, C, I) back to (T, K, C, J, I), with zeros where nothing was measured."""
    mask = np.asarray(mask, bool)
    if lines.ndim != 4 or mask.ndim != 2 or len(lines) != mask.sum():
        raise STEnhanceError(
            f"The samples of k-space have shape {lines.shape}, and the mask of shape {mask.shape} measures "
            f"{mask.sum()} lines; expected (lines of all frames, slices, coils, columns). Check that both are of one "
            "scan."
        )
    slices, coils, columns = lines.shape[1:]
    kind = np.complex64 if np.iscomplexobj(lines) else np.float32  # the latter is refused
    samples = np.zeros((len(mask), slices, coils, mask.shape[1], columns), kind)
    np.moveaxis(samples, 3, 1)[mask] = lines
    return samples


def _words(name: str) -> str:
    return name.replace("_", " ")
