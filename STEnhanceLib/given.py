"""What a user gives as input: images, or a measurement from which images are gridded."""

from __future__ import annotations

from pathlib import Path

from STEnhanceLib import device
from STEnhanceLib.acquisition.kspace import SUFFIXES, KSpace
from STEnhanceLib.errors import STEnhanceError
from STEnhanceLib.sequence import ImageSequence


def images(path: Path, series: str | None = None, kspace: KSpace | None = None, delays: bool = True) -> ImageSequence:
    """The images of a file or DICOM folder; of a k-space file, those gridded from it.

    Args:
        path: of either.
        series: which DICOM series of a folder.
        kspace: what the k-space file holds, where it has been read already.
        delays: spokes are put where late gradients measured them, see `acquisition.delays`.

    Raises:
        STEnhanceError: as `files.read` and `KSpace.load`, or torch is needed and missing.
    """
    from STEnhanceLib import files

    if not _is_measurement(path):
        return files.read(path, series=series)
    kspace = kspace or KSpace.load(path)
    try:
        from STEnhanceLib.acquisition.gridded_images import gridded_images
    except ImportError as error:
        raise STEnhanceError(
            f"{path} is a measurement, and to make images of it needs {error.name}, not installed here; install with "
            "`pip install torch torchkbnufft`."
        ) from None
    return gridded_images(kspace, path.stem, device.chosen(), delays)


def measurement(path: Path, beside: Path | None) -> KSpace | None:
    """The k-space: the input itself, or what is given beside images; None where there is none.

    Raises:
        STEnhanceError: as `KSpace.load`, or both are measurements.
    """
    if not _is_measurement(path):
        return KSpace.load(beside) if beside else None
    if beside:
        raise STEnhanceError(
            f"{path} is a measurement, and --kspace names another, {beside}; expected one. Leave --kspace out, or give "
            "images as input."
        )
    return KSpace.load(path)


def _is_measurement(path: Path) -> bool:
    return path.suffix.lower() in SUFFIXES
