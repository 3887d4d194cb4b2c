"""The benchmark on tiny phantoms and on a real slice, with real files and real processes."""

from __future__ import annotations

import json
from dataclasses import fields, replace

import numpy as np
import pytest

from STEnhanceLib import files
from STEnhanceLib.errors import STEnhanceError
from STEnhanceLib.evaluation import benchmark
from STEnhanceLib.evaluation.cases import find_cases
from STEnhanceLib.evaluation.contestants import Contestant
from STEnhanceLib.evaluation.measured_run import measured_run
from STEnhanceLib.evaluation.metrics import heart_box, intensity_scale
from STEnhanceLib.evaluation.protocols import PROTOCOLS, factor_between, find_protocol, middle_slices
from STEnhanceLib.evaluation.records import Record, to_markdown, write_json
from STEnhanceLib.methods import Task, find_method, methods_for, parse_parameters
from STEnhanceLib.methods.run import enhance_all


@pytest.fixture
def square_disc(beating_disc):
    """(8, 3, 40, 40), not marked as a cycle, as files from elsewhere are."""
    return replace(beating_disc, frames=beating_disc.frames[..., 4:44].copy(), periodic=False, name="disc")


@pytest.fixture
def folder(tmp_path, square_disc):
    files.write(square_disc, tmp_path / "disc.seq.nrrd")
    (tmp_path / "cine.json").write_text(json.dumps({"disc": {"heart_centre_xy": [21, 19], "end_systole_frame": 4}}))
    return tmp_path


def by_method(records):
    return {record.method: record for record in records}


def psnr_by_hand(result, reference, whole):
    """Mean over frames (the first axis), with the 99.9th percentile of the whole sequence as 1."""
    squared = ((result - reference).astype(np.float64) ** 2).reshape(len(reference), -1).mean(axis=1)
    return np.mean(10 * np.log10(np.percentile(whole, 99.9) ** 2 / squared))


