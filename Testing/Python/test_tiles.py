"""Networks on images of any size: tiles without seams, and what happens when memory is short."""

from __future__ import annotations

import copy

import numpy as np
import pytest

torch = pytest.importorskip("torch", reason="torch is not installed: no networks")

from untrained import random_network  # noqa: E402

from STEnhanceLib import device, models  # noqa: E402
from STEnhanceLib.methods import find_method, parse_parameters, placement  # noqa: E402
from STEnhanceLib.methods.placement import IN_PARTS, ON_THE_CPU, Placement  # noqa: E402
from STEnhanceLib.methods.run import enhance_all  # noqa: E402
from STEnhanceLib.methods.tiles import LARGEST, chunks, in_tiles  # noqa: E402
from STEnhanceLib.networks import ddos_unet, stenhance_sr  # noqa: E402
from STEnhanceLib.sequence import ImageSequence  # noqa: E402

pytestmark = pytest.mark.usefixtures("one_thread")


def folded(network):
    support, has_prior = torch.tensor([[0.25, 0.3]]), torch.ones(1, 1)
    return lambda tile: network(tile[:, :3], tile[:, 3:], support, has_prior)


HOW = {  # channels, and how tiles are made
    "edsr-x2": (1, {"scale": 2}),
    "edsr-x4": (1, {"scale": 4}),
    "stenhance-sr": (4, {"multiple": stenhance_sr.FOLD}),
    "ddos-unet": (2, {"multiple": ddos_unet.MULTIPLE}),
}
IMAGES = [
    ("edsr-x2", (61, 83)),
    ("edsr-x4", (57, 30)),
    ("stenhance-sr", (193, 230)),
    ("ddos-unet", (3, 99, 114)),
    ("ddos-unet", (98, 5, 93)),
]


