"""Brains to practise on, T1-weighted: MNI152 from the package nilearn, Colin27 from Debian's mricron-data.

Both are at hand at training time only. A brain that is absent is left out, and the log and the model card say so.

References:
    Fonov et al.: Unbiased average age-appropriate atlases for pediatric studies. NeuroImage 2011; 54:313-327 (MNI152).
    Holmes et al.: Enhancement of MR images using registration for signal averaging. J Comput Assist Tomogr 1998;
    22:324-333 (Colin27).
"""

from __future__ import annotations

import dataclasses
import logging
import warnings
from collections.abc import Iterator
from pathlib import Path

import numpy as np

from STEnhanceLib.training.stock import Stock

logger = logging.getLogger(__name__)

MNI152, COLIN27 = "MNI152 (average of 152 brains, T1)", "Colin27 (one brain, T1)"
TEMPLATES = Path("/usr/share/mricron/templates")
COLIN27_FILES = ("ch2better.nii.gz", "ch2.nii.gz")  # voxels of 0.5 mm, and of 1 mm
SLICE_DISTANCE_MM = 3.0
BRIGHT = 0.999  # quantile
LEAST_CONTENT, DARK = 0.15, 0.05  # share of pixels that must be brighter than that


def added(stock: Stock) -> Stock:
    """The stock and the brains."""
    return dataclasses.replace(stock, brains=load())


def alone(stock: Stock) -> Stock:
    """The brains only, beside the patient who tunes; the whole stock where there are none."""
    brains = load()
    if not brains:
        logger.warning("There are no brains to learn from; the images of the folder take their place")
        return stock
    return Stock([], [], [], stock.tuning, (), brains)


def load() -> dict[str, list[np.ndarray]]:
    """Axial, coronal and sagittal slices, (J, I) float32 each with 1 for bright, by the name of the brain."""
    brains = {}
    for name, volume_of in ((MNI152, _mni152), (COLIN27, _colin27)):
        try:
            volume, spacing_mm = volume_of()
        except (ImportError, OSError) as error:
            logger.warning("%s is left out: %s", name, error)
            continue
        brains[name] = list(_slices(volume / np.quantile(volume, BRIGHT), spacing_mm))
        logger.info("%d slices of %s", len(brains[name]), name)
    return brains


def _mni152() -> tuple[np.ndarray, float]:
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")  # it tells about its own defaults
        from nilearn.datasets import load_mni152_template

        return np.asarray(load_mni152_template(resolution=1).dataobj, np.float32), 1.0


def _colin27() -> tuple[np.ndarray, float]:
    import nibabel  # comes with nilearn

    for path in (TEMPLATES / name for name in COLIN27_FILES):
        if path.exists():
            image = nibabel.load(path)
            return np.asarray(image.dataobj, np.float32), float(image.header.get_zooms()[0])
    raise FileNotFoundError(f"there is no {' or '.join(COLIN27_FILES)} in {TEMPLATES} (Debian's mricron-data)")


def _slices(volume: np.ndarray, spacing_mm: float) -> Iterator[np.ndarray]:
    for axis in range(3):
        for plane in np.moveaxis(volume, axis, 0)[:: max(1, round(SLICE_DISTANCE_MM / spacing_mm))]:
            if np.mean(plane > DARK) > LEAST_CONTENT:
                yield np.ascontiguousarray(plane)
