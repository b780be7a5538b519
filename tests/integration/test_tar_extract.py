"""Extraction and packing as root: hostile archives stay inside, overlayfs understands the result, round trips are exact."""

from __future__ import annotations

import io
import os
import stat
import subprocess
from collections.abc import Iterator
from pathlib import Path

import pytest

from sampan.images.changes import ADDED, DELETED, MODIFIED, changes
from sampan.tar.entry import BLOCK, CHARACTER, DIRECTORY, FIFO, HARDLINK, REGULAR, SYMLINK, Entry, TarError
from sampan.tar.extract import extract_layer, extract_tree
from sampan.tar.header import END_OF_ARCHIVE, encode
from sampan.tar.remove import remove_tree
from sampan.tar.writer import pack_layer, pack_tree

pytestmark = pytest.mark.skipif(os.geteuid() != 0, reason="needs root: owners, devices, trusted xattrs, mounts")


def item(
    name: str | bytes, data: bytes = b"", kind: bytes = REGULAR, link: str | bytes = b"", mode: int = 0o644
) -> bytes:
    entry = Entry(os.fsencode(name), kind)
    entry.linkname, entry.mode, entry.size = os.fsencode(link), mode, len(data)
    return encode(entry) + data + bytes(-len(data) % 512)


def directory(name: str | bytes, mode: int = 0o755) -> bytes:
    return item(name, kind=DIRECTORY, mode=mode)


def symlink(name: str, target: str) -> bytes:
    return item(name, kind=SYMLINK, link=target)


@pytest.fixture
def layer(tmp_path: Path) -> Iterator[Path]:
    (tmp_path / "layer").mkdir()
    (tmp_path / "outside").mkdir()
    (tmp_path / "outside/victim").write_bytes(b"untouched")
    yield tmp_path / "layer"
    assert (tmp_path / "outside/victim").read_bytes() == b"untouched"
    assert os.listdir(tmp_path / "outside") == ["victim"]
    assert sorted(os.listdir(tmp_path)) == ["layer", "outside"]


def unpack(where: Path, *members: bytes) -> None:
    descriptor = os.open(where, os.O_RDONLY | os.O_DIRECTORY)
    before = len(os.listdir("/proc/self/fd"))
    try:
        extract_layer(io.BytesIO(b"".join(members) + END_OF_ARCHIVE), descriptor)
    finally:
        assert len(os.listdir("/proc/self/fd")) == before, "descriptors leaked"
        os.close(descriptor)


def pack(where: Path) -> bytes:
    out = io.BytesIO()
    descriptor = os.open(where, os.O_RDONLY | os.O_DIRECTORY)
    try:
        pack_layer(descriptor, out)
    finally:
        os.close(descriptor)
    return out.getvalue()


# --- hostile


def test_absolute_link_then_write_stays_inside(layer: Path) -> None:
    outside = str(layer.parent / "outside")
    with pytest.raises(TarError):
        unpack(layer, symlink("evil", outside), item("evil/victim", b"owned"))
    with pytest.raises(TarError):
        unpack(layer, symlink("up", "../outside"), item("up/victim", b"owned"))


def test_links_lead_where_they_would_inside_the_container(layer: Path) -> None:
    unpack(
        layer,
        directory("usr"),
        directory("usr/lib"),
        symlink("lib", "/usr/lib"),
        symlink("l2", "../../lib"),
        item("l2/f", b"x"),
    )
    assert (layer / "usr/lib/f").read_bytes() == b"x"


def test_a_file_in_the_place_of_a_link_replaces_the_link(layer: Path) -> None:
    unpack(layer, symlink("f", str(layer.parent / "outside/victim")), item("f", b"mine"))
    assert not (layer / "f").is_symlink() and (layer / "f").read_bytes() == b"mine"


def test_hard_links_reach_nothing_outside(layer: Path) -> None:
    for target in ("../outside/victim", "/../outside/victim"):
        with pytest.raises(TarError, match="outside"):
            unpack(layer, item("l", kind=HARDLINK, link=target))
    with pytest.raises(TarError):
        unpack(layer, symlink("d", str(layer.parent / "outside")), item("l", kind=HARDLINK, link="d/victim"))
    with pytest.raises(TarError):
        unpack(layer, item("l", kind=HARDLINK, link="no-such-file"))
    unpack(
        layer, symlink("s", str(layer.parent / "outside/victim")), item("h", kind=HARDLINK, link="s"), item("h", b"w")
    )
    assert (layer / "h").read_bytes() == b"w"


def test_a_hard_link_to_a_link_then_write(layer: Path) -> None:
    unpack(layer, symlink("s", str(layer.parent / "outside/victim")), item("h", kind=HARDLINK, link="s"))
    assert (layer / "h").is_symlink()


