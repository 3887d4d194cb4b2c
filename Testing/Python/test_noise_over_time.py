"""How much noise a cine holds is seen where it stands still; STEnhance-SR says when that is better not kept."""

from __future__ import annotations

import math
import re
from dataclasses import replace

import numpy as np
import pytest

from STEnhanceLib.acquisition.noise import complex_noise
from STEnhanceLib.methods.noise_over_time import noise_over_time
from STEnhanceLib.phantoms.thorax import Thorax

KEPT = "which data consistency keeps"


@pytest.fixture(scope="module")
def still_and_beating():
    """A noise-free cine with 100 as the brightness."""
    cine = Thorax(breathing_mm=0).cine(frames=12, matrix=64, slices=1)
    return replace(cine, frames=cine.frames / np.float32(np.percentile(cine.frames, 99.9) / 100))


def noisy(cine, std: float):
    """The magnitude of the cine with complex noise."""
    noise = complex_noise(cine.frames.shape, std, np.random.default_rng(3))
    return replace(cine, frames=np.abs(cine.frames + noise).astype(np.float32))


@pytest.mark.parametrize("std", [1.0, 2.0, 5.0])
def test_noise_is_found_and_the_beating_heart_is_not_taken_for_it(still_and_beating, std):
    assert noise_over_time(still_and_beating) < 0.2
    assert noise_over_time(noisy(still_and_beating, std)) == pytest.approx(std, rel=0.15)


def test_drifting_brightness_is_no_noise(still_and_beating):
    fading = np.linspace(1, 0.5, len(still_and_beating), dtype=np.float32)[:, None, None, None]
    assert noise_over_time(replace(still_and_beating, frames=still_and_beating.frames * fading)) < 0.2


def test_two_frames_do_not_tell(still_and_beating):
    assert math.isnan(noise_over_time(still_and_beating.with_frames([0, 1])))
    assert noise_over_time(noisy(still_and_beating, 2.0).with_frames([0, 1, 2])) == pytest.approx(2.0, rel=0.3)


@pytest.mark.usefixtures("one_thread", "untrained")
class TestStenhanceSr:
    @pytest.fixture
    def notes(self, still_and_beating):
        pytest.importorskip("torch")
        pytest.importorskip("safetensors")
        from untrained import run

        def of(std: float, frames: int = 4, **settings) -> str:
            given = noisy(still_and_beating, std).with_frames(range(frames))
            return " ".join(run(given, "stenhance-sr", **{"factor": 2, **settings}).notes)

        return of

    def test_says_that_noise_is_kept_and_how_much_there_is(self, notes):
        kept = notes(4.0, data_consistency=True)
        found = re.search(r"noise of about ([\d.]+) % of their brightness, which data consistency keeps", kept)
        assert float(found[1]) == pytest.approx(4, rel=0.2)

    def test_says_how_much_there_is_where_it_is_weighed(self, notes):
        found = re.search(r"flicker by noise of about ([\d.]+) % of their brightness\.", notes(4.0))
        assert float(found[1]) == pytest.approx(4, rel=0.2)

    def test_says_nothing_of_little_noise_or_where_it_cannot_tell(self, notes):
        assert "flicker" not in notes(0.5)
        assert "flicker" not in notes(4.0, frames=2)

    def test_says_nothing_where_measured_frequencies_are_not_kept_or_none_are_added(self, notes):
        assert KEPT not in notes(4.0, data_consistency=False)
        assert KEPT not in notes(4.0, factor=1)


@pytest.mark.parametrize("case", ["scd0000301", "preclinical"])
def test_real_hearts_at_a_quarter_of_the_matrix_are_clean(case, stenhance_data):
    from STEnhanceLib import files
    from STEnhanceLib.acquisition import centre_crop

    cine = files.read(next((stenhance_data / "cine").glob(f"{case}*.nii.gz")))
    middle = cine.part(range(len(cine)), slice(cine.grid.shape[0] // 2, cine.grid.shape[0] // 2 + 1))
    small = replace(middle, frames=centre_crop.crop(middle.frames, (64, 64)))
    assert noise_over_time(small) < 0.007 * np.percentile(small.frames, 99.9)
