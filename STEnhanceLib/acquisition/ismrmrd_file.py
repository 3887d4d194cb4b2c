"""ISMRM raw data files (.h5) of 2D cine, Cartesian or radial, as `KSpace`."""

from __future__ import annotations

from pathlib import Path

import numpy as np

from STEnhanceLib.acquisition import ismrmrd_placement, ismrmrd_scan, prewhitening
from STEnhanceLib.acquisition.ismrmrd_scan import Scan, kept
from STEnhanceLib.acquisition.kspace import KSpace
from STEnhanceLib.errors import STEnhanceError, refused
from STEnhanceLib.sequence import Grid

RADIAL = ("radial", "goldenangle")
SAME_TRAJECTORY = 1e-3  # radians per pixel
WHITENED = "The noise of the coils was made white by {} noise samples of each."
NOT_WHITENED = "The noise of the coils was not made white: the noise readouts cannot be used, as {}."
SAME_BANDWIDTH = (
    "The noise readouts were assumed to have the bandwidth of the others, as the file has no sampling times."
)
AVERAGED = "Lines were measured {} to {} times; the noise level is the root mean square of what averaging left of it."
PARTIAL_ECHO = "The echo is asymmetric: the samples before it were taken as 0, which blurs along the readout."


def read(path: Path) -> KSpace:
    """Sort the readouts of a file by frame, slice and line.

    Frames are the cardiac phases, or the repetitions where there is one phase only. Readouts that are not of the image
    are skipped, repeated ones averaged. Cartesian readouts lose the oversampling beyond the field of view of the
    images; along the phase-encoding direction the whole encoded field stays, as undersampled lines cannot be cropped.
    Where there are readouts of noise, they make the noise of the coils white. Coil maps are estimated.

    References:
        Inati et al.: ISMRM Raw Data Format. Magn Reson Med 2017; 77:411-421.

    Raises:
        STEnhanceError: the package is missing, no such file, not an ISMRMRD file or damaged, or not 2D cine that
            `KSpace` can hold.
    """
    with refused(f"{path} is damaged, or its header is", "expected 2D cine. Export it again."):
        parts, grid, noise_std, notes = _sorted(path)
    return KSpace.without_coil_maps(parts[0], grid, *parts[1:], noise_std=noise_std, notes=notes)


def _sorted(path: Path) -> tuple[tuple, Grid, float, tuple[str, ...]]:
    """Samples, mask and trajectory, as `KSpace` has them; the grid; the level of the noise; notes."""
    scan = ismrmrd_scan.opened(path)
    kind = ismrmrd_scan.trajectory_kind(scan.encoding)
    mask = trajectory = None
    averaging = 1.0
    if kind == "cartesian":
        samples, mask, averaging = _cartesian(scan)
        shape_ji = samples.shape[-2:]
    elif kind in RADIAL:
        samples, trajectory, shape_ji = _radial(scan)
    else:
        raise STEnhanceError(f"{path} holds a trajectory of kind {kind!r}; expected cartesian, radial or goldenangle.")
    samples, noise_std = _white(scan, samples)
    ijk_to_ras, order = ismrmrd_placement.in_space(scan, shape_ji)
    grid = Grid((len(order), *shape_ji), ijk_to_ras, ismrmrd_placement.in_time(scan))
    return (samples[:, order], mask, trajectory), grid, noise_std * averaging, tuple(scan.notes)


def _white(scan: Scan, samples: np.ndarray) -> tuple[np.ndarray, float]:
    """Samples (T, K, C, …) with white noise, and its standard deviation; as they are and NaN where it is not known."""
    coils = scan.readouts[0].active_channels
    readouts = [readout for readout in scan.noise if readout.active_channels == coils]
    if not scan.noise:
        return samples, float("nan")
    try:
        if not readouts:
            raise ValueError(f"they are of {scan.noise[0].active_channels} coils, and the images of {coils}")
        noise = np.concatenate([readout.data[:, kept(readout)] for readout in readouts], axis=1)
        matrix, level = prewhitening.whitening(noise)
    except ValueError as error:
        scan.notes.append(NOT_WHITENED.format(error))
        return samples, float("nan")
    scan.notes.append(WHITENED.format(noise.shape[1]))
    return prewhitening.whitened(samples, matrix), level * _noisier(scan, readouts[0])


def _noisier(scan: Scan, noise) -> float:
    """How many times the noise of image samples is that of noise samples: with the root of the bandwidth."""
    dwell, dwell_of_noise = scan.readouts[0].sample_time_us, noise.sample_time_us
    if not (dwell > 0 and dwell_of_noise > 0):
        scan.notes.append(SAME_BANDWIDTH)
        return 1.0
    system = scan.header.acquisitionSystemInformation
    passed = (system and system.relativeReceiverNoiseBandwidth) or 1.0  # the receiver's filter weakens the noise
    return float(np.sqrt(dwell_of_noise / dwell / passed))