@pytest.mark.parametrize("name", [".wh...", ".wh..", "a/.wh...", ".wh."])
def test_whiteouts_that_climb(layer: Path, name: str) -> None:
    with pytest.raises(TarError, match="invalid whiteout"):
        unpack(layer, item(name))


def test_whiteout_through_a_link_stays_inside(layer: Path) -> None:
    with pytest.raises(TarError):
        unpack(layer, symlink("d", str(layer.parent / "outside")), item("d/.wh.victim"))


def test_overlay_xattrs_of_an_archive_are_dropped(layer: Path) -> None:
    entry = Entry(b"d", DIRECTORY)
    entry.xattrs = {b"trusted.overlay.redirect": b"/etc", b"trusted.overlay.opaque": b"y", b"user.kept": b"1"}
    unpack(layer, encode(entry))
    assert os.listxattr(layer / "d") == ["user.kept"]


def test_depth_and_length_of_names(layer: Path) -> None:
    with pytest.raises(TarError, match="name too long"):
        unpack(layer, item("n" * 300))
    deep = "/".join("d" * 1 for _ in range(2040))
    unpack(layer, item(deep + "/f", b"x"))
    parent = os.open(layer.parent, os.O_RDONLY)
    remove_tree(parent, b"layer")
    os.close(parent)
    layer.mkdir()


def test_duplicates_last_one_counts(layer: Path) -> None:
    unpack(
        layer,
        directory("a"), item("a/x", b"1"), item("a", b"now a file"),
        item("b", b"file"), directory("b"), item("b/y", b"2"),
        item("c", b"long content"), item("c", b"short"),
        directory("d", 0o700), item("d/z"), directory("d", 0o711),
    )  # fmt: skip
    assert (layer / "a").read_bytes() == b"now a file"
    assert (layer / "b/y").read_bytes() == b"2"
    assert (layer / "c").read_bytes() == b"short"
    assert (layer / "d/z").exists() and stat.S_IMODE((layer / "d").stat().st_mode) == 0o711


def test_a_replaced_directory_is_not_written_through(layer: Path) -> None:
    """The cache of open directories must notice that `d` is another one now."""
    outside = str(layer.parent / "outside")
    with pytest.raises(TarError):
        unpack(layer, directory("d"), item("d/f", b"1"), symlink("d", outside), item("d/victim", b"owned"))


def test_devices_fifos_modes_owners_times(layer: Path) -> None:
    node = Entry(b"tty", CHARACTER)
    node.device_major, node.device_minor, node.mode, node.gid = 5, 0, 0o620, 5
    disk = Entry(b"sda", BLOCK)
    disk.device_major, disk.device_minor = 8, 1
    program = Entry(b"su")
    program.mode, program.uid, program.gid, program.mtime_ns = 0o4755, 7, 8, 1_234_567_890_123_456_789
    program.xattrs = {b"security.capability": bytes.fromhex("0100000202000000000000000000000000000000")}
    unpack(layer, encode(node), encode(disk), item("pipe", kind=FIFO), encode(program))
    assert os.stat(layer / "tty").st_rdev == os.makedev(5, 0) and stat.S_IMODE(os.stat(layer / "tty").st_mode) == 0o620
    assert stat.S_ISBLK(os.stat(layer / "sda").st_mode) and stat.S_ISFIFO(os.stat(layer / "pipe").st_mode)
    found = os.stat(layer / "su")
    assert (stat.S_IMODE(found.st_mode), found.st_uid, found.st_gid) == (0o4755, 7, 8)
    assert found.st_mtime_ns == 1_234_567_890_123_456_789
    assert os.getxattr(layer / "su", "security.capability") == program.xattrs[b"security.capability"]


def test_extract_tree_refuses_and_replaces(layer: Path) -> None:
    (layer / "d").mkdir()
    (layer / "f").write_bytes(b"1")
    descriptor = os.open(layer, os.O_RDONLY | os.O_DIRECTORY)
    try:
        for member, text in (
            (item("d", b"x"), "directory .* with non-directory"),
            (directory("f"), "non-directory .* with dir"),
        ):
            with pytest.raises(TarError, match=text):
                extract_tree(io.BytesIO(member + END_OF_ARCHIVE), descriptor, no_overwrite_dir_nondir=True)
        extract_tree(io.BytesIO(item("g/.wh.h", b"kept") + END_OF_ARCHIVE), descriptor, prefix=b"d", chown=(3, 4))
    finally:
        os.close(descriptor)
    found = os.stat(layer / "d/g/.wh.h")
    assert (found.st_uid, found.st_gid, found.st_size) == (3, 4, 4)


# --- overlayfs and round trips


