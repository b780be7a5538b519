from __future__ import annotations

from typing import Any

import pytest

from sampan.engine.containers.request.mount_requests import collect, parse_bind, parse_mount, parse_tmpfs
from sampan.errors import InvalidArgument, SampanError
from sampan.store.containers import MountRecord

NEW = (1, 56)


def host(**fields: Any) -> dict[str, Any]:
    return {"Binds": None, "Tmpfs": None, "Mounts": None, **fields}


def test_bind_forms() -> None:
    bind = parse_bind("/a:/b:ro,rslave")
    assert (bind.kind, bind.source, bind.destination, bind.writable, bind.propagation) == (
        "bind",
        "/a",
        "/b",
        False,
        "rslave",
    )
    volume = parse_bind("data:/d:nocopy")
    assert (volume.kind, volume.name, volume.copy_up, volume.anonymous) == ("volume", "data", False, False)
    assert parse_bind("/only").anonymous


@pytest.mark.parametrize("text", ["/a:/", ":zz", "/a:b", "/a:/b:zz", "a:/b:c:d", "/a:/b:ro,rw"])
def test_bad_binds_are_500(text: str) -> None:
    with pytest.raises(SampanError) as caught:
        parse_bind(text)
    assert caught.value.status == 500


@pytest.mark.parametrize(
    ("mount", "message"),
    [
        ({"Type": "bind", "Source": "/nope/x", "Target": "/t"}, "bind source path does not exist: /nope/x"),
        ({"Type": "bind", "Source": "/", "Target": ""}, "field Target must not be empty"),
        ({"Type": "foo", "Target": "/t"}, "mount type unknown"),
        (
            {"Type": "bind", "Source": "/", "Target": "/t", "VolumeOptions": {"NoCopy": True}},
            'VolumeOptions must not be specified on mount type "bind"',
        ),
        (
            {"Type": "volume", "Source": "v1", "Target": "/t", "VolumeOptions": {"Subpath": "../x"}},
            "subpath must be a relative path within the volume",
        ),
        ({"Type": "tmpfs", "Source": "/x", "Target": "/t"}, "field Source must not be specified"),
    ],
)
def test_bad_mounts_are_400(mount: dict[str, Any], message: str) -> None:
    with pytest.raises(InvalidArgument) as caught:
        parse_mount(mount, NEW)
    assert message in caught.value.message


def test_tmpfs_options_replace_their_opposites() -> None:
    assert parse_tmpfs("/t", "exec,size=1m").options == ["nosuid", "nodev", "exec", "size=1m"]
    with pytest.raises(InvalidArgument):
        parse_tmpfs("/t", "bogus=1")


def test_duplicates_and_what_replaces_what() -> None:
    with pytest.raises(InvalidArgument, match="Duplicate mount point: /x"):
        collect(host(Binds=["/a:/x", "/b:/x"]), [], [], NEW)
    inherited = MountRecord("volume", "/x", name="old")
    found = collect(host(Binds=["/a:/x"], Tmpfs={"/t": ""}), ["/x", "/t", "/v"], [inherited], NEW)
    assert [(each.kind, each.destination) for each in found] == [("bind", "/x"), ("tmpfs", "/t"), ("volume", "/v")]
