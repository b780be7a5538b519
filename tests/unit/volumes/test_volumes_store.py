from __future__ import annotations

import os
import re
from pathlib import Path

import pytest

from sampan.errors import Conflict, InvalidArgument, NotFound
from sampan.store.database import Database
from sampan.volumes.store import Volumes


@pytest.fixture
def path(tmp_path: Path) -> str:
    return str(tmp_path / "volumes")


async def test_life_of_a_volume(path: str, tmp_path: Path) -> None:
    database, seen = Database(str(tmp_path / "db")), []
    volumes = Volumes(database, path, on_event=lambda *event: seen.append(event[:2]))
    volume = await volumes.create("data", labels={"a": "b"})
    assert await volumes.create("data") is volume
    assert volumes.mountpoint("data") == f"{path}/data/_data"
    assert os.path.isdir(volumes.mountpoint("data"))
    Path(volumes.mountpoint("data"), "file").write_bytes(b"12345")
    assert volumes.size_bytes("data") == 5
    again = Volumes(database, path)
    assert again.get("data") == volume
    await again.remove("data")
    await again.close()
    assert os.listdir(path) == []
    with pytest.raises(NotFound, match="get data: no such volume"):
        await again.remove("data")
    await again.remove("data", force=True)
    assert seen == [("create", "data")]


async def test_anonymous(path: str) -> None:
    volumes = Volumes(Database(":memory:"), path)
    volume = await volumes.create()
    assert re.fullmatch("[0-9a-f]{64}", volume.name)
    assert volume.labels == {"com.docker.volume.anonymous": ""}


async def test_in_use(path: str) -> None:
    volumes = Volumes(Database(":memory:"), path, users=lambda name: ["c1"] if name == "busy" else [])
    await volumes.create("busy")
    await volumes.create("idle")
    with pytest.raises(Conflict, match=r"remove busy: volume is in use - \[c1\]"):
        await volumes.remove("busy", force=True)
    assert (await volumes.prune(lambda volume: True))[0] == ["idle"]
    await volumes.close()


@pytest.mark.parametrize("name", ["a", "../x", "a/b", ".x", "ä ö", "x" * 256])
async def test_bad_names(path: str, name: str) -> None:
    with pytest.raises(InvalidArgument):
        await Volumes(Database(":memory:"), path).create(name)


async def test_options(path: str) -> None:
    volumes = Volumes(Database(":memory:"), path)
    with pytest.raises(InvalidArgument, match='invalid option: "bogus"'):
        await volumes.create("vv", options={"bogus": "1"})
    with pytest.raises(InvalidArgument, match='missing required option: "device"'):
        await volumes.create("vv", options={"type": "tmpfs"})
    with pytest.raises(NotFound, match='plugin "zfs" not found'):
        await volumes.create("vv", driver="zfs")
    with pytest.raises(InvalidArgument, match="subpath must be a relative path"):
        volumes.subpath("vv", "../x")


async def test_a_crash_in_the_middle_of_removal_is_swept(path: str) -> None:
    volumes = Volumes(Database(":memory:"), path)
    os.makedirs(f"{path}/.removed-1234/_data")
    await volumes.start()
    await volumes.close()
    assert os.listdir(path) == []
