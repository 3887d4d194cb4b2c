"""`.npz` files that are damaged, claim too much, or hold what is never opened: one sentence each, and no memory."""

from __future__ import annotations

import io
import tracemalloc
import zipfile
from pathlib import Path

import numpy as np
import pytest

from STEnhanceLib.acquisition.kspace import KSpace
from STEnhanceLib.errors import STEnhanceError
from STEnhanceLib.sequence import Grid

pytestmark = pytest.mark.usefixtures("one_thread")


@pytest.fixture
def kspace() -> KSpace:
    random = np.random.default_rng(3)
    samples = random.normal(size=(2, 1, 2, 8, 8, 2)).astype(np.float32).view(np.complex64)[..., 0]
    mask = np.ones((2, 8), bool)
    coils = np.full((1, 2, 8, 8), np.sqrt(0.5), np.complex64)
    return KSpace(samples, coils, Grid((1, 8, 8), np.eye(4), [0, 40]), mask, noise_std=0.1, notes=("Made.",))


def members_of(path: Path) -> dict[str, bytes]:
    with zipfile.ZipFile(path) as archive:
        return {name: archive.read(name) for name in archive.namelist()}


def write_members(path: Path, members: dict[str, bytes], compression=zipfile.ZIP_STORED) -> None:
    with zipfile.ZipFile(path, "w", compression) as archive:
        for name, data in members.items():
            archive.writestr(name, data)


def same(one: KSpace, other: KSpace) -> bool:
    arrays = ("samples", "coil_sensitivities", "mask")
    return all(np.array_equal(getattr(one, name), getattr(other, name)) for name in arrays) and np.array_equal(
        (one.noise_std, *one.grid.times_ms), (other.noise_std, *other.grid.times_ms)
    )


@pytest.mark.parametrize("compression", [zipfile.ZIP_STORED, zipfile.ZIP_DEFLATED])
def test_no_flipped_bit_is_read_as_another_measurement(kspace, tmp_path, compression):
    path = tmp_path / "k.npz"
    kspace.save(path)
    write_members(path, members_of(path), compression)
    whole = path.read_bytes()
    assert same(KSpace.load(path), kspace)
    for bit in np.random.default_rng(1).choice(8 * len(whole), 400, replace=False):
        data = bytearray(whole)
        data[bit // 8] ^= 1 << (bit % 8)
        path.write_bytes(data)
        try:
            found = KSpace.load(path)
        except STEnhanceError as error:
            assert "k.npz" in str(error)
        else:
            assert same(found, kspace), f"bit {bit}"


def npy(header: bytes, data: bytes = b"", version: bytes = b"\x01\x00") -> bytes:
    return b"\x93NUMPY" + version + len(header).to_bytes(2, "little") + header + data


def objects() -> bytes:
    stream = io.BytesIO()
    np.save(stream, np.array([{"a": 1}], object), allow_pickle=True)
    return stream.getvalue()


HUGE = b"{'descr': '<c8', 'fortran_order': False, 'shape': (100000000, 1, 1, 1000), }\n"


@pytest.mark.parametrize(
    ("member", "said"),
    [
        (b"", "k-space file or is damaged"),
        (b"\x93NUMPY", "is damaged"),
        (npy(b""), "is damaged"),
        (npy(b"{'descr': '<c8', "), "is damaged"),
        (npy(b"{'descr': '<c8', 'fortran_order': False, 'shape': (-1,), }"), "is damaged"),
        (npy(b"{'descr': 'nonsense', 'fortran_order': False, 'shape': (1,), }"), "is damaged"),
        (npy(b"[" * 900), "is damaged"),
        (npy(b"{'descr': '<c8', 'fortran_order': False, 'shape': (1,), }\n", bytes(16)), "and 16 bytes follow"),
        (npy(HUGE, bytes(64)), "claims the shape .* and 64 bytes follow"),
        (npy(HUGE, bytes(64), b"\x09\x00"), "is damaged"),
        (objects(), "Python objects, which can run any program and are never opened"),
    ],
)
def test_a_broken_array_is_one_sentence_and_costs_no_memory(kspace, tmp_path, member, said):
    path = tmp_path / "k.npz"
    kspace.save(path)
    write_members(path, members_of(path) | {"samples.npy": member})
    tracemalloc.start()
    with pytest.raises(STEnhanceError, match=rf"k\.npz .*{said}"):
        KSpace.load(path)
    _, most = tracemalloc.get_traced_memory()
    tracemalloc.stop()
    assert most < 5 << 20


@pytest.mark.parametrize("compression", [zipfile.ZIP_LZMA, zipfile.ZIP_BZIP2])
def test_another_compression_is_refused_before_it_is_unpacked(kspace, tmp_path, compression):
    path = tmp_path / "k.npz"
    kspace.save(path)
    write_members(path, members_of(path), compression)
    with pytest.raises(STEnhanceError, match="compressed in a way that numpy does not write"):
        KSpace.load(path)


@pytest.mark.parametrize("method", [97, 12345])
def test_a_compression_that_nobody_knows_is_refused(kspace, tmp_path, method):
    path = tmp_path / "k.npz"
    kspace.save(path)
    data = path.read_bytes()
    at = data.index(b"PK\x01\x02") + 10
    path.write_bytes(data[:at] + method.to_bytes(2, "little") + data[at + 2 :])
    with pytest.raises(STEnhanceError, match="is not a k-space file or is damaged"):
        KSpace.load(path)


def test_an_encrypted_array_is_refused(kspace, tmp_path):
    path = tmp_path / "k.npz"
    kspace.save(path)
    data = bytearray(path.read_bytes())
    start = 0
    while (start := data.find(b"PK\x01\x02", start)) >= 0:
        data[start + 8] |= 1
        start += 4
    path.write_bytes(data)
    with pytest.raises(STEnhanceError, match="encrypted"):
        KSpace.load(path)


def test_foreign_members_are_left_alone(kspace, tmp_path):
    path = tmp_path / "k.npz"
    kspace.save(path)
    foreign = np.lib.format.magic(1, 0) + b"no header at all"
    write_members(path, members_of(path) | {"big.npy": bytes(64 << 20), "odd.npy": foreign}, zipfile.ZIP_DEFLATED)
    tracemalloc.start()
    assert same(KSpace.load(path), kspace)
    _, most = tracemalloc.get_traced_memory()
    tracemalloc.stop()
    assert most < 8 << 20


def test_columns_first_is_read_as_it_is(kspace, tmp_path):
    path = tmp_path / "k.npz"
    kspace.save(path)
    stream = io.BytesIO()
    np.save(stream, np.asfortranarray(kspace.coil_sensitivities))
    write_members(path, members_of(path) | {"coil_sensitivities.npy": stream.getvalue()})
    assert same(KSpace.load(path), kspace)
