"""The networks of super-resolution, and the operators they are trained and used with."""

import numpy as np
import pytest

torch = pytest.importorskip("torch", reason="torch is not installed: no networks")

from torch.utils.flop_counter import FlopCounterMode  # noqa: E402

from STEnhanceLib.acquisition import centre_crop, centre_crop_torch  # noqa: E402
from STEnhanceLib.errors import STEnhanceError  # noqa: E402
from STEnhanceLib.networks import NETWORKS, alignment, build  # noqa: E402
from STEnhanceLib.networks.ddos_unet import interpolated  # noqa: E402
from STEnhanceLib.networks.stenhance_sr import aligned_inputs  # noqa: E402

pytestmark = pytest.mark.usefixtures("one_thread")


def parameters(network) -> int:
    return sum(values.numel() for values in network.parameters())


@pytest.mark.parametrize(
    ("large", "small"), [((64, 48), (16, 12)), ((63, 50), (16, 21)), ((40, 40), (40, 13)), ((30, 41), (11, 41))]
)
def test_crop_and_zero_fill_of_tensors_are_those_of_arrays(large, small):
    images = np.random.default_rng(0).standard_normal((2, *large)).astype(np.float32)
    low = centre_crop_torch.resample(torch.from_numpy(images), small)
    assert np.abs(low.numpy() - centre_crop.crop(images, small)).max() < 1e-5
    back = centre_crop_torch.resample(low, large)
    assert np.abs(back.numpy() - centre_crop.zero_fill(low.numpy(), large)).max() < 1e-5


@pytest.mark.parametrize("small", [(16, 16), (15, 17), (64, 9)])
def test_data_consistency_keeps_the_measured_centre_to_single_precision(small):
    torch.manual_seed(0)
    guess, measured = torch.randn(3, 1, 64, 51), torch.randn(3, 1, *small)
    held = centre_crop_torch.replace_centre(guess, measured)
    residual = centre_crop_torch.resample(held, small) - measured
    assert residual.norm() / measured.norm() < 1e-6
    # The nearest such image: what was changed lies in the measured part alone.
    change = held - guess
    assert torch.allclose(
        centre_crop_torch.replace_centre(torch.zeros_like(change), centre_crop_torch.resample(change, small)),
        change,
        atol=1e-5,
    )


def test_edsr_has_the_size_of_the_publication():
    network = build("edsr", {"scale": 4, "blocks": 16, "features": 64})
    assert parameters(network) == pytest.approx(1.52e6, rel=0.01)
    assert network(torch.rand(2, 1, 9, 13)).shape == (2, 1, 36, 52)


@pytest.mark.parametrize("scale", [2, 4])
def test_edsr_starts_as_linear_interpolation_on_the_grid_of_a_kspace_crop(scale):
    torch.manual_seed(0)
    network = build("edsr", {"scale": scale, "blocks": 2, "features": 16})
    j, i = torch.meshgrid(torch.arange(16.0), torch.arange(20.0), indexing="ij")
    ramp = 3 * j + i  # linear interpolation keeps it; a shift by half a pixel would show
    with torch.inference_mode():
        for tensor in (network.head, network.body_end, network.last, *network.tails):  # leave only the image's own path
            keep = tensor.weight.clone()
            tensor.weight.zero_()
            tensor.weight[: 4 if tensor in network.tails else 1, 0] = keep[: 4 if tensor in network.tails else 1, 0]
        fine = network(ramp[None, None])[0, 0]
    inner = fine[2 * scale : -3 * scale, 2 * scale : -3 * scale]
    rows, columns = (torch.arange(2 * scale, n - 3 * scale) / scale for n in fine.shape)
    wanted = 3 * rows[:, None] + columns
    assert (inner - wanted).abs().max() < 0.1 * wanted.abs().max()
    assert torch.corrcoef(torch.stack([inner.flatten(), wanted.flatten()]))[0, 1] > 0.99


def test_ddos_unet_has_the_size_of_the_publication():
    assert parameters(build("ddos-unet", {"features": 64})) == pytest.approx(5.13e6, rel=0.01)


@pytest.mark.parametrize("name", ["ddos-unet", "stenhance-sr"])
def test_training_starts_from_the_interpolated_image(name):
    torch.manual_seed(0)
    image = torch.rand(1, 1, 17, 22)
    if name == "ddos-unet":
        volume = image[:, :, None].expand(-1, -1, 3, -1, -1)
        result = build(name, {"features": 8})(torch.cat([torch.rand_like(volume), volume], dim=1))
        assert torch.equal(result, volume)
    else:
        network = build(name, {"features": 8, "blocks": 2})
        assert torch.equal(network(image.expand(-1, 3, -1, -1), None, torch.ones(1, 2)), image)


