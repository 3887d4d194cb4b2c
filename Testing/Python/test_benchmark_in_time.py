"""Frame by frame: how fast a stream of frames is enhanced, and whether scores drift over a sequence."""

from __future__ import annotations

import json
from dataclasses import replace

import numpy as np
import pytest
from competing import COUNTED, FRAME_S, LOADING_S

from STEnhanceLib import cli
from STEnhanceLib.errors import STEnhanceError
from STEnhanceLib.evaluation import benchmark, streaming
from STEnhanceLib.evaluation.drift import Curve, drift_db, write_curves
from STEnhanceLib.methods import find_method


def test_a_stream_is_clocked_warm_and_its_start_cold(counted, disc_folder):
    records = streaming.run(["s2"], disc_folder, methods=[COUNTED.key])
    of_method = {record.fed: record for record in records if record.method == COUNTED.key}
    assert set(of_method) == {streaming.WHOLE, streaming.SINGLE}
    for record in of_method.values():
        assert (record.error, record.frames, record.slices) == ("", 8, 1)
        assert 1000 * FRAME_S <= record.median_ms <= record.p95_ms
        assert record.frames_per_second <= 1 / FRAME_S
        assert record.first_frame_ms >= 1000 * (LOADING_S + FRAME_S)
        assert record.warm_first_frame_ms < record.first_frame_ms - 500 * LOADING_S


def test_every_pass_has_the_time_of_every_frame(counted, beating_disc):
    whole = streaming.whole_sequence([(counted, {})], beating_disc, {})
    assert whole.cold_first >= LOADING_S
    assert whole.warm.shape == (streaming.PASSES, 8)
    assert (whole.warm >= FRAME_S).all(), "each since the one before"
    assert np.median(whole.warm) < LOADING_S, "nothing is loaded again"


def test_only_a_method_that_looks_at_single_frames_is_fed_with_them():
    assert set(streaming.ways_to_feed(find_method("zero-fill"))) == {streaming.WHOLE, streaming.SINGLE}
    for method in (replace(COUNTED, preview_frames=3), replace(COUNTED, preview_frames=None), find_method("gridding")):
        assert set(streaming.ways_to_feed(method)) == {streaming.WHOLE}


def test_the_command_streams_and_says_what_was_clocked(disc_folder, tmp_path, capsys):
    path = tmp_path / "stream.json"
    command = ["benchmark", "s4", "--data", str(disc_folder), "--stream", "--json", str(path)]
    assert cli.main(command) == cli.DONE
    printed = capsys.readouterr().out
    assert "### s4: super-resolution, streamed" in printed and "| disc | zero-fill | frame by frame |" in printed
    assert "3 passes after a warm-up" in printed
    assert {record["method"] for record in json.loads(path.read_text())} >= {"zero-fill", "b-spline"}


def test_what_cannot_be_streamed_is_refused(disc_folder, tmp_path, capsys):
    with pytest.raises(STEnhanceError, match="t2 fills in frames between others"):
        streaming.run(["t2"], disc_folder)
    command = ["benchmark", "s4", "--data", str(disc_folder), "--stream", "--curves", str(tmp_path / "curves")]
    assert cli.main(command) == cli.USER_ERROR
    assert "--curves has nothing to draw" in " ".join(capsys.readouterr().err.split())


def test_a_refusal_is_a_row_of_the_stream(disc_folder):
    records = streaming.run(["s4"], disc_folder, methods=["zero-fill[factor=2]"])
    refused = next(record for record in records if record.method == "zero-fill[factor=2]")
    assert "s4 sets factor itself" in refused.error and np.isnan(refused.median_ms)
    assert f"* zero-fill[factor=2] on disc: {refused.error}" in streaming.to_markdown(records)


def test_curves_hold_the_frames_whose_mean_is_in_the_table(disc_folder, tmp_path, capsys):
    folder, path = tmp_path / "new" / "curves", tmp_path / "b.json"
    command = ["benchmark", "k10", "--data", str(disc_folder), "--curves", str(folder), "--json", str(path)]
    assert cli.main(command) == cli.DONE
    assert sorted(child.name for child in folder.iterdir()) == ["k10-disc.json", "k10-disc.png"]
    written = json.loads((folder / "k10-disc.json").read_text())
    assert written["frames"] == [1, 2, 3, 4, 5, 6, 7]
    assert written["times_ms"] == [50.0 * frame for frame in written["frames"]]
    records = {record["method"]: record for record in json.loads(path.read_text())}
    assert set(written["methods"]) == set(records) - {benchmark.TRAP}, "rows that no user can pick are not drawn"
    for method, curve in written["methods"].items():
        assert np.mean(curve["psnr"]) == pytest.approx(records[method]["psnr"])
        assert np.mean(curve["roi_psnr"]) == pytest.approx(records[method]["roi_psnr"])
    assert written["methods"]["zero-fill"]["drift_db"] == pytest.approx(0, abs=1e-9)
    assert "k10-disc.png" in "".join(capsys.readouterr().out.split())


def test_drift_is_what_is_lost_beyond_the_yardstick():
    motion = np.array([30.0, 29.0, 31.0, 28.0, 30.5])
    assert drift_db(motion + 2.0 - 0.25 * np.arange(5), motion) == pytest.approx(-1.0)
    assert drift_db(30 + 0.5 * np.arange(3)) == pytest.approx(1.0)
    assert np.isnan(drift_db(np.array([30.0, np.inf])))


def test_every_method_has_a_line_in_the_picture(tmp_path):
    """Lines of different colours: each of them is found in the pixels."""
    pytest.importorskip("matplotlib")
    from matplotlib.colors import to_rgb
    from matplotlib.image import imread

    from STEnhanceLib.evaluation.drift import COLOURS

    frames, gap = np.arange(5), np.full(5, np.nan)
    curves = [Curve("k6", "a", f"m{n}", frames, 50.0 * frames, 30.0 + n + frames, gap) for n in range(3)]
    picture, _numbers = write_curves(curves, tmp_path)
    pixels = imread(picture)[..., :3]
    for colour, drawn in zip(COLOURS, (True, True, True, False), strict=False):
        near = np.abs(pixels - np.array(to_rgb(colour))).max(axis=-1) < 0.02
        assert near.any() == drawn
