"""Metrics in strict mode, checked against formulas written out by hand."""

from __future__ import annotations

from dataclasses import replace

import numpy as np
import pytest

from STEnhanceLib.errors import STEnhanceError
from STEnhanceLib.evaluation.metrics import heart_box, identical_words, score, ssim
from STEnhanceLib.sequence import ImageSequence


@pytest.fixture
def noisy_disc(beating_disc) -> ImageSequence:
    noise = np.random.default_rng(1).normal(0, 4, beating_disc.frames.shape)
    return replace(beating_disc, frames=(beating_disc.frames + noise).astype(np.float32))


def ssim_by_hand(x: np.ndarray, y: np.ndarray) -> float:
    """One 2D slice, window by window, from the definition."""
    values = []
    for j in range(x.shape[0] - 6):
        for i in range(x.shape[1] - 6):
            a, b = x[j : j + 7, i : i + 7].ravel(), y[j : j + 7, i : i + 7].ravel()
            (va, cab), (_, vb) = np.cov(a, b)
            luminance = (2 * a.mean() * b.mean() + 1e-4) / (a.mean() ** 2 + b.mean() ** 2 + 1e-4)
            values.append(luminance * (2 * cab + 9e-4) / (va + vb + 9e-4))
    return float(np.mean(values))


def test_ssim_follows_its_definition_window_by_window():
    rng = np.random.default_rng(0)
    reference = rng.random((2, 15, 18))
    image = 0.7 * reference + 0.3 * rng.random(reference.shape)
    by_hand = np.mean([ssim_by_hand(x, y) for x, y in zip(image, reference, strict=True)])
    assert ssim(image, reference) == pytest.approx(by_hand, abs=1e-12)
    assert 0.2 < by_hand < 0.9  # neither end of the scale, where a wrong formula could hide


def test_metrics_follow_their_definitions(beating_disc, noisy_disc):
    scores = score(noisy_disc, beating_disc)
    scale = np.percentile(beating_disc.frames, 99.9)
    assert scores.scale == pytest.approx(scale)
    for t in range(len(beating_disc)):
        y = beating_disc.frames[t].astype(np.float64) / scale
        x = noisy_disc.frames[t].astype(np.float64) / scale
        assert scores.whole.psnr[t] == pytest.approx(10 * np.log10(1 / ((x - y) ** 2).mean()))
        assert scores.whole.nrmse[t] == pytest.approx(np.linalg.norm(x - y) / np.linalg.norm(y))
        assert scores.whole.mae[t] == pytest.approx(np.abs(x - y).mean())
        assert scores.whole.ssim[t] == pytest.approx(np.mean([ssim_by_hand(*pair) for pair in zip(x, y, strict=True)]))
    assert scores.whole.means()["psnr"] == pytest.approx(scores.whole.psnr.mean())
    assert scores.box is None


def test_a_perfect_result_has_no_error(beating_disc):
    means = score(beating_disc, beating_disc).whole.means()
    assert means == {"psnr": np.inf, "ssim": pytest.approx(1), "nrmse": 0, "mae": 0}


def test_a_frame_that_equals_its_reference_does_not_hide_the_others(beating_disc, noisy_disc):
    frames = noisy_disc.frames.copy()
    frames[3] = beating_disc.frames[3]
    scores = score(replace(noisy_disc, frames=frames), beating_disc)
    others = np.delete(score(noisy_disc, beating_disc).whole.psnr, 3)
    assert scores.whole.means()["psnr"] == pytest.approx(others.mean())
    assert scores.whole.identical == 1
    assert (
        identical_words("After", 1, 8) == "After: 1 of 8 frames equals the reference; PSNR is the mean of the others."
    )
    assert identical_words("After", 8, 8) == "After: 8 of 8 frames equal the reference."


