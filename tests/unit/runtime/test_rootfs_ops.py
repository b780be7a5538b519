"""`docker cp`'s rules, on a directory that stands in for the container's root. What dockerd 26.1 answers is the reference."""

from __future__ import annotations

import io
import os
import tarfile
from collections.abc import Iterator
from functools import partial
from pathlib import Path
from typing import Any

import pytest

from sampan.errors import InvalidArgument, NotFound, SampanError
from sampan.runtime.launch import user
from sampan.runtime.rootfs_ops import OPERATIONS, describe, get, put
from sampan.tar.entry import TarError


@pytest.fixture
def root(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[Path]:
    root = tmp_path / "root"
    for directory in ("tmp/d", "etc"):
        (root / directory).mkdir(parents=True)
    (root / "tmp/d/f").write_bytes(b"hi\n")
    (root / "etc/passwd").write_text("root:x:0:0:root:/:/bin/sh\nme:x:7:8::/:/bin/sh\n")
    links = {"l": "/tmp/d", "pl": "../etc/passwd", "dl": "nowhere", "out": "/../../../outside", "loop": "loop"}
    for name, target in links.items():
        (root / "tmp" / name).symlink_to(target)
    (tmp_path / "outside").mkdir()

    def open_root() -> int:
        return os.open(root, os.O_PATH | os.O_DIRECTORY)

    for module in (describe, get, put):
        monkeypatch.setattr(module, "open_root", open_root)
    resolve = partial(user.resolve, passwd=f"{root}/etc/passwd", group=f"{root}/etc/group")
    monkeypatch.setattr(put.user, "resolve", resolve)
    yield root
    assert os.listdir(tmp_path / "outside") == []


def stat(path: str) -> dict[str, Any]:
    return OPERATIONS["stat_path"]({"path": path}, ())


def names(path: str) -> list[str]:
    read_end, write_end = os.pipe()
    try:
        OPERATIONS["archive_get"]({"path": path}, [write_end])
        os.close(write_end)
        with open(read_end, "rb", closefd=False) as stream:
            return tarfile.open(fileobj=io.BytesIO(stream.read())).getnames()
    finally:
        os.close(read_end)


@pytest.mark.parametrize(
    ("path", "name", "target", "first"),
    [
        ("/.", ".", "", "."),
        ("/tmp/d", "d", "", "d"),
        ("/tmp/d/", "d", "", "d"),
        ("/tmp/d/.", ".", "", "."),
        ("/tmp/l", "l", "/tmp/d", "l"),
        ("/tmp/l/", "l", "", "l"),
        ("/tmp/l/.", ".", "", "."),
        ("/tmp/pl", "pl", "/etc/passwd", "pl"),
        ("/tmp/dl", "dl", "/tmp/nowhere", "dl"),
        ("tmp/d/../pl", "pl", "/etc/passwd", "pl"),
        ("/tmp/l/f", "f", "", "f"),
        ("/../../tmp/out", "out", "/outside", "out"),
    ],
)
def test_what_a_path_means(root: Path, path: str, name: str, target: str, first: str) -> None:
    found = stat(path)
    assert (found["name"], found["linkTarget"]) == (name, target)
    assert bool(found["mode"] & 1 << 27) == bool(target)
    assert names(path)[0] == first


def test_modes_are_those_of_go(root: Path) -> None:
    (root / "tmp/d").chmod(0o1777)
    (root / "etc/passwd").chmod(0o4755)
    assert stat("/tmp/d")["mode"] == 1 << 31 | 1 << 20 | 0o777
    assert stat("/etc/passwd")["mode"] == 1 << 23 | 0o755
    os.utime(root / "etc/passwd", ns=(0, 1_500_000_000_120_000_000))
    assert stat("/etc/passwd")["mtime"] == "2017-07-14T02:40:00.12Z"


@pytest.mark.parametrize("path", ["/dne", "/dne/x", "/tmp/dl/", "/tmp/out/x"])
def test_missing(root: Path, path: str) -> None:
    for operation in (stat, names):
        with pytest.raises(NotFound):
            operation(path)


@pytest.mark.parametrize("path", ["/tmp/d/f/x", "/tmp/loop/"])
def test_not_a_directory_on_the_way(root: Path, path: str) -> None:
    with pytest.raises(SampanError, match=r"not a directory|too many levels"):
        stat(path)


def upload(path: str, files: dict[str, bytes], **arguments: Any) -> None:
    buffer = io.BytesIO()
    with tarfile.open(fileobj=buffer, mode="w") as out:
        for name, data in files.items():
            info = tarfile.TarInfo(name.rstrip("/"))
            info.uid, info.gid, info.size = os.getuid(), os.getgid(), len(data)
            if name.endswith("/"):
                info.type = tarfile.DIRTYPE
            out.addfile(info, io.BytesIO(data))
    read_end, write_end = os.pipe()
    os.write(write_end, buffer.getvalue())
    os.close(write_end)
    try:
        OPERATIONS["archive_put"]({"path": path, **arguments}, [read_end])
    finally:
        os.close(read_end)


def test_put(root: Path) -> None:
    upload("/tmp/l", {"new": b"1", "sub/": b"", "sub/x": b"2"})
    assert (root / "tmp/d/new").read_bytes() == b"1" and (root / "tmp/d/sub/x").read_bytes() == b"2"
    (root / "tmp/d/abs").symlink_to("/etc")
    upload("/tmp/d", {"abs/y": b"3"})
    assert (root / "etc/y").read_bytes() == b"3", "a link on the way leads where it does in the container"


def test_put_refuses(root: Path) -> None:
    with pytest.raises(NotFound):
        upload("/dne", {"a": b""})
    with pytest.raises(InvalidArgument, match="extraction point is not a directory"):
        upload("/etc/passwd", {"a": b""})
    with pytest.raises(TarError, match="cannot overwrite directory"):
        upload("/tmp", {"d": b"x"}, no_overwrite_dir_non_dir=True)
    with pytest.raises(TarError, match="outside"):
        upload("/tmp", {"../../x": b"x"})
    with pytest.raises(SampanError):
        upload("/tmp", {"out/x": b"x"})
    with pytest.raises(InvalidArgument, match="container rootfs is marked read-only"):
        upload("/tmp", {"a": b""}, readonly_root=True)
    with pytest.raises(InvalidArgument, match="mounted volume is marked read-only"):
        upload("/tmp/l", {"a": b""}, readonly_mounts=["/tmp/d"])
    upload("/tmp/l", {"a": b""}, readonly_root=True, readonly_mounts=["/tmp"], writable_mounts=["/tmp/d"])


@pytest.mark.skipif(os.geteuid() != 0, reason="needs root to change owners")
def test_put_with_the_containers_user(root: Path) -> None:
    upload("/tmp", {"a": b""}, copy_uid_gid=True, user="me")
    upload("/tmp", {"b": b""}, copy_uid_gid=True, user="9:10")
    assert [(os.stat(root / "tmp" / name).st_uid, os.stat(root / "tmp" / name).st_gid) for name in "ab"] == [
        (7, 8),
        (9, 10),
    ]
    with pytest.raises(InvalidArgument, match="unable to find user nobody"):
        upload("/tmp", {"a": b""}, copy_uid_gid=True, user="nobody")


@pytest.mark.skipif(os.geteuid() != 0, reason="needs root to change owners")
def test_copy_up(root: Path, tmp_path: Path) -> None:
    (root / "tmp/d").chmod(0o2750)
    (tmp_path / "volume").mkdir()
    target = os.open(tmp_path / "volume", os.O_RDONLY)
    OPERATIONS["copy_up"]({"path": "/tmp/l"}, [target])
    OPERATIONS["copy_up"]({"path": "/dne"}, [target])
    os.close(target)
    assert (tmp_path / "volume/f").read_bytes() == b"hi\n"
    assert os.stat(tmp_path / "volume").st_mode & 0o7777 == 0o2750
