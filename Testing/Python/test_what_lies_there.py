"""What a result meets where it is put, and what a reader meets instead of a file."""

from __future__ import annotations

import os
import socket
import stat
from pathlib import Path

import numpy as np
import pytest

from STEnhanceLib import cli, files
from STEnhanceLib.acquisition.kspace import KSpace
from STEnhanceLib.errors import STEnhanceError
from STEnhanceLib.evaluation import report
from STEnhanceLib.files.replace import replaced_when_complete
from STEnhanceLib.sequence import Grid, ImageSequence

pytestmark = pytest.mark.skipif(not hasattr(os, "mkfifo"), reason="Windows has other pipes and modes")
ENDINGS = (".seq.nrrd", ".nii", ".nii.gz")


@pytest.fixture
def small() -> ImageSequence:
    return ImageSequence(np.ones((2, 1, 4, 4), np.float32), np.eye(4), [0, 40], name="small")


def irregular(path: Path, kind: str) -> None:
    if kind == "pipe":
        os.mkfifo(path)
    elif kind == "socket":
        listening = socket.socket(socket.AF_UNIX)
        listening.bind(os.path.relpath(path))
        listening.close()
    elif kind == "link to a pipe":
        os.mkfifo(path.with_name("pipe"))
        path.symlink_to("pipe")
    elif kind == "link to a device":
        path.symlink_to(os.devnull)


KINDS = ("pipe", "socket", "link to a pipe", "link to a device")


@pytest.mark.parametrize("kind", KINDS)
@pytest.mark.parametrize("ending", ENDINGS)
def test_a_result_replaces_files_only(small, tmp_path, monkeypatch, kind, ending):
    monkeypatch.chdir(tmp_path)
    path = tmp_path / f"out{ending}"
    irregular(path, kind)
    before = path.lstat(), path.stat()
    for attempt in (lambda: files.write(small, path), lambda: files.refuse_unwritable(path)):
        with pytest.raises(STEnhanceError, match="no file but a device, a pipe or a socket, which a result must not"):
            attempt()
    assert (path.lstat().st_ino, path.stat().st_mode) == (before[0].st_ino, before[1].st_mode)
    assert not list(tmp_path.glob(".*"))


def test_other_writers_replace_files_only_too(tmp_path):
    irregular(tmp_path / "k.npz", "pipe")
    irregular(tmp_path / "index.html", "link to a device")
    kspace = KSpace(
        np.ones((1, 1, 1, 4, 4), np.complex64), np.ones((1, 1, 4, 4), np.complex64), Grid((1, 4, 4), np.eye(4), [0]),
        np.ones((1, 4), bool),
    )  # fmt: skip
    with pytest.raises(STEnhanceError, match="must not replace"):
        kspace.save(tmp_path / "k.npz")
    with pytest.raises(STEnhanceError, match=r"report cannot be written .* must not replace"):
        report.refuse_unwritable(tmp_path)
    with pytest.raises(STEnhanceError, match=r"report cannot be written .* must not replace"):
        report._write_whole(tmp_path / "index.html", "page")
    assert stat.S_ISFIFO((tmp_path / "k.npz").stat().st_mode)
    assert (tmp_path / "index.html").is_symlink()


def test_a_file_behind_a_link_is_replaced_and_the_link_stays(small, tmp_path):
    (tmp_path / "real.nii").write_bytes(b"old")
    (tmp_path / "out.nii").symlink_to("real.nii")
    files.write(small, tmp_path / "out.nii")
    assert (tmp_path / "out.nii").is_symlink()
    assert np.array_equal(files.read(tmp_path / "real.nii").frames, small.frames)