def test_the_results_own_range_never_matters(beating_disc, noisy_disc):
    """Rescaling the result is an error that shows, and one hot pixel in it does not hide all others."""
    plain = score(noisy_disc, beating_disc)
    doubled = score(replace(noisy_disc, frames=2 * noisy_disc.frames), beating_disc)
    assert doubled.scale == plain.scale
    assert doubled.whole.means()["psnr"] < plain.whole.means()["psnr"] - 10
    hot = noisy_disc.frames.copy()
    hot[0, 0, 0, 0] = 1e4
    np.testing.assert_array_equal(
        score(replace(noisy_disc, frames=hot), beating_disc).whole.psnr[1:], plain.whole.psnr[1:]
    )


def test_only_the_chosen_frames_are_scored_on_the_scale_of_all(beating_disc, noisy_disc):
    fading = np.linspace(1, 0.3, len(beating_disc), dtype=np.float32)[:, None, None, None]  # each on a scale of its own
    reference = replace(beating_disc, frames=fading * beating_disc.frames)
    everything, some = score(noisy_disc, reference), score(noisy_disc, reference, frames=[1, 5])
    np.testing.assert_array_equal(some.frames, [1, 5])
    np.testing.assert_array_equal(some.whole.ssim, everything.whole.ssim[[1, 5]])
    np.testing.assert_array_equal(some.whole.psnr, everything.whole.psnr[[1, 5]])


def test_the_heart_box_scores_its_own_pixels_only(beating_disc, noisy_disc):
    box = (slice(10, 30), slice(15, 35))
    spoiled = noisy_disc.frames.copy()
    spoiled[:, :, :10] = spoiled[..., 35:] = 0
    inside, spoiled_outside = (
        score(result, beating_disc, box) for result in (noisy_disc, replace(noisy_disc, frames=spoiled))
    )
    assert inside.box.means() == spoiled_outside.box.means()
    assert inside.whole.means()["psnr"] > spoiled_outside.whole.means()["psnr"]


def test_the_heart_box_is_column_first_and_clipped_at_the_borders():
    assert heart_box((120, 110), (1, 256, 256)) == (slice(62, 158), slice(72, 168))
    assert heart_box((10, 250), (1, 256, 256)) == (slice(202, 256), slice(0, 58))
    with pytest.raises(STEnhanceError, match=r"\(300, 20\) lies outside the image of 256×256"):
        heart_box((300, 20), (1, 256, 256))


@pytest.mark.parametrize(
    ("spoil", "message"),
    [
        (lambda s: s.with_frames(range(7)), "result has 7 frames"),
        (lambda s: replace(s, frames=s.frames[..., :-1]), "47×40×3"),
        (lambda s: replace(s, ijk_to_ras=s.ijk_to_ras + np.eye(4, k=3) * 0.01), "0.01 mm off"),
        (lambda s: replace(s, ijk_to_ras=s.ijk_to_ras + np.eye(4, k=1) * 3e-4), "off the reference's grid"),
        (lambda s: replace(s, ijk_to_ras=s.ijk_to_ras @ np.diag([-1.0, -1, 1, 1])), r"up to \d\d\d mm off"),
        (lambda s: replace(s, times_ms=s.times_ms + 0.1), "0.1 ms off"),
    ],
)
def test_a_result_off_the_references_grid_is_refused(beating_disc, spoil, message):
    with pytest.raises(STEnhanceError, match=message):
        score(spoil(beating_disc), beating_disc)


def test_geometry_may_differ_by_what_file_headers_round_away(beating_disc):
    almost = replace(beating_disc, ijk_to_ras=beating_disc.ijk_to_ras.astype(np.float32).astype(np.float64))
    assert score(almost, beating_disc).whole.means()["mae"] == 0


def test_a_black_reference_cannot_be_scored(beating_disc):
    black = replace(beating_disc, frames=np.zeros_like(beating_disc.frames))
    with pytest.raises(STEnhanceError, match="not black"):
        score(beating_disc, black)