@pytest.mark.parametrize(("name", "shape"), IMAGES)
@torch.no_grad()
def test_tiles_have_no_seams(name, shape):
    network, calls = random_network(name), []
    channels, how = HOW[name]
    if name == "ddos-unet":
        network.last.weight.mul_(100)  # else nobody could see a seam
    apply = folded(network) if name == "stenhance-sr" else network
    images = torch.from_numpy(np.random.default_rng(1).random((1, channels, *shape)).astype(np.float32))

    def counted(tile):
        calls.append(tile.shape[2:])
        return apply(tile)

    whole = apply(images)
    tiled = in_tiles(counted, images, network.radius, **how, largest=whole.numel() // 4)
    assert len(calls) > 4
    assert max(tile.numel() for tile in map(torch.empty, calls)) < images[0, 0].numel()
    assert (tiled - whole).abs().max() <= 1e-5
    without_overlap = in_tiles(apply, images, 0, **how, largest=whole.numel() // 4)
    assert (without_overlap - whole).abs().max() > 1e-3


@pytest.mark.parametrize("multiple", [1, 4])
def test_tiles_overlap_by_all_that_an_output_looks_around(multiple):
    def from_afar(images):
        """From the voxels exactly 5 away: in a network those that far hardly count, so that none would be missed."""
        wide = torch.nn.functional.pad(images, (5, 5, 5, 5))
        return wide[..., 10:, 5:-5] - wide[..., :-10, 5:-5] + wide[..., 5:-5, 10:] - 2 * wide[..., 5:-5, :-10]

    images = torch.from_numpy(np.random.default_rng(3).random((1, 1, 48, 52)))
    assert torch.equal(in_tiles(from_afar, images, 5, multiple=multiple, largest=700), from_afar(images))


@pytest.mark.parametrize("name", ["edsr-x2", "stenhance-sr", "ddos-unet"])
def test_the_radius_of_a_network_is_as_far_as_its_outputs_look_around(name):
    network = random_network(name).double()
    for weight in network.parameters():
        torch.nn.init.uniform_(weight, 0.1, 0.2)  # nothing cancels, and no ReLU is shut
    length, space = 4 * network.radius, {"ddos-unet": (4, 4)}.get(name, (4,))
    images = torch.rand(1, {"edsr-x2": 1, "ddos-unet": 2}.get(name, 3), *space, length, dtype=torch.float64)
    images.requires_grad_()
    support = images.new_tensor([[0.25, 0.25]])
    result = network(images, None, support) if name == "stenhance-sr" else network(images)
    scale, farthest = getattr(network, "scale", 1), 0
    for at in range(length // 2, length // 2 + 4):
        (gradient,) = torch.autograd.grad(result[..., at * scale].sum(), images, retain_graph=True)
        seen = gradient.flatten(0, -2).abs().sum(0).nonzero()
        farthest = max(farthest, at - int(seen.min()), int(seen.max()) - at)
    assert farthest <= network.radius <= farthest + 4


def test_a_dark_tile_of_a_prior_does_not_count_as_no_prior():
    """Only half of the prior has signal: its dark half must be computed as a part of the whole."""
    from STEnhanceLib.methods.in_plane import Scan, _refined

    network = random_network("stenhance-sr")
    with torch.no_grad():
        for block in network.body:
            block.gain.weight.fill_(0.5)
        zero_filled, prior = torch.rand(1, 3, 96, 320), torch.zeros(1, 1, 96, 320)
        prior[..., :40] = 1
        scan = Scan((48, 160), lambda _t: zero_filled.numpy(), None, None, 0.0)
        whole, tiled = (_refined(network, zero_filled, prior, scan, size) for size in (LARGEST, 96 * 160))
    assert (tiled - whole).abs().max() < 1e-5


def test_a_batch_is_taken_in_turns():
    assert list(chunks(5, 10, 25)) == [slice(0, 2), slice(2, 4), slice(4, 5)]
    assert list(chunks(2, 100, 25)) == [slice(0, 1), slice(1, 2)]


# Short of memory


def short_of_memory(network, most: int):
    """The network, on a device that holds at most so many outputs at once."""

    def refuse(module, inputs):
        if inputs[0][:, 0].numel() * getattr(module, "scale", 1) ** 2 > most:
            raise torch.OutOfMemoryError("CUDA out of memory. Tried to allocate 20.00 GiB.")

    network.register_forward_pre_hook(refuse)
    return network


@pytest.mark.parametrize("key", ["edsr", "ddos-unet", "stenhance-sr"])
def test_a_method_that_runs_out_of_memory_goes_on_in_smaller_parts(key, untrained, monkeypatch):
    frames = np.random.default_rng(2).random((1, 2, 150, 170)).astype(np.float32)
    sequence = ImageSequence(frames, np.eye(4), [0.0])
    method = find_method(key)
    prior = sequence.with_frames([0])

    def run():
        return enhance_all(method, sequence, parse_parameters(method, {}), prior=prior)

    usual = run()
    assert IN_PARTS not in usual.notes
    load = models.load
    monkeypatch.setattr(models, "load", lambda *given: short_of_memory(copy.deepcopy(load(*given)), 95_000))
    result = run()
    assert np.abs(result.frames - usual.frames).max() < 1e-5
    assert result.notes == (*usual.notes, IN_PARTS)
    assert IN_PARTS in result.attributes["STEnhance.Assumed"]


def test_the_cpu_computes_what_no_part_on_the_gpu_is_small_enough_for(monkeypatch):
    monkeypatch.setattr(device, "chosen", lambda: "cuda")
    monkeypatch.setattr(models, "load", lambda name, where: f"{name} on {where}")
    notes, tried = ["Before."], []

    def step(network, where, largest):
        tried.append((network, largest))
        if where != "cpu":
            raise torch.OutOfMemoryError("CUDA out of memory.")
        return "done"

    place = Placement(notes)
    assert place.run("net", step) == "done"
    assert tried == [
        ("net on cuda", LARGEST), ("net on cuda", LARGEST // 4), ("net on cuda", LARGEST // 16), ("net on cpu", LARGEST)
    ]  # fmt: skip
    assert notes == ["Before.", IN_PARTS, ON_THE_CPU]
    tried.clear()
    assert place.run("net", step) == "done"
    assert tried == [("net on cpu", LARGEST)], "what follows need not find out again"


def test_what_fits_nowhere_fails(monkeypatch):
    monkeypatch.setattr(models, "load", lambda *_: None)
    monkeypatch.setattr(device, "chosen", lambda: "cpu")
    with pytest.raises(MemoryError, match="no"):
        placement.Placement([]).run("net", lambda *_: (_ for _ in ()).throw(torch.OutOfMemoryError("no")))


def test_memory_that_the_processor_refuses_is_asked_for_in_smaller_parts(monkeypatch):
    monkeypatch.setattr(models, "load", lambda *_: None)
    monkeypatch.setattr(device, "chosen", lambda: "cpu")
    notes, most = [], LARGEST // 4

    def step(network, where, largest):
        return torch.empty(2**50 if largest > most else 1).numel()  # a petabyte: refused by any processor

    assert Placement(notes).run("net", step) == 1
    assert notes == [IN_PARTS]
    most = 0
    with pytest.raises(MemoryError, match="allocate memory"):
        Placement(notes).run("net", step)


def test_what_fails_for_another_reason_is_not_tried_again(monkeypatch):
    monkeypatch.setattr(models, "load", lambda *_: None)
    tried = []

    def step(network, where, largest):
        tried.append(largest)
        return torch.ones(2) @ torch.ones(3)

    with pytest.raises(RuntimeError, match="size"):
        Placement([]).run("net", step)
    assert tried == [LARGEST]


@pytest.mark.skipif(not torch.cuda.is_available(), reason="there is no GPU whose memory could run out")
def test_a_real_gpu_out_of_memory_ends_in_the_same_result(untrained):
    frames = np.random.default_rng(2).random((1, 4, 512, 512)).astype(np.float32)
    sequence, method = ImageSequence(frames, np.eye(4), [0.0]), find_method("edsr")
    usual = enhance_all(method, sequence, parse_parameters(method, {}))
    total = torch.cuda.get_device_properties(0).total_memory
    torch.cuda.empty_cache()
    torch.cuda.set_per_process_memory_fraction(2**27 / total)
    try:
        result = enhance_all(method, sequence, parse_parameters(method, {}))
    finally:
        torch.cuda.set_per_process_memory_fraction(1.0)
    assert IN_PARTS in result.notes
    assert np.abs(result.frames - usual.frames).max() < 1e-4