def zero_filled_by_hand(frames, part):
    """Keep the centre of k-space with plain numpy: frequencies −m/2 … m/2 − 1 for an even small matrix m."""
    kspace = np.fft.fftshift(np.fft.fft2(frames), axes=(-2, -1))
    kept = np.zeros(frames.shape[-2:])
    kept[tuple(slice(n // 2 - n // part // 2, n // 2 - n // part // 2 + n // part) for n in kept.shape)] = 1
    return np.fft.ifft2(np.fft.ifftshift(kspace * kept, axes=(-2, -1))).real


def test_zero_fill_scores_what_a_direct_fourier_transform_scores(tmp_path, square_disc):
    """From 36 to 9 pixels: an odd matrix has no Nyquist frequency to argue about, so both must agree exactly."""
    disc = replace(square_disc, frames=square_disc.frames[..., 2:38, 2:38].copy())
    files.write(disc, tmp_path / "disc.seq.nrrd")
    record = by_method(benchmark.run(["s4"], tmp_path))["zero-fill"]
    by_hand = zero_filled_by_hand(disc.frames, 4)
    assert record.psnr == pytest.approx(psnr_by_hand(by_hand, disc.frames, disc.frames), abs=1e-3)
    assert 20 < record.psnr < 50


def test_a_misaligned_grid_costs_5_db_on_a_real_slice(stenhance_data):
    """Zero-filling on the right grid, by the benchmark and by hand, against bicubic on the half-pixel grid."""
    case = "scd0000201_sax"
    records = by_method(benchmark.run(["s4"], stenhance_data / "cine", slices=1, cases=[case]))
    good = files.read(stenhance_data / "cine" / f"{case}.nii.gz")
    middle = middle_slices(good, 1).frames
    by_hand = zero_filled_by_hand(middle, 4)
    assert records["zero-fill"].psnr == pytest.approx(psnr_by_hand(by_hand, middle, good.frames), abs=0.1)
    facts = json.loads((stenhance_data / "cine" / "cine.json").read_text())
    rows, columns = heart_box(facts[case]["heart_centre_xy"], good.grid.shape)
    boxed = [images[..., rows, columns] for images in (by_hand, middle)]
    assert records["zero-fill"].roi_psnr == pytest.approx(psnr_by_hand(*boxed, good.frames), abs=0.1)
    assert records["zero-fill"].psnr >= records[benchmark.TRAP].psnr + 5
    assert records["b-spline"].psnr >= records[benchmark.TRAP].psnr + 4.5
    assert benchmark.TRAP not in {method.key for method in methods_for(Task.SUPER_RESOLUTION)}


def test_cubic_interpolation_on_the_right_grid_keeps_the_samples(square_disc):
    low = find_protocol("s2").trial(square_disc).degraded
    right, wrong = (benchmark.cubic(low, square_disc, half_pixel) for half_pixel in (False, True))
    np.testing.assert_allclose(right.frames[..., ::2, ::2], np.abs(low.frames), atol=1e-3)
    assert np.abs(wrong.frames[..., ::2, ::2] - low.frames).max() > 5


@pytest.mark.parametrize(
    ("key", "reference", "scored"),
    [
        ("s4", range(8), range(8)),
        ("k10", range(8), range(1, 8)),
        ("t2", range(8), (1, 3, 5, 7)),
        ("t4", range(8), (1, 2, 3, 5, 6, 7)),
        ("t6", range(5), (1, 2, 3)),
    ],
)
def test_only_frames_that_were_not_given_are_scored(square_disc, key, reference, scored):
    trial = find_protocol(key).trial(square_disc, end_systole_frame=4)
    np.testing.assert_array_equal(trial.reference.times_ms, square_disc.times_ms[list(reference)])
    np.testing.assert_array_equal(trial.scored, scored)


def test_linear_interpolation_scores_its_held_out_frames(folder, square_disc):
    """The frame after the last kept one lies in the gap that closes the cycle."""
    frames = square_disc.frames
    records = by_method(benchmark.run(["t2"], folder))
    blends = (frames[0::2] + np.roll(frames[0::2], -1, axis=0)) / 2
    assert records["linear"].psnr == pytest.approx(psnr_by_hand(blends, frames[1::2], frames), abs=0.01)
    assert records["linear"].frames == 4
    assert set(records) >= {"linear", "fourier", "demons"}


def test_a_cine_that_does_not_close_is_not_taken_as_a_cycle(square_disc):
    trial = find_protocol("t4").trial(square_disc.with_frames(range(7)))
    assert not trial.degraded.periodic
    np.testing.assert_array_equal(trial.scored, (1, 2, 3))
    assert "left out" in trial.notes[0]


def test_a_planning_scan_is_given_where_the_protocol_has_one(square_disc):
    prior = find_protocol("k6").trial(square_disc).inputs["prior"]
    np.testing.assert_array_equal(prior.frames[0], square_disc.frames[0])
    assert len(prior) == 1


@pytest.mark.parametrize(("small", "large"), [((64, 64), (256, 256)), ((81, 66), (256, 208)), ((51, 51), (256, 256))])
def test_one_factor_leads_back_to_the_matrix_of_the_reference(small, large):
    factor = factor_between(small, large)
    assert tuple(np.floor(np.multiply(small, factor) + 0.5)) == large


def test_matrices_that_no_factor_joins_are_refused():
    with pytest.raises(STEnhanceError, match="No single factor leads from 10×8 to 48×40"):
        factor_between((8, 10), (40, 48))


@pytest.mark.parametrize("protocol", ["s4", "s2", "k6"])
def test_a_matrix_that_no_factor_leads_back_to_is_asked_for_itself(square_disc, protocol):
    """177 is one more than 4 × 44, and 151 one less than 4 × 38."""
    odd = replace(square_disc.with_frames(range(3)), frames=np.ones((3, 1, 177, 151), np.float32))
    trial = find_protocol(protocol).trial(odd)
    if protocol == "s4":
        assert trial.settings == {"matrix": "151x177"}
    method = find_method("zero-fill")
    result = enhance_all(method, trial.degraded, parse_parameters(method, trial.settings))
    assert result.grid.shape == trial.reference.grid.shape
    assert np.allclose(result.ijk_to_ras, trial.reference.ijk_to_ras)


def test_both_spatial_and_temporal_work_comes_back_to_such_a_matrix(square_disc):
    odd = replace(square_disc, frames=np.ones((9, 1, 177, 151), np.float32), times_ms=40.0 * np.arange(9))
    trial = find_protocol("st48").trial(odd)
    given = trial.degraded
    for method, settings in Contestant("linear", find_method("linear"), {}).steps("st48", trial):
        given = enhance_all(method, given, parse_parameters(method, settings))
    assert given.grid.shape == trial.reference.grid.shape and len(given) == len(trial.reference)
    generative = Contestant("latent-diffusion", find_method("latent-diffusion"), {})
    assert generative.row_label(trial) == "latent-diffusion + zero-fill", "what it enlarges by is a factor"


def test_every_result_lies_on_the_grid_of_its_reference(folder):
    """A result off the grid would be refused by `metrics.score` and leave an error."""
    records = benchmark.run(["s4", "k10", "st48"], folder, cases=["disc"])
    for key in ("zero-fill", "b-spline"):
        assert all(np.isfinite(r.psnr) and not r.error for r in records if r.method == key)
    assert {r.frames for r in records if r.protocol == "k10"} == {7}
    joint = [record for record in records if record.protocol == "st48"]
    assert all("expected at least 9" in record.error for record in joint)  # eight frames hold no 9th


def test_artefact_reduction_competes_on_the_measured_k_space(folder):
    pytest.importorskip("torch")
    records = by_method(benchmark.run(["c4"], folder, slices=1))
    baselines = {method.key for method in methods_for(Task.ARTEFACT_REDUCTION) if method.baseline}
    assert set(records) == baselines
    assert all(record.slices == 1 and np.isfinite(record.psnr) for record in records.values())


def test_denoising_competes_on_images_alone_beside_the_images_as_they_are(folder):
    """Methods that need k-space, baselines though they are, have nothing to work on and leave no row."""
    methods = ["frequency-split[denoiser=classical]", "gridding"]
    records = by_method(benchmark.run(["n5"], folder, methods=methods))
    noisy, denoised = records.pop("images as they are"), records.pop("frequency-split[denoiser=classical]")
    assert not records
    assert denoised.psnr > noisy.psnr + 1
    assert noisy.slices == denoised.slices == 3


@pytest.mark.parametrize("key", ["n5", "ni5", "c4"])
def test_noise_is_in_percent_of_what_scores_count_as_1_whatever_slices_are_asked_for(tmp_path, square_disc, key):
    if key == "c4":
        pytest.importorskip("torch")
    uneven = replace(square_disc, frames=square_disc.frames * np.float32([1, 0.25, 0.5])[:, None, None])
    files.write(uneven, tmp_path / "disc.seq.nrrd")
    case, protocol = find_cases(tmp_path)[0], find_protocol(key)
    percent = 1 if key == "c4" else 5
    for slices in (1, 3):
        trial = case.spoil(protocol, case.read(), slices)
        simulated = json.loads(trial.degraded.attributes["STEnhance.Simulated"])
        assert simulated["noise_std"] == pytest.approx(percent / 100 * intensity_scale(uneven), rel=1e-5)


def test_middle_slices_stay_where_they_are_in_the_patient(square_disc):
    one = middle_slices(square_disc, 1)
    np.testing.assert_array_equal(one.frames, square_disc.frames[:, 1:2])
    np.testing.assert_allclose(one.ijk_to_ras @ (3, 4, 0, 1), square_disc.ijk_to_ras @ (3, 4, 1, 1))


def test_protocols_in_k_space_take_the_middle_slice_unless_told_otherwise():
    of_one_slice = {key for key, protocol in PROTOCOLS.items() if protocol.middle_slices == 1}
    assert of_one_slice == {"r13", "r13d", "r26", "c4", "c8", "h4"}
    assert all(PROTOCOLS[key].middle_slices is None for key in ("s4", "t2", "t6"))


def test_a_method_that_refuses_is_recorded_and_the_others_go_on(folder):
    """Two frames are no cycle, so Fourier interpolation refuses; the baselines and only those of the task run."""
    records = by_method(benchmark.run(["t6"], folder, methods=["zero-fill"]))
    assert "periodic" in records["fourier"].error
    assert np.isnan(records["fourier"].psnr)
    assert np.isfinite(records["linear"].psnr)
    assert "zero-fill" not in records
    table = to_markdown(records.values())
    assert "| disc | fourier | – |" in table
    assert "* fourier on disc: The sequence is not marked" in table


def test_an_estimated_end_systole_is_said(folder):
    (folder / "cine.json").unlink()
    record = benchmark.run(["t6"], folder)[0]
    assert "end-systole" in record.notes[0]
    assert np.isnan(record.roi_psnr)
    assert record.notes[0] in to_markdown([record])


def test_a_damaged_case_is_recorded_and_the_others_go_on(folder):
    (folder / "broken.nrrd").write_bytes(b"NRRD0005\n")
    records = benchmark.run(["s2"], folder)
    assert [bool(r.error) for r in records if r.method == "zero-fill"] == [True, False]
    assert "| **mean** | zero-fill | – |" in to_markdown(records)


def test_the_table_sets_the_best_of_each_case_in_bold():
    rows = [("a", "x", 30.0, 0.2), ("a", "y", 31.0, 0.1), ("b", "x", 20.0, 0.3), ("b", "y", 18.0, 0.4)]
    table = to_markdown([Record("s4", case, method, psnr=psnr, nrmse=error) for case, method, psnr, error in rows])
    assert "| a | x | 30.00 | – | 0.2000 |" in table
    assert "| a | y | **31.00** | – | **0.1000** |" in table
    assert "| b | x | **20.00** | – | **0.3000** |" in table
    assert "| **mean** | x | **25.00** | – | **0.2500** |" in table  # of 0.25 and 0.25, both are best
    assert "| **mean** | y | 24.50 | – | **0.2500** |" in table


def test_json_holds_one_record_per_run_with_the_agreed_names(tmp_path):
    path = tmp_path / "b.json"
    write_json([Record("s4", "a", "x", psnr=float("inf"), ssim=1.0), Record("s4", "a", "y", error="why")], path)
    first, second = json.loads(path.read_text())
    agreed = ["protocol", "case", "method", "psnr", "ssim", "nrmse", "mae", "roi_psnr", "roi_ssim"]
    assert list(first)[:11] == [*agreed, "seconds_per_frame", "peak_mb"]
    assert set(first) == {field.name for field in fields(Record)}
    assert (first["psnr"], first["ssim"], first["roi_psnr"]) == (None, 1.0, None)
    assert second["error"] == "why"
    with pytest.raises(STEnhanceError, match="does not exist"):
        write_json([], tmp_path / "nowhere" / "b.json")
    assert [child.name for child in tmp_path.iterdir()] == ["b.json"]


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        ({"protocols": ["s5"]}, "There is no protocol 's5'; there are: s2, s4"),
        ({"protocols": ["s4"], "methods": ["magic"]}, "There is no method 'magic'"),
        ({"protocols": ["s4"], "cases": ["nobody"]}, "There is no case 'nobody'.*there are: disc"),
    ],
)
def test_what_does_not_exist_is_named_before_anything_runs(folder, arguments, message):
    with pytest.raises(STEnhanceError, match=message):
        benchmark.run(data_dir=folder, **arguments)


def test_an_empty_folder_is_refused(tmp_path):
    with pytest.raises(STEnhanceError, match="holds no 4D file"):
        benchmark.run(["s4"], tmp_path)


def test_peak_memory_is_that_of_the_method_and_not_of_the_benchmark(square_disc):
    ballast = np.ones(10**8)  # 800 MB that belong to this process alone
    small = measured_run([(find_method("zero-fill"), {"factor": 2})], square_disc, {})
    larger = replace(square_disc, frames=np.ones((8, 8, 256, 256), np.float32))  # 17 MB, and 67 MB as result
    large = measured_run([(find_method("zero-fill"), {"factor": 2})], larger, {})
    assert ballast.nbytes == 8e8
    if np.isnan(small.peak_mb):
        pytest.skip("this system does not tell how much memory a process has held")
    assert 20 < small.peak_mb < 400
    assert large.peak_mb > small.peak_mb + 84 * 0.9


def test_a_process_that_dies_is_an_error_and_not_the_end(counted, square_disc):
    with pytest.raises(STEnhanceError, match="The process of test-counted died"):
        measured_run([(counted, {"dies": True})], square_disc, {})


def test_more_or_fewer_spokes_and_lines_are_protocols_too():
    assert "20 golden-angle spokes" in find_protocol("r20").conditions
    assert "lines, 10×" in find_protocol("c10").conditions
    with pytest.raises(STEnhanceError, match="no protocol 'r0'"):
        find_protocol("r0")
