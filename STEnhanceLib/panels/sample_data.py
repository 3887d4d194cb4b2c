"""Sample data in the category "STEnhance": a cine phantom, degraded in one way per task, large motion, Slicer's own."""

from __future__ import annotations

import importlib.util
import json
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path
from typing import NamedTuple

import numpy as np
import slicer

from STEnhanceLib import scene
from STEnhanceLib.acquisition.noise import complex_noise, noise_std
from STEnhanceLib.acquisition.simulate import simulate
from STEnhanceLib.phantoms.breathing import Breathing
from STEnhanceLib.phantoms.knee import Knee
from STEnhanceLib.phantoms.thorax import Thorax
from STEnhanceLib.sequence import ImageSequence

CATEGORY = "STEnhance"
OF_SLICER = ("CTCardioSeq", "CTPCardioSeq")
NOISE_PERCENT = 5.0
THUMBNAILS = Path(__file__).parent / "thumbnails"


def cine() -> ImageSequence:
    """One beat of a breath-hold short-axis cine: 24 frames of three slices; all the others are made from it."""
    thorax = Thorax(breathing_mm=0)
    beats_per_minute = 60_000 / thorax.heart_period_ms
    return replace(thorax.cine(), name=f"Cine phantom {beats_per_minute:.0f} bpm")


def noisy() -> ImageSequence:
    """The magnitude of the cine with receiver noise: Rician, as scanners store it."""
    truth = cine()
    noise = complex_noise(truth.frames.shape, noise_std(truth.frames, NOISE_PERCENT), np.random.default_rng(0))
    simulated = json.dumps({"acquisition": "receiver noise", "noise_percent": NOISE_PERCENT, "seed": 0})
    return replace(
        truth,
        frames=np.abs(truth.frames + noise),
        name=f"{truth.name} noisy",
        attributes={**truth.attributes, "STEnhance.Simulated": simulated},
    )


def radial() -> ImageSequence:
    """One slice of the cine from 13 golden-angle spokes per frame; its k-space lies in a file that the panel finds."""
    truth = Thorax(breathing_mm=0).cine(frames=20, matrix=128, slices=1)
    measured = simulate(truth, "r13")
    path = Path(slicer.app.temporaryPath) / "STEnhanceCinePhantomR13.npz"
    measured.kspace.save(path)
    attributes = {**measured.sequence.attributes, scene.KSPACE_FILE: str(path)}
    return replace(measured.sequence, name="Cine phantom 13 spokes", attributes=attributes)


class Phantom(NamedTuple):
    """A button of the category: its picture, what makes the sequence, and the packages that takes."""

    thumbnail: str
    make: Callable[[], ImageSequence]
    packages: tuple[str, ...] = ()


PHANTOMS = {
    "Cine phantom": Phantom("cine.png", cine),
    "Cine phantom, low resolution (s4)": Phantom("low_resolution.png", lambda: simulate(cine(), "s4").sequence),
    "Cine phantom, noisy": Phantom("noisy.png", noisy),
    "Cine phantom, 13 radial spokes (r13)": Phantom("radial.png", radial, ("torch", "torchkbnufft")),
    "Cine phantom, every 4th frame (t4)": Phantom("every_4th_frame.png", lambda: simulate(cine(), "t4").sequence),
    "Knee phantom, 0-80°": Phantom("knee.png", lambda: Knee().cine(frames=6)),
    "Deep-breathing phantom, 30 mm": Phantom("breathing.png", lambda: Breathing().cine(frames=8)),
}


def register() -> None:
    """Add the category to Slicer's Sample Data module; once is enough, more often does no harm."""
    from SampleData import SampleDataLogic

    for name, phantom in PHANTOMS.items():
        if not all(importlib.util.find_spec(package) for package in phantom.packages):
            continue
        SampleDataLogic.registerCustomSampleDataSource(
            category=CATEGORY,
            sampleName=name,
            uris="made-on-demand:",  # Slicer asks for one per node, and leaves it to the downloader
            fileNames=None,
            nodeNames=name,
            customDownloader=load,
            thumbnailFileName=str(THUMBNAILS / phantom.thumbnail),
        )
    listed = slicer.modules.sampleDataSources[CATEGORY]
    slicers_own = SampleDataLogic()
    for name in OF_SLICER:
        source = slicers_own.sourceForSampleName(name)
        if source is not None and source not in listed:
            listed.append(source)


def load(source) -> list:
    """What a button of the category does: make the sequence, and show it as a loaded file would be shown."""
    node = scene.add_sequence(PHANTOMS[source.sampleName].make())
    browser = scene.find_sequence(node)[1]
    slicer.modules.sequences.showSequenceBrowser(browser)
    application_logic = slicer.app.applicationLogic()
    application_logic.GetSelectionNode().SetActiveVolumeID(browser.GetProxyNode(node).GetID())
    application_logic.PropagateVolumeSelection()
    return [node]
