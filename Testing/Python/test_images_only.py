"""Maps of results, differences and what was removed are not offered as input, planning scan or reference."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path

import pytest

from STEnhanceLib.methods import SideMap

pytest.importorskip("PySide6")
pytest.importorskip("slicer")

REPOSITORY = Path(__file__).parents[2]
SPREAD = SideMap("spread", "spread of the samples")
MOTION = SideMap("motion", "motion since the first frame", "mm", vector=True)


@pytest.fixture
def module(host):
    return host.load_module(REPOSITORY / "STEnhance" / "TemporalInterpolation" / "TemporalInterpolation.py").panel


def published(host, beating_disc):
    """A result with maps beside its input, as a run leaves it."""
    import numpy as np
    import slicer

    from STEnhanceLib.publication import Publication
    from STEnhanceLib.scene import add_sequence

    node = add_sequence(replace(beating_disc, name="cine"), slicer.mrmlScene)
    publication = Publication(node, beating_disc.grid, "result", maps=(SPREAD, MOTION))
    for frame in beating_disc.frames:
        maps = {"spread": 0.1 * frame, "motion": np.zeros((3, *frame.shape), np.float32)}
        publication.add_frame(frame, maps=maps)
    publication.finish()
    host.wait(0)
    return publication


def lists(panel):
    compare = panel.compare.ui
    return (
        panel.ui.inputSelector,
        panel.ui.priorSelector,
        *(getattr(compare, f"{name}Selector") for name in ("before", "after", "reference")),
    )


def offered(selector) -> set[str]:
    return {node.GetName() for node in selector.nodes()}


def test_a_map_is_not_offered_but_the_result_is_and_so_are_the_users_own_volumes(host, module, beating_disc):
    import slicer

    from STEnhanceLib.scene import find_sequence

    slicer.mrmlScene.AddNewNodeByClass("vtkMRMLScalarVolumeNode", "spread of my own")
    publication = published(host, beating_disc)
    map_node = publication.maps[0]
    volume = find_sequence(map_node)[1].GetProxyNode(map_node)
    assert volume.GetName() and not volume.GetHideFromEditors() and not map_node.GetHideFromEditors()
    for selector in lists(module):
        assert not {map_node.GetID(), volume.GetID()} & {each.GetID() for each in selector.nodes()}
    assert {"cine", "result", "spread of my own"} <= offered(module.ui.inputSelector)
    assert "spread of my own" in offered(module.ui.priorSelector)
    assert offered(module.compare.ui.afterSelector) == {"cine", "result"}


def test_nor_in_a_scene_that_is_loaded_or_was_there_before_the_module(host, beating_disc, tmp_path):
    import slicer

    from STEnhanceLib import scene

    published(host, beating_disc)
    path = REPOSITORY / "STEnhance" / "SuperResolve" / "SuperResolve.py"
    before = host.load_module(path).panel
    assert offered(before.compare.ui.beforeSelector) == {"cine", "result"}
    scene.save_scene(tmp_path / "maps.mrb", slicer.mrmlScene)
    slicer.mrmlScene.Clear(0)
    scene.load_scene(tmp_path / "maps.mrb", slicer.mrmlScene)
    host.wait(0)
    assert offered(before.compare.ui.beforeSelector) == {"cine", "result"}
    assert "cine" in before.parameters.inputNode.GetName()


@pytest.mark.parametrize("attribute", ["STEnhance.Content", "STEnhance.Difference"])
def test_nor_what_was_removed_nor_a_difference(host, module, beating_disc, attribute):
    import slicer

    from STEnhanceLib.scene import add_sequence

    removed = replace(beating_disc, name="removed", attributes={attribute: "Input minus result."})
    node = add_sequence(removed, slicer.mrmlScene)
    host.wait(0)
    module.enter()
    assert module.parameters.inputNode is None
    assert offered(module.ui.inputSelector) == set()
    slicer.mrmlScene.RemoveNode(node)
    node = add_sequence(beating_disc, slicer.mrmlScene)
    host.wait(0)
    assert "beating disc" in offered(module.ui.inputSelector)