@pytest.mark.parametrize("mode", [0o600, 0o640, 0o664])
def test_who_may_read_a_replaced_file_stays(small, tmp_path, mode):
    path = tmp_path / "out.seq.nrrd"
    path.touch()
    path.chmod(mode)
    with replaced_when_complete(path) as stream:
        (partial,) = tmp_path.glob(".*.part")
        assert stat.S_IMODE(partial.stat().st_mode) == mode, "before anything is in it"
        stream.write(b"content")
    assert stat.S_IMODE(path.stat().st_mode) == mode
    files.write(small, path)
    assert stat.S_IMODE(path.stat().st_mode) == mode


def test_a_scene_replaces_a_file_only_and_keeps_who_may_read_it(mrml_scene, tmp_path):
    from STEnhanceLib import scene

    irregular(tmp_path / "pipe.mrb", "pipe")
    with pytest.raises(STEnhanceError, match="must not replace"):
        scene.save_scene(tmp_path / "pipe.mrb")
    assert stat.S_ISFIFO((tmp_path / "pipe.mrb").stat().st_mode)
    (tmp_path / "a.mrb").touch(0o600)
    scene.save_scene(tmp_path / "a.mrb")
    assert stat.S_IMODE((tmp_path / "a.mrb").stat().st_mode) == 0o600


@pytest.fixture
def private():
    before = os.umask(0o077)
    yield
    os.umask(before)


@pytest.mark.usefixtures("private")
def test_new_files_and_reports_are_as_private_as_the_user_wants(small, tmp_path):
    files.write(small, tmp_path / "out.nii.gz")
    report._write_whole(tmp_path / "page" / "index.html", "page")
    for path in (tmp_path / "out.nii.gz", tmp_path / "page" / "index.html"):
        assert stat.S_IMODE(path.stat().st_mode) == 0o600


@pytest.mark.parametrize("kind", KINDS)
@pytest.mark.parametrize("ending", [*ENDINGS, ".npz", ".h5"])
def test_only_files_are_read(tmp_path, monkeypatch, kind, ending):
    monkeypatch.chdir(tmp_path)
    path = tmp_path / f"in{ending}"
    irregular(path, kind)
    with pytest.raises(STEnhanceError, match=r"expected (a file|\.npz)|There is no k-space file"):
        KSpace.load(path) if ending in (".npz", ".h5") else files.read(path)


@pytest.mark.parametrize("periodic", ["no", "yes", [True, False], 0.5])
def test_a_measurement_whose_cycle_is_no_yes_or_no_is_refused(tmp_path, periodic):
    kspace = KSpace(
        np.ones((1, 1, 1, 4, 4), np.complex64), np.ones((1, 1, 4, 4), np.complex64), Grid((1, 4, 4), np.eye(4), [0]),
        np.ones((1, 4), bool),
    )  # fmt: skip
    kspace.save(tmp_path / "k.npz")
    with np.load(tmp_path / "k.npz") as file:
        arrays = dict(file)
    np.savez(tmp_path / "k.npz", **arrays | {"periodic": np.array(periodic)})
    with pytest.raises(STEnhanceError, match="periodic is"):
        KSpace.load(tmp_path / "k.npz")


# Names


@pytest.mark.parametrize(
    "name", ["cine [avg 3]", "[link=https://example.org]here[/link]", "a [/b] b", "[bold]", "[", "\\[x]", ":smile:"]
)
def test_info_shows_names_as_they_are(small, tmp_path, capsys, name):
    path = tmp_path / "a.seq.nrrd"
    named = ImageSequence(small.frames, small.ijk_to_ras, small.times_ms, False, name, (), {"STEnhance.Key": name})
    files.write(named, path)
    assert cli.main(["info", str(path)]) == 0
    printed = capsys.readouterr().out
    assert printed.count(name) == 2


def test_info_shows_nothing_that_steers_the_terminal(small, tmp_path, capsys):
    path = tmp_path / "a.seq.nrrd"
    files.write(ImageSequence(small.frames, small.ijk_to_ras, small.times_ms, name="a\x1b[2Jb\x07c"), path)
    assert cli.main(["info", str(path)]) == 0
    assert "\x1b" not in (printed := capsys.readouterr().out) and "\x07" not in printed
