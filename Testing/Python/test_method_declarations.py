"""What every method promises, checked on each of them, also on those that will be added."""

from __future__ import annotations

import dataclasses
import math
import re
import subprocess
import sys
import textwrap
from typing import get_type_hints

import numpy as np
import pytest

from STEnhanceLib.acquisition.simulate import simulate
from STEnhanceLib.errors import STEnhanceError
from STEnhanceLib.methods import Method, Need, Task, all_methods, find_method, methods_for, parse_parameters
from STEnhanceLib.methods.run import enhance, enhance_all
from STEnhanceLib.sequence import ImageSequence

METHODS = list(all_methods().values())
pytestmark = pytest.mark.usefixtures("untrained")  # what is promised holds with any weights
ON_IMAGES = [method for method in METHODS if not method.needs]
WITHOUT_TORCH = ["zero-fill", "b-spline", "frequency-split", "align-slices", "linear", "fourier", "demons"]


def every(methods):
    return pytest.mark.parametrize("method", methods, ids=lambda method: method.key)


def suitable(method: Method, good: ImageSequence) -> tuple[ImageSequence, dict]:
    """Input for a method, made from a good sequence, and what else it takes."""
    missing = method.missing_packages()
    if missing:
        pytest.skip(f"{method.key} needs {', '.join(missing)}, not installed")
    if Need.KSPACE in method.needs:
        spoilt = simulate(good, "c4")
        return spoilt.sequence, {"kspace": spoilt.kspace}
    return good, {"prior": good.with_frames([0])} if Need.PRIOR in method.takes else {}


# Declarations


def test_the_methods_that_the_documentation_names_are_there():
    assert set(WITHOUT_TORCH) <= set(all_methods())
    in_time = methods_for(Task.TEMPORAL_INTERPOLATION)
    assert [method.key for method in in_time][:2] == ["motion", "learned-motion"]
    assert [method.key for method in in_time if method.baseline] == ["linear", "fourier", "demons"]
    assert [method.generative for method in in_time] == sorted(method.generative for method in in_time)
    assert [method.key for method in methods_for(Task.SUPER_RESOLUTION)][:2] == ["zero-fill", "b-spline"]
    with pytest.raises(STEnhanceError, match="no method 'bicubic'; there are: zero-fill"):
        find_method("bicubic")


@every(METHODS)
def test_a_declaration_is_complete(method):
    assert re.fullmatch(r"[a-z0-9]+(-[a-z0-9]+)*", method.key)
    assert method.title and "\n" not in method.title
    assert 20 <= len(method.summary) <= 140 and method.summary.endswith(".")
    assert re.search(r"\b(19|20)\d\d\b", method.reference), "a reference names its year"
    assert (method.enhance.__doc__ or "").strip()


@every(METHODS)
def test_each_parameter_says_what_it_does_and_has_a_default_within_its_range(method):
    types = get_type_hints(method.parameters)
    assert dataclasses.is_dataclass(method.parameters) and method.parameters.__dataclass_params__.frozen
    for field in dataclasses.fields(method.parameters):
        kinds = set(getattr(types[field.name], "__args__", (types[field.name],))) - {type(None)}
        assert len(kinds) == 1 and kinds <= {bool, int, float, str}, field.name
        assert field.metadata["help"].endswith("."), field.name
        limits, default = field.metadata, field.default
        if default is not None:
            assert type(default) in kinds, field.name
            assert limits["choices"] is None or default in limits["choices"], field.name
            assert limits["minimum"] is None or default >= limits["minimum"], field.name
            assert limits["maximum"] is None or default <= limits["maximum"], field.name


@every(METHODS)
def test_parameters_are_read_from_text(method):
    defaults = method.parameters()
    as_text = {name: str(value) for name, value in dataclasses.asdict(defaults).items()}
    assert parse_parameters(method, as_text) == parse_parameters(method, {}) == defaults
    with pytest.raises(STEnhanceError, match=f"{method.key} has no parameter 'sharpnes'; it has: "):
        parse_parameters(method, {"sharpnes": "1"})


@every(METHODS)
def test_values_out_of_range_are_refused_by_name(method):
    for field in dataclasses.fields(method.parameters):
        limits = field.metadata
        wrong = ["no such value"] if limits["choices"] is not None else []
        wrong += [str(limits["minimum"] - 1)] if limits["minimum"] is not None else []
        wrong += [str(limits["maximum"] + 1)] if limits["maximum"] is not None else []
        for value in wrong:
            with pytest.raises(STEnhanceError, match=f"{method.key}: {field.name}='{value}' was given; expected"):
                parse_parameters(method, {field.name: value})


@every(METHODS)
def test_numbers_without_end_and_parts_of_whole_ones_are_refused(method):
    types = get_type_hints(method.parameters)
    for field in dataclasses.fields(method.parameters):
        kind = str(types[field.name])
        wrong = [math.inf, "inf", "nan"] if "float" in kind else [math.inf, 2.5] if "int" in kind else []
        for value in wrong:
            with pytest.raises(STEnhanceError, match=f"{method.key}: {field.name}={value!r} was given; expected"):
                parse_parameters(method, {field.name: value})


