"""What `stenhance demo` runs: the main job, end to end, on a sequence that it makes itself.

A phantom with known truth is degraded by three acquisitions and enhanced by the methods of the three tasks. Every run
goes the way it goes in Slicer: from a scene through the worker process back into the scene, frame by frame.
"""

from __future__ import annotations

import dataclasses
import tempfile
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from STEnhanceLib import comparison, headless, scene
from STEnhanceLib.acquisition.simulate import simulate
from STEnhanceLib.commands import terminal
from STEnhanceLib.enhancing import SceneRun
from STEnhanceLib.evaluation.report import Comparison, refuse_unwritable, write_report
from STEnhanceLib.jobs import Worker
from STEnhanceLib.methods import find_method
from STEnhanceLib.phantoms.thorax import Thorax
from STEnhanceLib.sequence import ImageSequence


@dataclass(frozen=True)
class Chapter:
    """One task of the demo: what the scanner saved, and the methods that make up for it, with their settings."""

    title: str
    acquisition: str
    methods: Mapping[str, Mapping[str, Any]]


CHAPTERS = (
    Chapter(
        "Super-resolution: a quarter of the matrix per axis",
        "s4",
        {key: {"factor": 4} for key in ("zero-fill", "stenhance-sr")},
    ),
    Chapter("Artefact reduction: 13 radial spokes per frame", "r13", {"gridding": {}, "temporal-tv": {}}),
    Chapter("Temporal interpolation: every 4th frame kept", "t4", {key: {"factor": 4} for key in ("linear", "demons")}),
)
PATIENT = 100  # the seed of a phantom that no network was trained on
SHOWN = ("Input: Phantom r13", "Result: Temporal total variation")  # by the views of the scene


def run_demo(folder: Path) -> None:
    """Run all chapters, print what was measured, and leave `report/index.html`, `scene.mrb` and `scene.png`."""
    refuse_unwritable(folder / "report")
    thorax = Thorax(PATIENT)
    terminal.out.print(
        "A phantom of a beating heart in a breathing chest, whose truth is known, is degraded and enhanced."
    )
    folder, truth = folder.resolve(), thorax.cine()
    heart_centre = _voxel_of(thorax.heart_centre_mm(), truth)
    host = headless.new_host()
    comparisons, shown = [], {}
    with (
        tempfile.TemporaryDirectory(prefix="stenhance-demo-") as scratch,
        Worker() as worker,
        terminal.steps_progress("Demo") as on_step,
    ):
        steps = [(chapter, key) for chapter in CHAPTERS for key in chapter.methods]
        for chapter in CHAPTERS:
            degraded = simulate(truth, chapter.acquisition)
            degraded_sequence = dataclasses.replace(degraded.sequence, name=f"Phantom {chapter.acquisition}")
            input_node = scene.add_sequence(degraded_sequence, host.scene)
            kspace_path = None
            if degraded.kspace is not None:
                kspace_path = Path(scratch) / f"{chapter.acquisition}.npz"
                degraded.kspace.save(kspace_path)
            results = []
            for key, settings in chapter.methods.items():
                on_step(steps.index((chapter, key)), len(steps), key)
                name = f"{input_node.GetName()} ({find_method(key).title})"
                run = SceneRun(worker, input_node, key, settings, name=name, kspace_path=kspace_path)
                result_node = run.wait()
                results.append(scene.read_sequence(result_node))
                shown[f"Input: {degraded_sequence.name}"] = input_node
                shown[f"Result: {results[-1].attributes['STEnhance.MethodTitle']}"] = result_node
            comparisons.append(Comparison(chapter.title, degraded_sequence, results, truth, heart_centre))
        on_step(len(steps), len(steps), "report and scene")
        page = write_report(folder / "report", comparisons, "STEnhance demo", _SUBTITLE)
        sequences = [shown[title] for title in SHOWN]
        comparison.open_views(host, sequences, pane_size=(480, 400))
        panes = comparison.arrange(sequences, host.applicationLogic())
        scene_file = scene.save_scene(folder / "scene.mrb", host.scene)
        picture = comparison.render_comparison(
            folder / "scene.png", dict(zip(SHOWN, panes, strict=True)), host.applicationLogic()
        )
    _print_table(comparisons)
    for path in (page, scene_file, picture):
        terminal.say_written(path)


_SUBTITLE = (
    "Everything on this page was computed from a procedural phantom whose truth is known at every place and moment. "
    "It shows that the line from sequence to result works; how good a method is on patients is told by the benchmark."
)


def _voxel_of(position_mm: tuple[float, float], sequence: ImageSequence) -> tuple[float, float]:
    """(i, j) of a position (left, back) of the phantom in its own axial images."""
    (i_to_right, j_to_front), origin = sequence.ijk_to_ras[[0, 1], [0, 1]], sequence.ijk_to_ras[:2, 3]
    return (-position_mm[0] - origin[0]) / i_to_right, (-position_mm[1] - origin[1]) / j_to_front


def _print_table(comparisons: list[Comparison]) -> None:
    for compared in comparisons:
        labels = ("Input, interpolated linearly", *compared.labels)
        terminal.show_scores(list(zip(labels, compared.scores, strict=True)), compared.title)
