"""What a method costs and whether it keeps to the measurement, beside its scores."""

from __future__ import annotations

from dataclasses import replace
from types import SimpleNamespace

import competing
import numpy as np
import pytest
from competing import COUNTED, FRAME_S, KERNELS, LOADING_S

from STEnhanceLib.acquisition import centre_crop
from STEnhanceLib.evaluation import benchmark, measured_run
from STEnhanceLib.evaluation.measured_run import measure
from STEnhanceLib.evaluation.records import Record, to_markdown
from STEnhanceLib.evaluation.residual import kspace_residual
from STEnhanceLib.methods import find_method

GFLOP = 2 * 9 * KERNELS * 3 * 40 * 48 / 1e9  # a multiply-add is two; 3×3 kernels on three slices of 40×48


@pytest.fixture
def clock(monkeypatch):
    """One that only goes on while the method loads or works."""
    now = [0.0]

    def go_on(seconds: float) -> None:
        now[0] += seconds

    monkeypatch.setattr(competing, "time", SimpleNamespace(sleep=go_on))
    monkeypatch.setattr(measured_run, "time", SimpleNamespace(perf_counter=lambda: now[0]))


def by_method(records):
    return {record.method: record for record in records}


def test_arithmetic_is_that_of_one_frame_and_a_multiply_add_counts_two(counted, beating_disc):
    assert measure([(counted, {})], beating_disc, {}).gflop_per_frame == pytest.approx(GFLOP, rel=1e-6)


def test_a_method_that_refuses_three_frames_is_counted_on_all_of_them(counted, beating_disc):
    run = measure([(counted, {"least_frames": 5})], beating_disc, {})
    assert run.gflop_per_frame == pytest.approx(GFLOP, rel=1e-6)


def test_without_torch_there_is_no_arithmetic_to_count(beating_disc):
    assert np.isnan(measure([(find_method("zero-fill"), {})], beating_disc, {}).gflop_per_frame)


def test_the_arithmetic_of_a_network_that_is_optional_is_counted_where_it_was_taken(beating_disc, untrained):
    pytest.importorskip("safetensors")
    method = find_method("frequency-split")
    assert measure([(method, {"denoiser": "network"})], beating_disc, {}).gflop_per_frame > 0
    assert np.isnan(measure([(method, {"denoiser": "classical"})], beating_disc, {}).gflop_per_frame)


def test_loading_shows_in_the_first_run_and_not_in_the_seconds_per_frame(counted, beating_disc, clock):
    run = measure([(counted, {})], beating_disc, {})
    assert run.first_frame_ms == pytest.approx(1000 * (LOADING_S + FRAME_S))
    assert run.first_seconds == pytest.approx(LOADING_S + 8 * FRAME_S)
    assert run.seconds == pytest.approx(8 * FRAME_S)


def test_a_long_run_is_not_repeated(counted, beating_disc, monkeypatch):
    monkeypatch.setattr(measured_run, "SHORT_S", 0.0)
    run = measure([(counted, {"least_frames": 5})], beating_disc, {})
    assert run.seconds == run.first_seconds
    assert np.isnan(run.gflop_per_frame), "four frames are refused, and eight would take long"


def test_times_reach_the_record(counted, disc_folder, clock, monkeypatch):
    monkeypatch.setattr(benchmark, "measured_run", measure)  # in this process, which has the clock
    record = by_method(benchmark.run(["s2"], disc_folder, methods=[COUNTED.key]))[COUNTED.key]
    assert record.seconds_per_frame == pytest.approx(FRAME_S)
    assert record.ms_per_slice == pytest.approx(1000 * FRAME_S / 3)
    assert record.first_run_seconds == pytest.approx(LOADING_S + 8 * FRAME_S)
    assert record.first_frame_ms == pytest.approx(1000 * (LOADING_S + FRAME_S))


def test_every_price_reaches_the_record(counted, disc_folder):
    """In a process of its own, where the method comes from this folder."""
    record = by_method(benchmark.run(["s2"], disc_folder, methods=[COUNTED.key]))[COUNTED.key]
    assert record.error == ""
    assert record.ms_per_slice == pytest.approx(1000 * record.seconds_per_frame / 3)
    assert record.seconds_per_frame >= FRAME_S and record.first_run_seconds >= LOADING_S + 8 * FRAME_S
    assert record.first_frame_ms >= 1000 * LOADING_S
    assert record.gflop_per_frame == pytest.approx(2 * 9 * KERNELS * 3 * 20 * 20 / 1e9, rel=1e-6)
    table = to_markdown([record])
    assert "| ms/slice | first frame, ms | GFLOP/frame | peak MB |" in table
    assert "| k-space residual |" in table


def test_columns_that_nobody_has_a_number_for_are_left_out():
    table = to_markdown([Record("t2", "a", "x", psnr=30.0)])
    assert "GFLOP/frame |" not in table and "k-space residual |" not in table
    assert "s/frame | peak MB |" in table


def test_what_keeps_the_measurement_has_no_residual_and_what_does_not_has_its_size(disc_folder):
    records = by_method(benchmark.run(["s4"], disc_folder))
    assert records["zero-fill"].kspace_residual <= 1e-6
    assert 1e-3 < records["b-spline"].kspace_residual < records[benchmark.TRAP].kspace_residual < 1
    assert all(np.isnan(r.kspace_residual) for r in benchmark.run(["t2"], disc_folder))


def test_the_residual_is_relative_and_sees_only_the_centre_of_k_space(beating_disc):
    low = replace(beating_disc, frames=centre_crop.crop(beating_disc.frames, (10, 12)))
    brighter = replace(beating_disc, frames=np.float32(1.02) * beating_disc.frames)
    beyond = beating_disc.frames - centre_crop.zero_fill(low.frames, (40, 48))
    assert kspace_residual(brighter, low) == pytest.approx(0.02, rel=1e-3)
    assert kspace_residual(replace(beating_disc, frames=beating_disc.frames + beyond), low) <= 1e-6
