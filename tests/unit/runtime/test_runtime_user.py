from __future__ import annotations

import os
from pathlib import Path

import pytest

from sampan.errors import InvalidArgument
from sampan.runtime.launch import user


@pytest.fixture
def files(tmp_path: Path) -> dict[str, str]:
    (tmp_path / "passwd").write_text("root:x:0:0::/root:/bin/sh\nbroken\nbob:x:1000:1001::/home/bob:/bin/sh\n")
    (tmp_path / "group").write_text("root:x:0:\nwheel:x:10:bob,eve\nstaff:x:50:eve\n")
    return {"passwd": str(tmp_path / "passwd"), "group": str(tmp_path / "group")}


@pytest.mark.parametrize(
    ("name", "identity"),
    [
        ("bob", (1000, 1001, [10], "/home/bob")),
        ("1000", (1000, 1001, [10], "/home/bob")),
        ("bob:staff", (1000, 50, [], "/home/bob")),
        ("bob:7", (1000, 7, [], "/home/bob")),
        ("77:88", (77, 88, [], "/")),
        ("77", (77, 0, [], "/")),
        ("", (0, 0, [], "/root")),
    ],
)
def test_resolve(files: dict[str, str], name: str, identity: tuple) -> None:
    assert user.resolve(name, **files) == identity


@pytest.mark.parametrize(
    ("name", "message"),
    [
        ("eve", "unable to find user eve: no matching entries in passwd file"),
        ("bob:none", "unable to find group none: no matching entries in group file"),
        ("4294967295", "uids and gids must be in range"),
    ],
)
def test_unknown(files: dict[str, str], name: str, message: str) -> None:
    with pytest.raises(InvalidArgument, match=message):
        user.resolve(name, **files)


def test_a_fifo_instead_of_passwd_does_not_block(tmp_path: Path) -> None:
    os.mkfifo(tmp_path / "passwd")
    assert user.read_lines(str(tmp_path / "passwd")) == []
