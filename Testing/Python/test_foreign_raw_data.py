"""ISMRMRD files whose header is odd, damaged, claims too much or points elsewhere: one sentence, and no memory."""

from __future__ import annotations

import tracemalloc

import numpy as np
import pytest
import raw_data

from STEnhanceLib.acquisition.kspace import KSpace
from STEnhanceLib.acquisition.kspace_kind import CARTESIAN, kspace_kind
from STEnhanceLib.errors import STEnhanceError
from STEnhanceLib.sequence import Grid

pytest.importorskip("torch")
pytest.importorskip("torchkbnufft")
ismrmrd = pytest.importorskip("ismrmrd")
pytestmark = pytest.mark.usefixtures("one_thread")


@pytest.fixture(scope="module")
def cartesian() -> KSpace:
    random = np.random.default_rng(3)
    samples = random.normal(size=(3, 1, 2, 12, 16, 2)).astype(np.float32).view(np.complex64)[..., 0]
    coils = np.full((1, 2, 12, 16), np.sqrt(0.5), np.complex64)
    return KSpace(samples, coils, Grid((1, 12, 16), np.eye(4), [0, 40, 80]), np.ones((3, 12), bool))


@pytest.fixture(scope="module")
def radial(cartesian) -> KSpace:
    angles = np.arange(3)[:, None] + np.pi * np.arange(7) / 7
    along = np.linspace(-np.pi, np.pi, 16, endpoint=False)[:, None]
    trajectory = along * np.stack([np.sin(angles), np.cos(angles)], -1)[..., None, :]
    samples = np.random.default_rng(1).normal(size=(3, 1, 2, 7, 16, 2)).astype(np.float32).view(np.complex64)[..., 0]
    grid = Grid((1, 12, 12), np.eye(4), [0, 40, 80])
    return KSpace(samples, cartesian.coil_sensitivities[..., :12], grid, None, trajectory.astype(np.float32))


@pytest.fixture
def path(tmp_path):
    return tmp_path / "scan.h5"


def of_encoding(**values):
    """A change of the header: `encodedSpace__matrixSize__x=…`."""

    def change(header):
        for name, value in values.items():
            *way, last = name.split("__")
            part = header.encoding[0]
            for step in way:
                part = getattr(part, step)
            setattr(part, last, value)
        return header

    return change


def without_encoding(header):
    header.encoding = []
    return header


AXES = (("encodedSpace", "x"), ("reconSpace", "y"), ("reconSpace", "z"))
FIELDS = [f"{space}__fieldOfView_mm__{axis}" for space, axis in AXES]


@pytest.mark.parametrize("kind", ["cartesian", "radial"])
@pytest.mark.parametrize(
    ("change", "said"),
    [
        *((of_encoding(**{name: value}), "field of view") for name in FIELDS for value in (0.0, np.nan, np.inf, -1.0)),
        (of_encoding(encodedSpace__matrixSize__x=0), "matrix"),
        (of_encoding(reconSpace__matrixSize__y=-3), "matrix|is damaged"),
        (of_encoding(encodedSpace__fieldOfView_mm__x=1e-300), "."),
        (of_encoding(reconSpace__fieldOfView_mm__x=1e300), "."),
        (without_encoding, "is damaged|its header describes 0"),
    ],
)
def test_an_odd_encoding_is_one_sentence(request, path, kind, change, said):
    raw_data.write(path, request.getfixturevalue(kind), change_header=change)
    try:
        KSpace.load(path)
    except STEnhanceError as error:
        assert "scan.h5" in str(error) or "matrix is singular" in str(error)
    else:
        assert said == "."


def test_readouts_of_an_encoding_that_the_header_lacks(cartesian, path):
    def elsewhere(readouts):
        for readout in readouts:
            readout.encoding_space_ref = 5
        return readouts

    raw_data.write(path, cartesian, change=elsewhere)
    with pytest.raises(STEnhanceError, match=r"readouts of encoding 5, and its header describes 1"):
        KSpace.load(path)


def rewritten(path, old: str, new: str) -> None:
    """Change the text of the header, which the package would not write so."""
    import h5py

    with h5py.File(path, "r+") as file:
        text = file["dataset/xml"][0]
        text = text.decode() if isinstance(text, bytes) else text
        assert old in text
        file["dataset/xml"][0] = text.replace(old, new)


@pytest.mark.parametrize(
    ("word", "said"),
    [("Cartesian", None), ("golden angle", "spokes without their trajectory"), ("zigzag", "kind 'zigzag'"), ("", "''")],
)
def test_a_trajectory_outside_the_schema(cartesian, path, word, said):
    raw_data.write(path, cartesian)
    rewritten(path, "<trajectory>cartesian", f"<trajectory>{word}")
    if said is None:
        assert np.allclose(KSpace.load(path).samples, cartesian.samples, atol=1e-4)
        assert kspace_kind(path) == CARTESIAN
        return
    with pytest.raises(STEnhanceError, match=said):
        KSpace.load(path)


@pytest.mark.parametrize("kind", ["cartesian", "radial"])
@pytest.mark.parametrize("axes", ["xy", "x", "y"])
def test_a_matrix_that_nothing_can_have_filled_takes_no_memory(request, path, kind, axes):
    change = of_encoding(**{f"encodedSpace__matrixSize__{axis}": 65535 for axis in axes})
    raw_data.write(path, request.getfixturevalue(kind), change_header=change)
    tracemalloc.start()
    with pytest.raises(STEnhanceError, match=r"claims a matrix of .*65535.*far too few"):
        KSpace.load(path)
    _, most = tracemalloc.get_traced_memory()
    tracemalloc.stop()
    assert most < 50 << 20


@pytest.mark.parametrize("link", ["external link", "external storage"])
def test_data_in_another_file_are_not_followed(cartesian, path, tmp_path, link):
    import h5py

    raw_data.write(tmp_path / "other.h5", cartesian)
    with h5py.File(path, "w") as file:
        if link == "external link":
            file["dataset"] = h5py.ExternalLink(str(tmp_path / "other.h5"), "dataset")
        else:
            elsewhere = [(str(tmp_path / "other.h5"), 0, 8)]
            file.create_dataset("dataset/data", (8,), "u1", external=elsewhere)
    with pytest.raises(STEnhanceError, match=r"takes data from .*which is not followed"):
        KSpace.load(path)


def test_any_flipped_byte_of_a_header_is_a_sentence_or_makes_no_difference(cartesian, path):
    whole = raw_data.write(path, cartesian).read_bytes()
    random = np.random.default_rng(5)
    start = whole.index(b"<ismrmrdHeader")
    for at in start + random.choice(whole.index(b"</ismrmrdHeader>") - start, 40, replace=False):
        data = bytearray(whole)
        data[at] = random.integers(256)
        path.write_bytes(data)
        try:
            KSpace.load(path)
        except STEnhanceError as error:
            assert "scan.h5" in str(error) or "k-space" in str(error)