@pytest.fixture
def overlay(tmp_path: Path) -> Iterator[tuple[Path, Path, Path]]:
    """(lower, upper, merged); lower has a, d/x, d/y, e/z, link."""
    lower, upper, work, merged = (tmp_path / name for name in ("lower", "upper", "work", "merged"))
    for path in (lower, upper, work, merged):
        path.mkdir()
    unpack(
        lower,
        item("a", b"1"),
        directory("d"),
        item("d/x", b"2"),
        item("d/y", b"3"),
        directory("e"),
        item("e/z"),
        symlink("link", "a"),
    )
    mount(lower, upper, work, merged)
    yield lower, upper, merged
    subprocess.run(["umount", merged], check=True)


def mount(lower: Path | str, upper: Path, work: Path, merged: Path) -> None:
    options = f"lowerdir={lower},upperdir={upper},workdir={work}"
    subprocess.run(["mount", "-t", "overlay", "overlay", "-o", options, merged], check=True)


def edit(merged: Path) -> None:
    (merged / "a").unlink()
    (merged / "d/x").write_bytes(b"new")
    subprocess.run(["rm", "-r", merged / "e"], check=True)
    (merged / "e").mkdir()
    (merged / "e/w").write_bytes(b"w")
    (merged / "test").touch()
    os.link(merged / "test", merged / "test2")
    os.setxattr(merged / "test", "user.k", b"v")


def test_a_layer_made_by_overlayfs_survives_the_archive(overlay: tuple[Path, Path, Path], tmp_path: Path) -> None:
    lower, upper, merged = overlay
    edit(merged)
    packed = pack(upper)
    names = subprocess.run(["tar", "-t"], input=packed, capture_output=True, check=True).stdout.split()
    assert names == [b".wh.a", b"d/", b"d/x", b"e/", b"e/.wh..wh..opq", b"e/w", b"test", b"test2"]
    (tmp_path / "second").mkdir()
    unpack(tmp_path / "second", packed[:-1024])
    assert pack(tmp_path / "second") == packed, "not bit for bit"
    (tmp_path / "view").mkdir()
    options = f"lowerdir={tmp_path / 'second'}:{lower}"
    subprocess.run(["mount", "-t", "overlay", "overlay", "-o", options, tmp_path / "view"], check=True)
    try:
        subprocess.run(["diff", "-r", "--no-dereference", merged, tmp_path / "view"], check=True)
        assert os.stat(tmp_path / "view/test").st_nlink == 2
        assert sorted(os.listdir(tmp_path / "view")) == ["d", "e", "link", "test", "test2"]
    finally:
        subprocess.run(["umount", tmp_path / "view"], check=True)


def test_changes(overlay: tuple[Path, Path, Path]) -> None:
    lower, upper, merged = overlay
    assert changes(str(upper), [str(lower)]) == []
    (merged / "test").touch()
    assert changes(str(upper), [str(lower)]) == [("/test", ADDED)]
    edit(merged)
    assert changes(str(upper), [str(lower)]) == [
        ("/a", DELETED), ("/d", MODIFIED), ("/d/x", MODIFIED), ("/e", MODIFIED), ("/e/w", ADDED), ("/e/z", DELETED),
        ("/test", ADDED), ("/test2", ADDED),
    ]  # fmt: skip


def test_deleted_and_made_anew_in_one_archive_is_opaque(tmp_path: Path) -> None:
    (tmp_path / "l").mkdir()
    unpack(tmp_path / "l", item(".wh.d"), directory("d"), item("d/f"))
    assert os.getxattr(tmp_path / "l/d", "trusted.overlay.opaque") == b"y"
    (tmp_path / "m").mkdir()
    unpack(tmp_path / "m", directory("d"), item("d/f"), item(".wh.d"))
    assert os.getxattr(tmp_path / "m/d", "trusted.overlay.opaque") == b"y"
    assert (tmp_path / "m/d/f").exists()


def test_pack_tree_is_deterministic_and_follows_nothing(tmp_path: Path) -> None:
    tree = tmp_path / "t"
    tree.mkdir()
    for name in (b"b", b"a", b"\xff"):
        (tree / os.fsdecode(name)).write_bytes(name)
    (tree / "link").symlink_to("/etc")
    archives = []
    for _ in range(2):
        out = io.BytesIO()
        descriptor = os.open(tmp_path, os.O_RDONLY)
        pack_tree(descriptor, b"t", out, rename=b"r")
        os.close(descriptor)
        archives.append(out.getvalue())
    assert archives[0] == archives[1]
    listed = subprocess.run(
        ["tar", "-t", "--quoting-style=literal"], input=archives[0], capture_output=True, check=True
    )
    assert listed.stdout.split() == [b"r/", b"r/a", b"r/b", b"r/link", b"r/\xff"]
