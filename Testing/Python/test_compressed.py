"""A compressed file counts only if its stream is whole: end, checksum and length."""

from __future__ import annotations

import gzip
from pathlib import Path

import numpy as np
import pytest
from test_file_headers import VOXELS, nifti_bytes, nrrd_bytes

from STEnhanceLib import files
from STEnhanceLib.errors import STEnhanceError
from STEnhanceLib.files import compressed
from STEnhanceLib.files.compressed import GOES_ON
from STEnhanceLib.sequence import ImageSequence

NOISE = np.random.default_rng(5).normal(100, 30, (6, 3, 12, 14)).astype("<f4")  # hardly shrinks, so most bits matter


def nifti_gz(tmp_path: Path) -> bytes:
    path = tmp_path / "whole.nii.gz"
    files.write(ImageSequence(NOISE, np.diag([1.0, 1, 8, 1]), 40.0 * np.arange(6)), path)
    return path.read_bytes()


def nifti_gz_of_integers(_tmp_path: Path) -> bytes:
    return gzip.compress(nifti_bytes(NOISE.astype("<i2")), 9, mtime=0)


def nrrd_gz(_tmp_path: Path) -> bytes:
    return nrrd_bytes(NOISE, encoding="gzip")


@pytest.mark.parametrize(
    ("name", "made"),
    [("a.nii.gz", nifti_gz), ("a.nii.gz", nifti_gz_of_integers), ("a.seq.nrrd", nrrd_gz)],
)
def test_no_flipped_bit_is_read_as_other_voxels(tmp_path, name, made):
    whole, path = made(tmp_path), tmp_path / name
    path.write_bytes(whole)
    frames = files.read(path).frames
    random, refused = np.random.default_rng(1), 0
    for bit in random.choice(8 * len(whole), 300, replace=False):
        data = bytearray(whole)
        data[bit // 8] ^= 1 << (bit % 8)
        path.write_bytes(data)
        try:
            found = files.read(path).frames
        except STEnhanceError as error:
            assert name in str(error)
            refused += 1
        else:
            assert np.array_equal(found, frames), f"bit {bit}"
    assert refused > 250


@pytest.mark.parametrize("name", ["a.nii.gz", "a.nrrd"])
@pytest.mark.parametrize("end", range(1, 9))
def test_a_stream_without_its_last_bytes_is_refused(tmp_path, name, end):
    data = gzip.compress(nifti_bytes(), mtime=0) if name == "a.nii.gz" else nrrd_bytes(VOXELS, encoding="gzip")
    (tmp_path / name).write_bytes(data[:-end])
    with pytest.raises(STEnhanceError, match=r"compressed data are cut off or damaged .* Copy or export it again"):
        files.read(tmp_path / name)


@pytest.mark.parametrize("damage", [slice(-8, -4), slice(-4, None)])
def test_a_wrong_checksum_or_length_is_refused(tmp_path, damage):
    data = bytearray(gzip.compress(nifti_bytes(), mtime=0))
    data[damage] = bytes(byte ^ 0xFF for byte in data[damage])
    (tmp_path / "a.nii.gz").write_bytes(data)
    with pytest.raises(STEnhanceError, match="damaged"):
        files.read(tmp_path / "a.nii.gz")


@pytest.mark.parametrize(
    "data",
    [
        gzip.compress(nifti_bytes() + b"more", mtime=0),
        gzip.compress(nifti_bytes(), mtime=0) + b"no gzip",
        gzip.compress(nifti_bytes(), mtime=0) + gzip.compress(b"more", mtime=0),
    ],
)
def test_what_follows_the_voxels_is_told(tmp_path, data):
    (tmp_path / "a.nii.gz").write_bytes(data)
    found = files.read(tmp_path / "a.nii.gz")
    assert np.array_equal(found.frames, VOXELS)
    assert GOES_ON in found.notes


def test_several_streams_one_after_the_other_and_zeros_are_one_file(tmp_path):
    data = nifti_bytes()
    parts = [gzip.compress(part, mtime=0) for part in (data[:100], data[100:500], data[500:])]
    (tmp_path / "a.nii.gz").write_bytes(b"".join(parts) + bytes(64))
    found = files.read(tmp_path / "a.nii.gz")
    assert np.array_equal(found.frames, VOXELS)
    assert GOES_ON not in found.notes


def test_fewer_voxels_in_a_nrrd_header_than_in_its_stream_are_no_smaller_image(tmp_path):
    """The checksum does not cover this header, so nothing else tells a damaged size."""
    (tmp_path / "a.nrrd").write_bytes(nrrd_bytes(VOXELS, encoding="gzip", sizes="1 2 3 4"))
    with pytest.raises(STEnhanceError, match="more than the voxels that its header claims"):
        files.read(tmp_path / "a.nrrd")


def test_a_stream_that_goes_on_and_on_is_refused(tmp_path, monkeypatch):
    monkeypatch.setattr(compressed, "MOST_AFTER_THE_VOXELS", 1 << 20)
    (tmp_path / "a.nii.gz").write_bytes(gzip.compress(nifti_bytes() + bytes(4 << 20), mtime=0))
    with pytest.raises(STEnhanceError, match="more than the voxels that its header claims"):
        files.read(tmp_path / "a.nii.gz")
