"""Frames as 8-bit pictures that a page can carry: for looking at, never for measuring."""

from __future__ import annotations

import base64
import math
from pathlib import Path
from tempfile import TemporaryDirectory

import numpy as np

from STEnhanceLib.errors import STEnhanceError

SIGNED_STEPS = 32


def grey_levels(frames: np.ndarray, low: float, high: float) -> np.ndarray:
    """Intensities from `low` to `high` as 0 … 255, clipped beyond."""
    return np.rint(np.clip((frames - low) / (high - low), 0, 1) * 255).astype(np.uint8)


def signed_levels(differences: np.ndarray, limit: float) -> np.ndarray:
    """Differences from −limit to +limit as 0 … 64, zero as 32, clipped beyond.

    No eye tells more colours apart, and the noise below them would make up most of a page.
    """
    return (SIGNED_STEPS + np.rint(np.clip(differences / limit, -1, 1) * SIGNED_STEPS)).astype(np.uint8)


def sheet_columns(frames: int) -> int:
    """How many pictures stand side by side on a sheet; its rows are filled from left to right."""
    return math.ceil(math.sqrt(frames))


def sheet(levels: np.ndarray) -> np.ndarray:
    """All frames (T, J, I) on one nearly square picture, so that no side outgrows what a browser can draw."""
    frames, rows, columns = levels.shape
    across = sheet_columns(frames)
    down = math.ceil(frames / across)
    padded = np.zeros((across * down, rows, columns), np.uint8)
    padded[:frames] = levels
    return padded.reshape(down, across, rows, columns).swapaxes(1, 2).reshape(down * rows, across * columns)


def png_data_uri(picture: np.ndarray) -> str:
    """A greyscale picture (rows, columns) uint8 as a PNG that stands in the page itself."""
    import SimpleITK

    with TemporaryDirectory() as folder:
        path = Path(folder, "sheet.png")
        try:
            image = SimpleITK.GetImageFromArray(picture)
            SimpleITK.WriteImage(image, str(path), useCompression=True, compressionLevel=9)
        except RuntimeError:
            raise STEnhanceError(
                f"A picture for the report cannot be written to {folder}; expected a temporary folder with space. "
                "Free some, or name another in the environment variable TMPDIR."
            ) from None
        return "data:image/png;base64," + base64.b64encode(path.read_bytes()).decode("ascii")
