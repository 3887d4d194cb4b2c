"""What the shipped networks are worth on real cines."""

from __future__ import annotations

import numpy as np
import pytest
from untrained import run, sequence_of

from STEnhanceLib import files, models
from STEnhanceLib.acquisition import thick_slices
from STEnhanceLib.acquisition.simulate import simulate
from STEnhanceLib.evaluation.residual import kspace_residual
from STEnhanceLib.sequence import ImageSequence

pytest.importorskip("torch", reason="torch is not installed: no networks")
pytest.importorskip("safetensors", reason="safetensors is not installed: no models")


def on_real_data(
    stenhance_data, case: str, protocol: str, slices: slice, frames: int
) -> tuple[ImageSequence, ImageSequence]:
    good = files.read(stenhance_data / "cine" / f"{case}_sax.nii.gz")
    good = sequence_of(np.ascontiguousarray(good.frames[:frames, slices]), np.eye(4), periodic=frames == len(good))
    return good, simulate(good, protocol).sequence


def psnr(result: np.ndarray, reference: np.ndarray) -> float:
    return float(-10 * np.log10(np.mean((result - reference) ** 2) / np.percentile(reference, 99.9) ** 2))


@pytest.fixture
def shipped(monkeypatch):
    """The models that come with STEnhance, not the untrained ones."""
    monkeypatch.delenv(models.VARIABLE, raising=False)

    def needed(*names):
        absent = [name for name in names if not (models.SHIPPED / name).exists()]
        if absent:
            pytest.skip(f"no weights of {absent[0]} yet")

    return needed


def test_stenhance_sr_gains_what_its_card_says_over_zero_filling_and_keeps_what_was_measured(shipped, stenhance_data):
    shipped("stenhance-sr")
    good, low = on_real_data(stenhance_data, "scd0000301", "s4", slice(5, 6), 20)
    result = run(low, "stenhance-sr", factor=4)
    assert psnr(result.frames, good.frames) >= psnr(run(low, "zero-fill", factor=4).frames, good.frames) + 1.5
    assert kspace_residual(result, low) <= 1e-5
    with_prior = run(low, "stenhance-sr", good.with_frames([0]), factor=4)
    assert psnr(with_prior.frames[1:], good.frames[1:]) > psnr(result.frames[1:], good.frames[1:])


@pytest.mark.parametrize("case", ["scd0000301", "preclinical"])
def test_every_network_beats_zero_filling_on_both_cases(case, shipped, stenhance_data):
    shipped("edsr-x2", "edsr-x4", "stenhance-sr")
    for protocol, factor in (("s2", 2), ("s4", 4)):
        good, low = on_real_data(stenhance_data, case, protocol, slice(5, 6), 3)
        plain = psnr(run(low, "zero-fill", factor=factor).frames, good.frames)
        for key in ("edsr", "stenhance-sr"):
            assert psnr(run(low, key, factor=factor).frames, good.frames) > plain, (key, protocol)


@pytest.mark.parametrize("case", ["scd0000301", "preclinical"])
def test_ddos_unet_beats_zero_filling_of_a_sixteenth_of_k_space(case, shipped, stenhance_data):
    shipped("ddos-unet")
    good, low = on_real_data(stenhance_data, case, "k6", slice(4, 7), 4)
    result = run(low, "ddos-unet", good.with_frames([0]), factor=4)
    assert psnr(result.frames[1:], good.frames[1:]) > psnr(run(low, "zero-fill", factor=4).frames[1:], good.frames[1:])


def test_thinner_slices_are_better_than_interpolated_ones(shipped, stenhance_data):
    shipped("stenhance-sr-through-plane")
    good, low = on_real_data(stenhance_data, "scd0000301", "z4", slice(0, 9), 2)
    result = run(low, "stenhance-sr", factor=1, slice_factor=4)
    assert psnr(result.frames, good.frames) > psnr(thick_slices.start(low.frames, 4), good.frames)
