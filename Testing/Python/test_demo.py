"""`stenhance demo`: the main job from a phantom to a page and a scene, on a smaller phantom and with fewer methods."""

from __future__ import annotations

import pytest

pytest.importorskip("torchkbnufft")
pytest.importorskip("slicer")


def test_the_demo_leaves_a_page_a_scene_and_a_picture_and_prints_scores(tmp_path, monkeypatch, capfd, mrml_scene):
    from STEnhanceLib import scene
    from STEnhanceLib.commands import demo_chapters
    from STEnhanceLib.phantoms.thorax import Thorax

    whole = Thorax.cine
    monkeypatch.setattr(Thorax, "cine", lambda self, **_size: whole(self, frames=9, matrix=64, slices=1))
    demo_chapters.run_demo(tmp_path)
    printed = capfd.readouterr().out
    for words in ("Super-resolution", "Zero-filling", "Temporal total variation", "Symmetric demons", "dB"):
        assert words in printed
    for name in ("report/index.html", "scene.mrb", "scene.png"):
        assert str(tmp_path / name) in printed.replace("\n", "")
        assert (tmp_path / name).stat().st_size > 10_000
    scene.load_scene(tmp_path / "scene.mrb", mrml_scene)
    assert mrml_scene.GetNumberOfNodesByClass("vtkMRMLSequenceBrowserNode") == len(demo_chapters.CHAPTERS)
    assert mrml_scene.GetNumberOfNodesByClass("vtkMRMLSequenceNode") == len(demo_chapters.CHAPTERS) + sum(
        len(chapter.methods) for chapter in demo_chapters.CHAPTERS
    )
