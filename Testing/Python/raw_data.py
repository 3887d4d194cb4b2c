"""Writes k-space as the raw data of a scanner would come: an ISMRMRD file with all that is to be skipped or cropped."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path

import numpy as np

from STEnhanceLib.acquisition.kspace import KSpace


def write(
    path: Path,
    kspace: KSpace,
    *,
    counter: str = "phase",
    oversampling: int = 2,
    tr_ms: float | None = 3.0,
    stamps: bool = True,
    change: Callable = lambda readouts: readouts,
    change_header: Callable = lambda header: header,
    noise: np.ndarray | None = None,
) -> Path:
    """Slices are counted by the time of their measurement, odd ones first, as scanners do.

    Args:
        path: of the file.
        kspace: what to write.
        counter: of the frames: phase or repetition.
        oversampling: of Cartesian readouts.
        tr_ms: in the header.
        stamps: whether readouts have time stamps.
        change: gets the list of readouts and returns the one to write.
        change_header: likewise.
        noise: (C, N) of the first readout; by default it is white already.
    """
    import ismrmrd

    readouts = [_noise(white_noise(kspace.coils) if noise is None else noise)]
    order = [*range(0, kspace.grid.shape[0], 2), *range(1, kspace.grid.shape[0], 2)]
    for number, index in enumerate(order):
        for frame, time_ms in enumerate(kspace.grid.times_ms):
            for step, data, extra, trajectory in _lines(kspace, frame, index, oversampling):
                readout = ismrmrd.Acquisition.from_array(data, trajectory, **extra)
                readout.idx.slice, readout.idx.kspace_encode_step_1 = number, step
                setattr(readout.idx, counter, frame)
                if stamps:
                    ticks = 1000 + round((time_ms - kspace.grid.times_ms[0]) / 2.5)
                    readout.physiology_time_stamp[0] = readout.acquisition_time_stamp = ticks
                _place(readout, kspace, index)
                readouts.append(readout)
    with ismrmrd.File(path, "w") as file:
        file["dataset"].header = change_header(_header(kspace, oversampling, tr_ms))
        file["dataset"].acquisitions = change(readouts)
    return path


def white_noise(coils: int, std: float = 1e6) -> np.ndarray:
    """(C, 50) complex64 whose covariance is exactly that of white noise."""
    parts = np.random.default_rng(0).normal(size=(2, 50, coils))
    noise = parts[0] + 1j * parts[1]
    independent = np.linalg.qr(noise - noise.mean(0))[0].T
    return (std * np.sqrt(2 * 49) * independent).astype(np.complex64)


def _noise(noise: np.ndarray):
    import ismrmrd

    readout = ismrmrd.Acquisition.from_array(noise)
    readout.setFlag(ismrmrd.ACQ_IS_NOISE_MEASUREMENT)
    return readout


def _lines(kspace: KSpace, frame: int, index: int, oversampling: int):
    samples = kspace.samples[frame, index]
    if kspace.mask is None:
        for spoke, trajectory in enumerate(kspace.trajectory[frame]):
            cycles = np.ascontiguousarray(trajectory[:, ::-1] / (2 * np.pi))
            yield spoke, samples[:, spoke], {"center_sample": samples.shape[-1] // 2}, cycles
        return
    columns = samples.shape[-1]
    wide = oversampling * columns
    for row in np.flatnonzero(kspace.mask[frame]):
        if oversampling == 1:
            yield row, np.ascontiguousarray(samples[:, row]), {"center_sample": columns // 2}, None
            continue
        image = np.fft.fftshift(np.fft.ifft(np.fft.ifftshift(samples[:, row], axes=-1), norm="ortho"), axes=-1)
        padded = np.zeros((len(image), wide), np.complex64)
        first = wide // 2 - columns // 2
        padded[:, first : first + columns] = image
        line = np.fft.fftshift(np.fft.fft(np.fft.ifftshift(padded, axes=-1), norm="ortho"), axes=-1)
        yield row, line.astype(np.complex64), {"center_sample": wide // 2}, None


def _place(readout, kspace: KSpace, index: int) -> None:
    matrix = np.diag([-1.0, -1, 1, 1]) @ kspace.grid.ijk_to_ras
    _, rows, columns = kspace.grid.shape
    readout.position[:] = (matrix @ (columns // 2, rows // 2, index, 1))[:3]
    i, j, k = (matrix[:3, axis] / np.linalg.norm(matrix[:3, axis]) for axis in range(3))
    readout.read_dir[:], readout.phase_dir[:], readout.slice_dir[:] = i, j, k


def _header(kspace: KSpace, oversampling: int, tr_ms: float | None):
    from ismrmrd import xsd

    _, rows, columns = kspace.grid.shape
    di, dj, dk = kspace.grid.spacing_mm
    wide = columns * (oversampling if kspace.mask is not None else 1)

    def space(x: int):
        return xsd.encodingSpaceType(
            matrixSize=xsd.matrixSizeType(x=x, y=rows, z=1),
            fieldOfView_mm=xsd.fieldOfViewMm(x=x * di, y=rows * dj, z=dk),
        )

    encoding = xsd.encodingType(
        encodedSpace=space(wide),
        reconSpace=space(columns),
        encodingLimits=xsd.encodingLimitsType(
            kspace_encoding_step_1=xsd.limitType(minimum=0, maximum=rows - 1, center=rows // 2)
        ),
        trajectory=xsd.trajectoryType.CARTESIAN if kspace.mask is not None else xsd.trajectoryType.GOLDENANGLE,
    )
    return xsd.ismrmrdHeader(
        experimentalConditions=xsd.experimentalConditionsType(H1resonanceFrequency_Hz=63_500_000),
        encoding=[encoding],
        sequenceParameters=xsd.sequenceParametersType(TR=[tr_ms] if tr_ms else []),
    )