def test_stenhance_sr_costs_a_quarter_of_edsr_at_most():
    with FlopCounterMode(display=False) as edsr:
        build("edsr", {"scale": 4, "blocks": 16, "features": 64})(torch.rand(1, 1, 64, 64))
    with FlopCounterMode(display=False) as ours:
        build("stenhance-sr", {"features": 48, "blocks": 10})(torch.rand(1, 3, 256, 256), None, torch.ones(1, 2))
    assert 4 * ours.get_total_flops() <= edsr.get_total_flops()


def test_an_absent_prior_is_the_same_as_one_of_zeros():
    torch.manual_seed(0)
    network = build("stenhance-sr", {"features": 8, "blocks": 2})
    torch.nn.init.normal_(network.tail.weight)
    images, support = torch.rand(1, 3, 16, 16), torch.tensor([[0.25, 0.5]])
    without = network(images, None, support)
    assert torch.equal(without, network(images, torch.zeros(1, 1, 16, 16), support))
    assert not torch.equal(without, network(images, torch.rand(1, 1, 16, 16), support))


def smooth_image(rows: int, columns: int) -> torch.Tensor:
    j, i = torch.meshgrid(torch.arange(float(rows)), torch.arange(float(columns)), indexing="ij")
    blobs = ((12, 20, 5), (30, 14, 4), (40, 44, 7), (22, 38, 3))
    return sum(torch.exp(-((j - a) ** 2 + (i - b) ** 2) / (2 * c**2)) for a, b, c in blobs)[None, None]


@pytest.mark.parametrize("shift", [(0.0, 0.0), (1.5, -0.75), (-4.0, 3.0)])
def test_alignment_finds_where_the_anatomy_went(shift):
    fixed = smooth_image(56, 60)
    moving = alignment.warp_sharp(fixed, -torch.tensor(shift).view(1, 2, 1, 1).expand(1, 2, 56, 60))
    found = alignment.displacement(moving, fixed)
    bright = fixed[0, 0] > 0.3
    error = (found[0] - torch.tensor(shift).view(2, 1, 1))[:, bright].abs().mean()
    assert error < 0.25
    before, after = (moving - fixed).abs().mean(), (alignment.warp_sharp(moving, found) - fixed).abs().mean()
    assert after <= 0.2 * before + 1e-4


def test_images_too_small_to_align_are_taken_as_they_are():
    assert not alignment.displacement(torch.rand(1, 1, 5, 9), torch.rand(1, 1, 5, 9)).any()


def test_neighbours_and_prior_arrive_aligned_to_the_frame():
    sharp = smooth_image(56, 60)
    by = torch.tensor([2.0, -2.0]).view(1, 2, 1, 1).expand(1, 2, 56, 60)
    moved = alignment.warp_sharp(sharp, by)
    low = centre_crop_torch.resample(torch.cat([sharp, moved, sharp], dim=1), (28, 30))
    zero_filled, prior = aligned_inputs(low, moved, (56, 60))
    bright = sharp[0, 0] > 0.2
    for image in (zero_filled[0, 1], prior[0, 0]):
        assert (image - sharp[0, 0])[bright].abs().mean() < 0.35 * (moved - sharp)[0, 0][bright].abs().mean()
    assert torch.equal(zero_filled[:, :1], centre_crop_torch.resample(low[:, :1], (56, 60)))


def test_linear_interpolation_keeps_low_samples_where_a_kspace_crop_has_them():
    low = torch.rand(2, 5, 6)
    fine = interpolated(low, (20, 15))
    assert torch.allclose(fine[:, ::4, ::5], low[..., ::2], atol=1e-6)
    assert torch.allclose(fine[:, 2, 0], (low[:, 0, 0] + low[:, 1, 0]) / 2, atol=1e-6)


def test_unknown_networks_and_arguments_are_named():
    with pytest.raises(STEnhanceError, match="no network 'resnet'"):
        build("resnet", {})
    with pytest.raises(STEnhanceError, match="expected 2 or 4"):
        build("edsr", {"scale": 3})
    with pytest.raises(STEnhanceError, match="cannot be built"):
        build("stenhance-sr", {"width": 3})
    assert set(NETWORKS) >= {"edsr", "ddos-unet", "stenhance-sr"}
