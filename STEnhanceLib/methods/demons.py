"""Motion-compensated interpolation: demons registration of neighbouring frames, and both warped to the moment between.

Registration finds the displacement u with after(x + u(x)) ≈ before(x). Tissue is taken to move evenly along it, so at
the fraction a of the way, what is found at y started at y − a·s and ends at y + (1 − a)·s, with s(y) = u(y − a·s(y)).
Both frames are fetched from there by cubic B-splines (linear interpolation would blur more than blending does) and
blended with weights 1 − a and a.
"""

from __future__ import annotations

import os
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass

import numpy as np

from STEnhanceLib.methods import output_times
from STEnhanceLib.methods.declaration import EnhancedFrame, Enhancement, Method, Task, parameter
from STEnhanceLib.methods.output_times import Moment, OutputTimes
from STEnhanceLib.sequence import ImageSequence

LEVELS = ((4, 20), (2, 15), (1, 10))  # (coarseness in fine voxels, iterations)
INVERSION_STEPS = 5  # each at least halves the error of s where u changes by less than one voxel per voxel


@dataclass(frozen=True)
class DemonsParameters(OutputTimes):
    """The moments to fill in, and how stiff the motion is."""

    smoothing: float = parameter(
        3.0,
        "Width of the Gaussian that smooths the motion; larger is stiffer and follows less detail.",
        minimum=0.5,
        maximum=10.0,
        unit="in-plane voxels",
    )


def enhance(sequence: ImageSequence, parameters: DemonsParameters) -> Enhancement:
    """Register each pair of neighbours once, then fill in what lies between; measured frames stay, bit for bit.

    Stacks are registered in 3D with the same smoothing in mm along all axes, single slices in 2D.
    """
    moments = parameters.moments(sequence.grid)
    notes = output_times.notes_on(parameters, sequence, moments)
    frames = _frames(sequence.magnitude(), sequence.grid.spacing_mm, moments, parameters.smoothing)
    return Enhancement(output_times.grid_at(moments, sequence.grid), frames, notes)


def _frames(
    measured: np.ndarray, spacing_mm: tuple[float, float, float], moments: list[Moment], smoothing: float
) -> Iterator[EnhancedFrame]:
    pair, between = None, None
    with ThreadPoolExecutor(os.cpu_count()) as threads:
        for moment in moments:
            if moment.fraction == 0:
                yield EnhancedFrame(measured[moment.before], 0.0)
                continue
            if pair != (moment.before, moment.after):
                pair = (moment.before, moment.after)
                between = _Between(measured[pair[0]], measured[pair[1]], spacing_mm, smoothing, threads)
            yield EnhancedFrame(between.at(moment.fraction), 1.0)


class _Between:
    """Two registered frames and the motion between them; (K, J, I), or (J, I) inside where K is 1."""

    def __init__(self, before, after, spacing_mm, smoothing, threads):
        from scipy import ndimage

        self.shape, self.threads = before.shape, threads
        before, after = (frame[0] if len(frame) == 1 else frame for frame in (before, after))
        self.displacement = displacement(before, after, spacing_mm[: before.ndim], smoothing)
        self.splines = [ndimage.spline_filter(frame, output=np.float32, mode="mirror") for frame in (before, after)]

    def at(self, fraction: float) -> np.ndarray:
        here = np.indices(self.displacement.shape[1:], np.float32)
        motion = self.displacement
        for _ in range(INVERSION_STEPS):
            start = here - np.float32(fraction) * motion
            motion = np.stack([self._sample(u, start, order=1, mode="nearest") for u in self.displacement])
        before, after = (
            self._sample(spline, here + np.float32(part) * motion, order=3, mode="mirror", prefilter=False)
            for spline, part in zip(self.splines, (-fraction, 1 - fraction), strict=True)
        )
        return ((1 - fraction) * before + fraction * after).astype(np.float32).reshape(self.shape)

    def _sample(self, volume: np.ndarray, positions: np.ndarray, **how) -> np.ndarray:
        from scipy import ndimage

        parts = np.array_split(positions, os.cpu_count() or 1, axis=-2)
        sampled = self.threads.map(lambda part: ndimage.map_coordinates(volume, part, **how), parts)
        return np.concatenate(list(sampled), axis=-2)


def displacement(before: np.ndarray, after: np.ndarray, spacing_mm: tuple[float, ...], smoothing: float) -> np.ndarray:
    """Demons registration with symmetric forces, from coarse to fine.

    Args:
        before, after: (K, J, I) or (J, I) float32.
        spacing_mm: along (i, j, k) or (i, j).
        smoothing: standard deviation of the Gaussian on the displacement, in voxels of the finest spacing; on coarse
            levels in the voxels there.

    Returns:
        (3, K, J, I) or (2, J, I) float32: u with after(x + u(x)) ≈ before(x), in voxels along (k,) j, i.
    """
    import SimpleITK

    scale = max(np.percentile(before, 99.9), np.percentile(after, 99.9))
    if not scale > 0:
        return np.zeros((before.ndim, *before.shape), np.float32)
    finest = min(spacing_mm)
    no_motion = SimpleITK.Transform(before.ndim, SimpleITK.sitkIdentity)
    field = None
    for coarseness, iterations in LEVELS:
        # Thick slices are not made thicker: every level has voxels as even as they can be.
        shrink = [
            max(1, min(round(coarseness * finest / s), n // 8))
            for s, n in zip(spacing_mm, before.shape[::-1], strict=True)
        ]
        fixed, moving = (_coarse(frame / scale, shrink, spacing_mm) for frame in (before, after))
        demons = SimpleITK.FastSymmetricForcesDemonsRegistrationFilter()
        demons.SetNumberOfIterations(iterations)
        demons.SetStandardDeviations([smoothing * coarseness * finest / s for s in fixed.GetSpacing()])
        if field is None:
            field = demons.Execute(fixed, moving)
        else:
            field = SimpleITK.Resample(field, fixed, no_motion, SimpleITK.sitkLinear, 0.0, field.GetPixelID(), True)
            field = demons.Execute(fixed, moving, field)
    in_mm = np.moveaxis(SimpleITK.GetArrayViewFromImage(field)[..., ::-1], -1, 0)
    return np.stack([u / s for u, s in zip(in_mm, spacing_mm[::-1], strict=True)]).astype(np.float32)


def _coarse(frame: np.ndarray, shrink: list[int], spacing_mm: tuple[float, ...]):
    import SimpleITK
    from scipy import ndimage

    blur = [factor / 2 if factor > 1 else 0 for factor in shrink[::-1]]
    image = SimpleITK.GetImageFromArray(ndimage.gaussian_filter(frame.astype(np.float32), blur))
    image.SetSpacing(spacing_mm)
    return SimpleITK.Shrink(image, shrink)


METHOD = Method(
    key="demons",
    title="Symmetric demons",
    task=Task.TEMPORAL_INTERPOLATION,
    summary="Follows the motion between neighbouring frames by registration: for large motion and few frames.",
    parameters=DemonsParameters,
    enhance=enhance,
    reference="Thirion: Image matching as a diffusion process: an analogy with Maxwell's demons. Med Image Anal 1998; "
    "2:243-260; symmetric forces after Vercauteren et al., NeuroImage 2009; 45:S61-S72.",
    requires=("SimpleITK",),
    baseline=True,
    preview_frames=2,
    rank=30,
)
