"""Where and when the readouts of an ISMRMRD file were measured, and in which units."""

from __future__ import annotations

import math

import numpy as np

from STEnhanceLib.acquisition.ismrmrd_scan import Scan
from STEnhanceLib.assumed import NO_TIMES, numbered_times
from STEnhanceLib.errors import STEnhanceError

MS_PER_TICK = 2.5  # of time stamps; the format leaves their unit to the vendor, and converters keep that of Siemens
LPS_TO_RAS = np.diag([-1.0, -1.0, 1.0])
LARGEST_UNEVENNESS = 0.02  # of the distance between slices
ROUNDED = 1.01  # how far above its limit a trajectory may reach

NO_DIRECTIONS = "The k-space file says nothing of directions; assumed axial slices."
CYCLES_PER_PIXEL = "The trajectory was assumed to be in cycles per pixel, as it reaches {:.4g}."
RADIANS_PER_PIXEL = "The trajectory was assumed to be in radians per pixel, as it reaches {:.4g}."
CYCLES_PER_FIELD = "The trajectory was assumed to be in cycles per field of view, as it reaches {:.4g}."
FROM_STAMPS = f"The frame times of the k-space are from {{}} time stamps, assumed to count {MS_PER_TICK} ms."
FROM_TR = "The frame times of the k-space were assumed: TR of {:.4g} ms × {} lines per frame and beat."


def in_space(scan: Scan, shape_ji: tuple[int, int]) -> tuple[np.ndarray, np.ndarray]:
    """Where the images lie, of which pixel (J // 2, I // 2) is at the position of the slice.

    Args:
        scan: gets a note of what was assumed.
        shape_ji: (J, I) of the images.

    Returns:
        (4, 4) IJK→RAS in mm; (K,) the order of slices along k.

    Raises:
        STEnhanceError: slices are not parallel or not evenly spaced on a line along their normal.
    """
    size, field = scan.encoding.encodedSpace.matrixSize, scan.encoding.encodedSpace.fieldOfView_mm
    of_slices = [scan.readouts[int(np.argmax(scan.slices == index))] for index in range(scan.shape[1])]
    directions = np.array([[readout.read_dir, readout.phase_dir, readout.slice_dir] for readout in of_slices], float)
    if not directions.any():
        scan.notes.append(NO_DIRECTIONS)
        directions = directions + np.eye(3)
    if np.abs(directions - directions[0]).max() > 1e-3 or abs(np.linalg.det(directions[0])) < 0.99:
        raise STEnhanceError(
            f"{scan.path} has slices that are not parallel, or directions that are not at right angles; expected one "
            "set of three directions. Export one stack."
        )
    along_i, along_j, normal = directions[0] / np.linalg.norm(directions[0], axis=1, keepdims=True)
    positions = np.array([readout.position for readout in of_slices], float)
    order = np.argsort(positions @ normal, kind="stable")
    positions = positions[order]
    steps = np.diff(positions, axis=0)
    step = steps.mean(0) if len(steps) else normal * scan.encoding.reconSpace.fieldOfView_mm.z
    distance = np.linalg.norm(step)
    allowed = LARGEST_UNEVENNESS * distance
    heights = ", ".join(f"{height:.4g}" for height in positions @ normal)
    if len(steps) and (distance < 1e-3 or np.abs(steps - distance * normal).max() > allowed):
        raise STEnhanceError(
            f"{scan.path} has slices that are shifted against each other, or at uneven distances ({heights} mm); "
            "expected an evenly spaced stack. Export one slice per file."
        )
    matrix = np.eye(4)
    matrix[:3, :3] = np.column_stack([along_i * field.x / size.x, along_j * field.y / size.y, step])
    matrix[:3, 3] = positions[0] - matrix[:3, :2] @ (shape_ji[1] // 2, shape_ji[0] // 2)
    matrix[:3] = LPS_TO_RAS @ matrix[:3]
    return matrix, order


def in_time(scan: Scan) -> np.ndarray:
    """(T,) times of the frames in ms from the first, by time stamps, else by TR, else by number; with a note."""
    count, slices = scan.shape
    if count == 1:
        return np.zeros(1)
    cardiac = scan.counter == "phase"
    stamps = [r.physiology_time_stamp[0] if cardiac else r.acquisition_time_stamp for r in scan.readouts]
    of_first = scan.slices == 0  # other slices may have been measured much later
    stamps, frames = np.array(stamps, float)[of_first], scan.frames[of_first]
    ticks = np.array([np.median(stamps[frames == frame]) if (frames == frame).any() else 0 for frame in range(count)])
    if (np.diff(ticks) > 0).all():
        scan.notes.append(FROM_STAMPS.format("physiology" if cardiac else "acquisition"))
        return (ticks - ticks[0]) * MS_PER_TICK
    repetition_ms = (scan.header.sequenceParameters and scan.header.sequenceParameters.TR) or []
    if repetition_ms and repetition_ms[0] > 0:
        beats = len({readout.idx.segment for readout in scan.readouts}) if cardiac else 1
        lines = max(1, round(len(scan.readouts) / count / slices / beats))
        scan.notes.append(FROM_TR.format(repetition_ms[0], lines))
        return np.arange(count) * repetition_ms[0] * lines
    scan.notes.append(NO_TIMES)
    return numbered_times(count)


def in_radians(scan: Scan, trajectory: np.ndarray, shape_ji: tuple[int, int]) -> np.ndarray:
    """Any of the usual units to radians per pixel; the format leaves them open.

    Raises:
        STEnhanceError: it reaches beyond what any unit allows.
    """
    reach = float(np.abs(trajectory).max())
    for limit, note in ((0.5, CYCLES_PER_PIXEL), (math.pi, RADIANS_PER_PIXEL), (max(shape_ji) / 2, CYCLES_PER_FIELD)):
        if reach <= limit * ROUNDED:
            scan.notes.append(note.format(reach))
            scale = 2 * math.pi / np.array(shape_ji) if note is CYCLES_PER_FIELD else math.pi / limit
            return np.clip(trajectory * scale, -math.pi, math.pi).astype(np.float32)
    raise STEnhanceError(
        f"{scan.path} has a trajectory that reaches {reach:.4g} for images of {shape_ji[1]}×{shape_ji[0]}; expected "
        "cycles per pixel (0.5 at most), radians per pixel (π) or cycles per field of view (half the matrix)."
    )
