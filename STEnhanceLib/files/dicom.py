"""A folder of DICOM cine images → `ImageSequence`.

The images of one series are grouped by their position along the slice normal and ordered in time within each slice. A
series in which an image is missing is refused with the name of what is missing; it is never reshaped to fit. No patient
data are kept beyond what describes the acquisition.
"""

from __future__ import annotations

from pathlib import Path

import numpy as np

from STEnhanceLib.errors import STEnhanceError
from STEnhanceLib.files.dicom_phases import KEYS, phases_of
from STEnhanceLib.files.dicom_slices import Image, slices_of
from STEnhanceLib.sequence import ImageSequence

DESCRIPTION = (
    "Modality",
    "Manufacturer",
    "ManufacturerModelName",
    "MagneticFieldStrength",
    "SeriesNumber",
    "SeriesDescription",
    "ProtocolName",
    "RepetitionTime",
    "EchoTime",
    "FlipAngle",
    # What was measured of what is shown, see `acquisition/acquired_header.py`.
    "AcquisitionMatrix",
    "InPlanePhaseEncodingDirection",
    "PercentSampling",
    "PercentPhaseFieldOfView",
    "ReconstructionDiameter",
    "SliceThickness",
    "SpacingBetweenSlices",
)


USED = (
    *KEYS,
    "SOPInstanceUID",
    "SeriesInstanceUID",
    "ImageType",
    "NumberOfFrames",
    "SamplesPerPixel",
    "Rows",
    "Columns",
    "PixelSpacing",
    "ImageOrientationPatient",
    "ImagePositionPatient",
    "SliceThickness",
    "SpacingBetweenSlices",
    "RescaleSlope",
    "RescaleIntercept",
    "CardiacNumberOfImages",
    "NumberOfTemporalPositions",
    "NominalInterval",
    "TemporalResolution",
)


def read(folder: Path, series: str | int | None = None) -> ImageSequence:
    """Read one cine series of a folder and its sub-folders; see `files.read`.

    Args:
        folder: other files in it are left aside.
        series: SeriesInstanceUID or SeriesNumber; None where the folder holds one series of images.
    """
    from pydicom.config import disable_value_validation

    with disable_value_validation():  # many scanners break small rules; pydicom would warn about each value
        return _sequence(_chosen(_images(folder), series), folder.resolve().name)


def _sequence(images: list[Image], folder_name: str) -> ImageSequence:
    _check_alike(images)
    slices, matrix, slice_notes = slices_of(images)
    phases = phases_of(slices)
    frames, voxel_notes = _voxels(phases.slices)
    first = images[0].header
    modality = str(first.get("Modality", ""))
    other_modality = () if modality == "MR" else (f"The modality is {modality or 'not given'}, not MR.",)
    return ImageSequence(
        frames,
        matrix,
        phases.times_ms,
        phases.periodic,
        name=str(first.get("SeriesDescription", "")) or folder_name,
        notes=(*other_modality, *slice_notes, *phases.notes, *voxel_notes),
        attributes={f"DICOM.{key}": str(first[key]) for key in DESCRIPTION if first.get(key) not in (None, "")},
    )


def _images(folder: Path) -> list[Image]:
    from pydicom import dcmread
    from pydicom.errors import InvalidDicomError

    images = []
    for path in sorted(path for path in folder.rglob("*") if path.is_file() and not path.name.startswith(".")):
        try:
            dataset = dcmread(path, stop_before_pixels=True)
            header = {key: dataset[key].value for key in (*USED, *DESCRIPTION) if key in dataset}
        except OSError:
            raise
        except Exception as error:  # a damaged header can fail in any way
            if isinstance(error, InvalidDicomError) and path.suffix.lower() not in (".dcm", ".ima"):
                continue  # a file of another kind
            raise STEnhanceError(f"{path.name} is empty or damaged ({error}). Copy or export it again.") from error
        if "Rows" in header and "Columns" in header:
            images.append(Image(path, header))
    if not images:
        raise STEnhanceError("it holds no DICOM images; expected the folder of a cine series.")
    return images