# Behaviour


@every(METHODS)
def test_geometry_and_time_are_exact_and_the_input_is_untouched(method, beating_disc):
    sequence, inputs = suitable(method, beating_disc)
    before = sequence.frames.tobytes()
    result = enhance_all(method, sequence, method.parameters(), **inputs)
    assert sequence.frames.tobytes() == before
    assert result.frames.dtype == np.float32
    assert result.periodic == sequence.periodic
    assert set(sequence.times_ms) <= set(result.times_ms)
    first_voxel_moved = np.linalg.norm(result.ijk_to_ras[:3, 3] - sequence.ijk_to_ras[:3, 3])
    field_of_view = np.multiply(result.grid.spacing_mm, result.grid.shape[::-1])
    assert np.allclose(field_of_view, np.multiply(sequence.grid.spacing_mm, sequence.grid.shape[::-1]), rtol=1e-12)
    assert first_voxel_moved < 1e-9
    if method.task is not Task.SUPER_RESOLUTION:
        assert result.grid.shape == sequence.grid.shape
    if method.task is not Task.TEMPORAL_INTERPOLATION:
        assert np.array_equal(result.times_ms, sequence.times_ms)


@every(METHODS)
def test_intensities_keep_their_scale(method, beating_disc):
    sequence, inputs = suitable(method, beating_disc)
    result = enhance_all(method, sequence, method.parameters(), **inputs)
    assert np.abs(result.frames).mean() == pytest.approx(beating_disc.frames.mean(), rel=0.1)
    assert np.percentile(result.frames, 99) == pytest.approx(np.percentile(beating_disc.frames, 99), rel=0.15)


@every(ON_IMAGES)
def test_a_brighter_input_gives_the_same_result_only_brighter(method, beating_disc):
    sequence, _ = suitable(method, beating_disc.with_frames([0, 3, 4]))
    brighter = dataclasses.replace(sequence, frames=sequence.frames * np.float32(1000))
    expected = 1000 * enhance_all(method, sequence, method.parameters()).frames
    found = enhance_all(method, brighter, method.parameters()).frames
    assert np.abs(found - expected).max() < 1e-3 * expected.max()


@every([method for method in ON_IMAGES if Need.KSPACE not in method.takes])  # which finish slice by slice
def test_later_frames_are_computed_after_the_first_one_was_handed_out(method, beating_disc):
    voxels = beating_disc.frames.copy()
    sequence, _ = suitable(method, dataclasses.replace(beating_disc, frames=voxels, periodic=method.key == "fourier"))
    has = {field.name for field in dataclasses.fields(method.parameters)}
    on_this_grid = {"acquired": "shown"} if "acquired" in has else {}  # else the voxels are copied to another
    parameters = method.parameters(**on_this_grid)
    enhancement = enhance(method, sequence, parameters)
    undisturbed = [frame.voxels.copy() for frame in enhance(method, sequence, parameters).frames]
    next(enhancement.frames)
    voxels[-3:] *= 2  # seen only by what has not been computed yet
    later = [frame.voxels for frame in enhancement.frames]
    for found, expected in zip(later[-3:], undisturbed[-3:], strict=True):
        assert np.abs(found - expected).max() > 0.1 * expected.max()


def test_classical_methods_run_where_torch_is_not_installed():
    program = textwrap.dedent(
        """
        import sys
        sys.modules["torch"] = sys.modules["torchkbnufft"] = None  # importing them now fails as if they were absent
        import numpy as np
        from STEnhanceLib.methods import all_methods, find_method
        from STEnhanceLib.methods.run import enhance_all
        from STEnhanceLib.sequence import ImageSequence
        frames = np.random.default_rng(0).random((3, 2, 16, 16)).astype(np.float32)
        sequence = ImageSequence(frames, np.eye(4), [0, 1, 2], periodic=True)
        for key in sys.argv[1:]:
            method = find_method(key)
            assert "torch" not in method.requires
            enhance_all(method, sequence, method.parameters())
        needing = [method for method in all_methods().values() if "torch" in method.requires]
        assert all("torch" in method.missing_packages() for method in needing)
        """
    )
    ran = subprocess.run(
        [sys.executable, "-c", program, *WITHOUT_TORCH], check=False, capture_output=True, text=True, timeout=240
    )
    assert ran.returncode == 0, ran.stderr


def test_listing_the_methods_imports_nothing_heavy():
    heavy = {"torch", "SimpleITK", "matplotlib", "slicer", "scipy.ndimage", "scipy.fft", "pydicom"}
    program = (
        f"import sys; from STEnhanceLib.methods import all_methods; all_methods(); print(*{heavy} & set(sys.modules))"
    )
    ran = subprocess.run([sys.executable, "-c", program], check=True, capture_output=True, text=True, timeout=240)
    assert ran.stdout.split() == []