def _cartesian(scan: Scan) -> tuple[np.ndarray, np.ndarray, float]:
    """Samples (T, K, C, J, I), mask (T, J), and what averaging left of the noise, as root mean square over lines."""
    size = scan.encoding.encodedSpace.matrixSize
    limits = scan.encoding.encodingLimits.kspace_encoding_step_1 if scan.encoding.encodingLimits else None
    centre = limits.center if limits else size.y // 2
    coils = scan.readouts[0].active_channels
    ismrmrd_scan.refuse_if_too_large(scan, (size.y, size.x))
    samples = np.zeros((*scan.shape, coils, size.y, size.x), np.complex64)
    times_measured = np.zeros((*samples.shape[:2], size.y), int)
    for readout, frame, index in zip(scan.readouts, scan.frames, scan.slices, strict=True):
        line = readout.data[:, kept(readout)]
        row = readout.idx.kspace_encode_step_1 - centre + size.y // 2
        first = size.x // 2 - (readout.center_sample - readout.discard_pre)
        if not (0 <= row < size.y and 0 <= first <= size.x - line.shape[1]):
            raise STEnhanceError(
                f"{scan.path} has a readout of {line.shape[1]} samples in line {readout.idx.kspace_encode_step_1} with "
                f"centres {readout.center_sample} and {centre}, outside its encoded matrix of {size.x}×{size.y}; "
                "expected it inside."
            )
        samples[frame, index, :, row, first : first + line.shape[1]] += line
        times_measured[frame, index, row] += 1
    if line.shape[1] < size.x:
        scan.notes.append(PARTIAL_ECHO)
    samples /= np.maximum(times_measured, 1)[:, :, None, :, None]
    masks = times_measured > 0
    if (masks != masks[:, :1]).any():
        raise STEnhanceError(
            f"{scan.path} measured other lines in one slice than in another; expected the same lines in all slices of "
            "a frame. Export one slice per file."
        )
    columns = round(scan.encoding.reconSpace.fieldOfView_mm.x / (scan.encoding.encodedSpace.fieldOfView_mm.x / size.x))
    times = times_measured[masks]
    if times.max() > times.min():
        scan.notes.append(AVERAGED.format(times.min(), times.max()))
    return _without_oversampling(samples, columns), masks[:, 0], float(np.sqrt(np.mean(1 / times)))


def _without_oversampling(samples: np.ndarray, columns: int) -> np.ndarray:
    """The samples of the middle columns of the images alone."""
    size = samples.shape[-1]
    if columns >= size:
        return samples
    middle = slice(size // 2 - columns // 2, size // 2 - columns // 2 + columns)
    cropped = np.empty((*samples.shape[:-1], columns), np.complex64)
    for frame, whole in enumerate(samples):  # frame by frame: a stack may have gigabytes
        image = np.fft.fftshift(np.fft.ifft(np.fft.ifftshift(whole, axes=-1), norm="ortho"), axes=-1)[..., middle]
        cropped[frame] = np.fft.fftshift(np.fft.fft(np.fft.ifftshift(image, axes=-1), norm="ortho"), axes=-1)
    return cropped


def _radial(scan: Scan) -> tuple[np.ndarray, np.ndarray, tuple[int, int]]:
    """Samples (T, K, C, S, R), trajectory (T, S, R, 2) and the shape (J, I) of the images."""
    if min(readout.trajectory_dimensions for readout in scan.readouts) < 2:
        raise STEnhanceError(f"{scan.path} holds spokes without their trajectory; expected two coordinates per sample.")
    readouts = scan.readouts
    counts = np.zeros(scan.shape, int)
    np.add.at(counts, (scan.frames, scan.slices), 1)
    if (counts != counts[0, 0]).any():
        raise STEnhanceError(
            f"{scan.path} has between {counts.min()} and {counts.max()} spokes in a frame; expected equally many in "
            "every frame of every slice."
        )
    order = np.lexsort((np.arange(len(readouts)), scan.slices, scan.frames))  # spokes of a frame as they were measured
    shape = (*counts.shape, counts[0, 0])
    samples = np.stack([readouts[at].data[:, kept(readouts[at])] for at in order])
    samples = samples.reshape(*shape, *samples.shape[1:]).swapaxes(2, 3)
    # Along the readout and the phase-encoding direction, which are i and j.
    trajectory = np.stack([readouts[at].traj[kept(readouts[at]), 1::-1] for at in order])
    size, field = scan.encoding.encodedSpace.matrixSize, scan.encoding.encodedSpace.fieldOfView_mm
    images = scan.encoding.reconSpace.fieldOfView_mm
    shape_ji = (round(images.y / (field.y / size.y)), round(images.x / (field.x / size.x)))
    ismrmrd_scan.refuse_if_too_large(scan, shape_ji)
    trajectory = ismrmrd_placement.in_radians(scan, trajectory.reshape(*shape, -1, 2), shape_ji)
    if np.abs(trajectory - trajectory[:, :1]).max() > SAME_TRAJECTORY:
        raise STEnhanceError(
            f"{scan.path} measured other spokes in one slice than in another; expected the same spokes in all slices "
            "of a frame. Export one slice per file."
        )
    return samples, trajectory[:, 0], shape_ji
