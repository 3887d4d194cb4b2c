"""Which DICOM images lie in the same slice, and where the stack of slices lies."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np

from STEnhanceLib.errors import STEnhanceError

SAME_POSITION_MM = 0.01
SAME_DIRECTION = 1e-4
SMALLEST_SINE = 0.1  # of the angle between rows and columns
LARGEST_UNEVENNESS = 0.02
"""Of the distance between slices; headers are rounded to a few decimals."""


@dataclass(frozen=True)
class Image:
    """One DICOM file and the values of its header by keyword."""

    path: Path
    header: dict[str, Any]

    def numbers(self, key: str, count: int) -> np.ndarray:
        """The values of a key as floats.

        Raises:
            STEnhanceError: the key is absent or does not hold that many.
        """
        value = self.header.get(key)
        try:
            values = np.array([] if value is None or value == "" else value, dtype=float).reshape(-1)
        except (TypeError, ValueError):
            values = np.array([])
        if values.shape != (count,) or not np.isfinite(values).all():
            raise STEnhanceError(f"{self.path.name} gives {value!r} as {key}; expected {count} numbers.")
        return values

    def count(self, key: str, absent: int | None = None) -> int:
        """The value of a key that counts something.

        Args:
            key: of the header.
            absent: what is meant where the key is absent or empty; None where it must not be.

        Raises:
            STEnhanceError: the key does not hold one whole number above 0.
        """
        value = self.header.get(key)
        if absent is not None and (value is None or value == ""):
            return absent
        try:
            number = int(str(value))
        except ValueError:
            number = 0
        if number < 1:
            raise STEnhanceError(f"{self.path.name} gives {value!r} as {key}; expected one whole number above 0.")
        return number


def slices_of(images: list[Image]) -> tuple[list[list[Image]], np.ndarray, tuple[str, ...]]:
    """Group images by position along the slice normal.

    Returns:
        The images of each slice, slices in the order of increasing k; (4, 4) IJK→RAS in mm; notes.

    Raises:
        STEnhanceError: directions differ, or slices do not lie evenly spaced on a straight line.
    """
    first = images[0]
    orientation = first.numbers("ImageOrientationPatient", 6)
    for image in images:
        if np.abs(image.numbers("ImageOrientationPatient", 6) - orientation).max() > SAME_DIRECTION:
            raise STEnhanceError(
                f"{first.path.name} and {image.path.name} are of one series but lie in different directions (a "
                "rotational or radial stack?); expected parallel slices. Choose the images of one direction."
            )
    lengths = np.linalg.norm(orientation.reshape(2, 3), axis=1)
    along_i, along_j = orientation.reshape(2, 3) / np.where(lengths > 0, lengths, 1)[:, None]
    normal = np.cross(along_i, along_j)
    if np.linalg.norm(normal) < SMALLEST_SINE:
        raise STEnhanceError(
            f"{first.path.name} gives {orientation.tolist()} as ImageOrientationPatient; expected two directions at "
            "right angles. Export the series again."
        )
    normal /= np.linalg.norm(normal)

    slices: list[list[Image]] = []
    last = -np.inf
    for image in sorted(images, key=lambda image: image.numbers("ImagePositionPatient", 3) @ normal):
        distance = image.numbers("ImagePositionPatient", 3) @ normal
        if distance - last > SAME_POSITION_MM:
            slices.append([])
        slices[-1].append(image)
        last = distance
    origins = np.array([group[0].numbers("ImagePositionPatient", 3) for group in slices])
    step, notes = _step(first, slices, origins, normal)

    spacing_j, spacing_i = first.numbers("PixelSpacing", 2)
    if min(spacing_j, spacing_i) <= 0:
        raise STEnhanceError(
            f"{first.path.name} gives {spacing_j:g} and {spacing_i:g} mm as PixelSpacing; expected sizes above 0. "
            "Export the series again."
        )
    lps = np.eye(4)
    lps[:3, :3] = np.transpose([along_i * spacing_i, along_j * spacing_j, step])
    lps[:3, 3] = origins[0]
    return slices, np.diag([-1.0, -1, 1, 1]) @ lps, notes


def _step(
    first: Image, slices: list[list[Image]], origins: np.ndarray, normal: np.ndarray
) -> tuple[np.ndarray, tuple[str, ...]]:
    """From one slice to the next, (3,) in mm."""
    if len(slices) == 1:
        for key in ("SpacingBetweenSlices", "SliceThickness"):
            if first.header.get(key):
                return normal * abs(first.numbers(key, 1)[0]), ()
        return normal, ("The images give no slice thickness; 1 mm was assumed.",)
    step = (origins[-1] - origins[0]) / (len(slices) - 1)
    uneven = np.linalg.norm(origins - (origins[0] + step * np.arange(len(slices))[:, None]), axis=1)
    if uneven.max() > LARGEST_UNEVENNESS * np.linalg.norm(step):
        gaps = np.diff(origins @ normal)
        widest = int(gaps.argmax())
        raise STEnhanceError(
            f"its {len(slices)} slices are not evenly spaced: {gaps.min():.3g} to {gaps.max():.3g} mm apart, the "
            f"widest gap between slices {widest + 1} and {widest + 2} ({slices[widest][0].path.name} and "
            f"{slices[widest + 1][0].path.name}). A slice is missing, or another stack is in the folder."
        )
    return step, ()