def _chosen(images: list[Image], series: str | int | None) -> list[Image]:
    by_series: dict[str, list[Image]] = {}
    for image in images:
        by_series.setdefault(str(image.header.get("SeriesInstanceUID", "")), []).append(image)
    if series is None and len(by_series) == 1:
        return images
    wanted = [
        group
        for uid, group in by_series.items()
        if series is not None and str(series) in (uid, str(group[0].header.get("SeriesNumber", "")))
    ]
    if len(wanted) == 1:
        return wanted[0]
    listed = "; ".join(
        f"{group[0].header.get('SeriesNumber', '?')} '{group[0].header.get('SeriesDescription', '')}' "
        f"with {len(group)} images, UID {uid}"
        for uid, group in by_series.items()
    )
    asked = "choose one" if series is None else f"{len(wanted)} of them match {series!r}"
    raise STEnhanceError(f"it holds {len(by_series)} series, {asked} by its number or UID: {listed}.")


def _check_alike(images: list[Image]) -> None:
    """One image per file, all of one kind and size, grey, each only once."""
    first = images[0]
    seen: dict[str, Image] = {}
    for image in images:
        header = image.header
        if image.count("NumberOfFrames", absent=1) > 1:
            raise STEnhanceError(
                f"{image.path.name} is a multi-frame DICOM file, which is not supported. Load it in 3D Slicer or "
                "convert it, and save it as .seq.nrrd or .nii.gz."
            )
        if image.count("SamplesPerPixel", absent=1) != 1:
            raise STEnhanceError(f"{image.path.name} is a colour image; expected one grey value per voxel.")
        for key in ("Rows", "Columns", "PixelSpacing", "ImageType"):
            if header.get(key) != first.header.get(key):
                raise STEnhanceError(
                    f"{first.path.name} and {image.path.name} are of one series but differ in {key} "
                    f"({first.header.get(key)} and {header.get(key)}); move one kind to another folder."
                )
        twin = seen.setdefault(str(header.get("SOPInstanceUID", image.path)), image)
        if twin is not image:
            raise STEnhanceError(f"{twin.path.name} and {image.path.name} are copies of one image; remove one of them.")


def _voxels(slices: list[list[Image]]) -> tuple[np.ndarray, tuple[str, ...]]:
    first = slices[0][0]
    shape = first.count("Rows"), first.count("Columns")
    frames, rounded = None, 0
    for k, images in enumerate(slices):
        for t, image in enumerate(images):
            stored = _stored(image, shape)
            if frames is None:  # now that one image was found to be as large as the headers claim
                frames = np.empty((len(slices[0]), len(slices), *shape), np.float32)
            slope = image.numbers("RescaleSlope", 1)[0] if "RescaleSlope" in image.header else 1.0
            intercept = image.numbers("RescaleIntercept", 1)[0] if "RescaleIntercept" in image.header else 0.0
            if slope == 0:
                raise STEnhanceError(
                    f"{image.path.name} gives 0 as RescaleSlope, which makes all its voxels equal. Export it again."
                )
            if (slope, intercept) != (1.0, 0.0):
                stored = stored * slope + intercept
            frames[t, k] = stored
            if stored.dtype.kind in "iu":
                rounded += int(np.count_nonzero(frames[t, k] != stored))
    return frames, (f"{rounded} voxels were rounded to float32.",) if rounded else ()


def _stored(image: Image, shape: tuple[int, int]) -> np.ndarray:
    """(J, I) voxels of one file, as they are in it."""
    from pydicom import dcmread

    syntax = "transfer syntax unknown"
    try:
        dataset = dcmread(image.path)
        syntax = getattr(dataset.file_meta.get("TransferSyntaxUID"), "name", "no transfer syntax")
        stored = dataset.pixel_array
    except OSError:
        raise
    except Exception as error:  # every decoder has its own kinds of failure
        reason = str(error).partition("\n")[0]
        raise STEnhanceError(
            f"the voxels of {image.path.name} ({syntax}) cannot be decoded: {reason.rstrip('.')}. "
            "If the file is whole, save the series uncompressed."
        ) from error
    if stored.shape != shape:
        raise STEnhanceError(
            f"the pixel data of {image.path.name} are {' × '.join(map(str, stored.shape))}; expected "
            f"{shape[0]} × {shape[1]} as its header says. It is damaged, or of another kind: export it again."
        )
    return stored
