"""Sample data: registered once, made on demand in a real scene. `SampleData` itself is a stand-in of the smoke host."""

from __future__ import annotations

import json
from pathlib import Path

import numpy as np
import pytest


@pytest.fixture
def samples(host):
    """The sources of our category by name, after all three modules have registered them."""
    import slicer

    from STEnhanceLib.panels import sample_data

    for _module in range(3):
        sample_data.register()
    sources = slicer.modules.sampleDataSources[sample_data.CATEGORY]
    names = [source.sampleName for source in sources]
    assert len(names) == len(set(names))
    return dict(zip(names, sources, strict=True))


def load(samples, name):
    from STEnhanceLib import scene

    source = samples[name]
    (node,) = source.customDownloader(source)
    return node, scene.read_sequence(node)


def test_the_category_offers_one_input_per_task_and_the_sequences_of_slicer(samples):
    import slicer

    phantoms = [name for name, source in samples.items() if source.customDownloader]
    assert phantoms == [
        "Cine phantom",
        "Cine phantom, low resolution (s4)",
        "Cine phantom, noisy",
        "Cine phantom, 13 radial spokes (r13)",
        "Cine phantom, every 4th frame (t4)",
        "Knee phantom, 0-80°",
        "Deep-breathing phantom, 30 mm",
    ]
    assert all(Path(samples[name].thumbnailFileName).is_file() for name in phantoms)
    # Slicer's own are the same sources, so their address and checksum are Slicer's as well.
    general = slicer.modules.sampleDataSources["General"]
    assert [name for name in samples if name not in phantoms] == ["CTCardioSeq", "CTPCardioSeq"]
    assert all(any(samples[name] is source for source in general) for name in ("CTCardioSeq", "CTPCardioSeq"))


def test_a_click_makes_the_cine_and_shows_it(host, samples):
    import slicer

    from STEnhanceLib import scene

    node, cine = load(samples, "Cine phantom")
    assert node.GetScene() is slicer.mrmlScene and node.GetName() == "Cine phantom 67 bpm"
    assert cine.frames.shape == (24, 3, 160, 160) and cine.periodic and cine.notes == ()
    assert cine.grid.period_ms == pytest.approx(900)
    proxy = scene.find_sequence(node)[1].GetProxyNode(node)
    for composite in slicer.util.getNodesByClass("vtkMRMLSliceCompositeNode"):
        assert composite.GetBackgroundVolumeID() == proxy.GetID()


def test_the_degraded_versions_come_from_that_cine(host, samples):
    truth = load(samples, "Cine phantom")[1]
    coarse = load(samples, "Cine phantom, low resolution (s4)")[1]
    sparse = load(samples, "Cine phantom, every 4th frame (t4)")[1]
    assert coarse.frames.shape == (24, 3, 40, 40)
    assert coarse.frames.mean() == pytest.approx(truth.frames.mean(), rel=1e-3)
    assert np.array_equal(sparse.frames, truth.frames[::4]) and sparse.periodic
    assert json.loads(sparse.attributes["STEnhance.Simulated"])["acquisition"] == "t4"


def test_the_noisy_version_has_the_noise_of_magnitude_images(host, samples):
    truth = load(samples, "Cine phantom")[1]
    noisy = load(samples, "Cine phantom, noisy")[1]
    percent = json.loads(noisy.attributes["STEnhance.Simulated"])["noise_percent"]
    std = percent / 100 * np.percentile(truth.frames, 99.9)
    difference = noisy.frames - truth.frames
    bright, air = truth.frames > 800, truth.frames < 1e-3
    assert difference[bright].std() == pytest.approx(std, rel=0.02)  # Gaussian where the signal is strong
    assert noisy.frames[air].mean() == pytest.approx(std * np.sqrt(np.pi / 2), rel=0.02)  # Rayleigh in air


def test_large_motion_is_a_click_away_as_few_frames_with_much_to_fill_in(host, samples):
    knee, breath = (load(samples, name)[1] for name in ("Knee phantom, 0-80°", "Deep-breathing phantom, 30 mm"))
    assert len(knee) == 6 and not knee.periodic and len(breath) == 8 and breath.periodic
    assert np.abs(knee.frames[-1] - knee.frames[0]).mean() > 100 and np.ptp(breath.frames, axis=0).mean() > 50


def test_loading_twice_gives_two_sequences(host, samples):
    names = [load(samples, "Cine phantom, every 4th frame (t4)")[0].GetName() for _ in range(2)]
    assert names[0] != names[1]


def test_the_radial_sample_brings_its_kspace_into_the_panel(host, samples):
    pytest.importorskip("torchkbnufft")
    panel = host.load_module(Path(__file__).parents[2] / "STEnhance/ArtefactReduction/ArtefactReduction.py").panel
    node, _streaky = load(samples, "Cine phantom, 13 radial spokes (r13)")
    panel.ui.inputSelector.setCurrentNode(node)
    panel.choose("gridding")
    assert panel.ui.applyButton.enabled, panel.ui.statusLabel.text
    panel.ui.applyButton.click()
    host.wait_until(lambda: not panel.running)
    assert panel.run.error is None
    assert panel.run.result.GetNumberOfDataNodes() == 20
