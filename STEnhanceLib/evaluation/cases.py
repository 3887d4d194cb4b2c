"""The cases of a benchmark: a folder of 4D files, and what `cine.json` beside them knows about each."""

from __future__ import annotations

import json
from collections.abc import Callable, Sequence
from dataclasses import replace
from functools import partial
from pathlib import Path
from typing import Any, NamedTuple

from STEnhanceLib import files
from STEnhanceLib.errors import STEnhanceError
from STEnhanceLib.evaluation.metrics import intensity_scale
from STEnhanceLib.evaluation.protocols import Protocol, Trial, middle_slices
from STEnhanceLib.sequence import ImageSequence

ENDINGS = (".seq.nrrd", ".nrrd", ".nii.gz", ".nii")


class Case(NamedTuple):
    """One good sequence.

    Attributes:
        name: the stem of its file, or what the phantom is called.
        read: returns the sequence.
        facts: `heart_centre_xy`, `end_systole_frame` and whatever else `cine.json` says. What is not a full cycle says
            `periodic: false`; a `remark` is shown below the table.
    """

    name: str
    read: Callable[[], ImageSequence]
    facts: dict[str, Any]

    def spoil(self, protocol: Protocol, good: ImageSequence, slices: int | None) -> Trial:
        """The trial of a protocol on the middle slices of this case; None for as many as the protocol says.

        Noise is in percent of the intensity scale of all slices, as scores are.
        """
        part = middle_slices(good, slices or protocol.middle_slices)
        frame, periodic = self.facts.get("end_systole_frame"), self.facts.get("periodic", True)
        trial = protocol.trial(part, frame, periodic, intensity_scale(good))
        remarks = (self.facts["remark"],) if "remark" in self.facts else ()
        return replace(trial, notes=remarks + trial.notes)


def find_cases(folder: Path, names: Sequence[str] | None = None) -> list[Case]:
    """The 4D files of a folder in the order of their names, all or the named ones.

    Raises:
        STEnhanceError: there is no data or no such case, or `cine.json` is damaged.
    """
    paths = {}
    for path in sorted(folder.iterdir()) if folder.is_dir() else []:
        ending = next((ending for ending in ENDINGS if path.name.lower().endswith(ending)), None)
        if ending:
            paths[path.name[: -len(ending)]] = path
    if not paths:
        raise STEnhanceError(f"{folder} holds no 4D file; expected a folder with files ending in {', '.join(ENDINGS)}.")
    missing = [name for name in names or () if name not in paths]
    if missing:
        raise STEnhanceError(f"There is no case {missing[0]!r} in {folder}; there are: {', '.join(paths)}.")
    facts = _read_facts(folder / "cine.json")
    chosen = {name: path for name, path in paths.items() if not names or name in names}
    return [Case(name, partial(files.read, path), facts.get(name, {})) for name, path in chosen.items()]


def _read_facts(path: Path) -> dict[str, dict[str, Any]]:
    if not path.exists():
        return {}
    try:
        facts = json.loads(path.read_text(encoding="utf-8"))
    except ValueError as error:
        raise STEnhanceError(f"{path} is not valid JSON ({error}); correct it or remove it.") from None
    if not isinstance(facts, dict) or not all(isinstance(of_case, dict) for of_case in facts.values()):
        raise STEnhanceError(f"{path} was expected to hold one object per file stem, with heart_centre_xy in it.")
    return facts
