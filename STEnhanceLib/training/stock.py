"""The images that networks learn from, patient by patient.

A patient who tunes or tests a model must not train it, under whatever name: the still images of a cine's patient are
held out together with the cine.
"""

from __future__ import annotations

import logging
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path

import numpy as np

from STEnhanceLib import files
from STEnhanceLib.errors import STEnhanceError
from STEnhanceLib.evaluation.cases import ENDINGS
from STEnhanceLib.phantoms.thorax import Thorax

logger = logging.getLogger(__name__)

PHANTOMS, PHANTOM_MATRIX = 12, 192
# The stills name patients as the Sunnybrook contest did; the cines bear the numbers of the archive.
SAME_PATIENT = {"sc-hf-i-01": "scd0000101", "sc-hf-i-02": "scd0000201", "sc-hf-i-04": "scd0000301"}
TUNING, TESTING = ("scd0000301",), ("preclinical",)


@dataclass(frozen=True, eq=False)
class Stock:
    """What is at hand; intensities are divided by their 99.9th percentile.

    Attributes:
        cines: (T, K, J, I) float32 each, real ones.
        phantoms: the same, painted.
        stills: (J, I) float32 each.
        tuning: the cine kept aside to watch training, (T, K, J, I); None where the folder has none.
        patients: who trains, for the model card.
        brains: more stills, (J, I) float32 each, by the name of the brain that they are slices of, see `brains`.
        movements: (T, K, J, I) float32 each, painted ones that are no cycle, such as a knee that bends.
    """

    cines: Sequence[np.ndarray]
    phantoms: Sequence[np.ndarray]
    stills: Sequence[np.ndarray]
    tuning: np.ndarray | None
    patients: tuple[str, ...]
    brains: Mapping[str, Sequence[np.ndarray]] = field(default_factory=dict)
    movements: Sequence[np.ndarray] = ()

    def words(self) -> str:
        """What there is to learn from, for the model card."""
        parts = []
        if self.cines or self.stills:
            parts.append(
                f"{len(self.cines)} cines and {len(self.stills)} still images of {len(self.patients)} patients"
            )
        if self.phantoms:
            parts.append(f"{len(self.phantoms)} phantoms of our own")
        if self.movements:
            parts.append(f"{len(self.movements)} phantoms of large motion")
        parts += [f"{len(slices)} slices of {name}" for name, slices in self.brains.items()]
        return ", ".join(parts)


def load(folder: Path, seed: int = 0) -> Stock:
    """Everything in a folder and its subfolders that may train: 4D files and `.npz` stills (`images`, `subjects`).

    Raises:
        STEnhanceError: the folder holds nothing to learn from.
    """
    cines, stills, patients, tuning = [], [], [], None
    for path in sorted(path for path in folder.rglob("*") if path.name.lower().endswith(ENDINGS)):
        names = path.relative_to(folder).parts  # a patient may be a file or a folder
        patient = next((patient_of(name) for name in names if held_out(name)), patient_of(names[-1]))
        if patient in TUNING and tuning is None:
            tuning = _scaled(files.read(path).magnitude())
        elif not held_out(patient):
            cines.append(_scaled(files.read(path).magnitude()))
            patients.append(patient)
    for path in sorted(folder.rglob("*.npz")):
        images, subjects = _read_stills(path)
        kept = [index for index, subject in enumerate(subjects) if not held_out(str(subject))]
        stills += [_scaled(images[index]) for index in kept]
        patients += [patient_of(str(subject)) for subject in np.unique(np.asarray(subjects)[kept])]
    if not cines and not stills:
        raise STEnhanceError(
            f"{folder} holds nothing to learn from; expected 4D files ({', '.join(ENDINGS)}) or .npz files with "
            "`images` and `subjects`, of patients that are not held out."
        )
    logger.info("%d cines and %d stills of %d patients", len(cines), len(stills), len(set(patients)))
    return Stock(cines, phantoms(seed), stills, tuning, tuple(dict.fromkeys(patients)))


def patient_of(name: str) -> str:
    """The patient behind a file name or a subject of the stills: what stands before the first underscore or dot."""
    stem = name.lower().split(".")[0].split("_")[0]
    return SAME_PATIENT.get(stem, stem)


def held_out(name: str) -> bool:
    """Whether this patient tunes or tests, and must not train."""
    return patient_of(name) in TUNING + TESTING


def phantoms(seed: int, count: int = PHANTOMS) -> list[np.ndarray]:
    """Beating, breathing thoraces of known truth; (12, 12, 192, 192) each."""
    cines = (
        Thorax(seed + number, breathing_mm=3.0 * (number % 3), ejection=0.2 + 0.05 * (number % 5))
        for number in range(count)
    )
    return [_scaled(thorax.cine(frames=12, matrix=PHANTOM_MATRIX, slices=12).frames) for thorax in cines]


def _read_stills(path: Path) -> tuple[np.ndarray, np.ndarray]:
    with np.load(path, allow_pickle=False) as archive:
        if not {"images", "subjects"} <= set(archive.files):
            raise STEnhanceError(f"{path} holds {', '.join(archive.files)}; expected `images` and `subjects`.")
        return archive["images"], archive["subjects"]


def _scaled(images: np.ndarray) -> np.ndarray:
    images = images.astype(np.float32)
    return images / max(float(np.quantile(images, 0.999)), np.finfo(np.float32).tiny)
