"""Tables, indented JSON, progress, copying rules, credentials, archives."""

from __future__ import annotations

import io
import json
import os
import stat
import tarfile
from pathlib import Path
from typing import Any

import pytest

from sampan.cli import copying, credentials, packing, progress, references, table, tabwriter, unpacking
from sampan.cli.build_context import open_context
from sampan.cli.commands import completion, pull
from sampan.cli.config import ConfigFile
from sampan.cli.inspecting import indent
from sampan.cli.listing import default_table, shorten
from sampan.cli.rows_containers import container_listing, ports_text
from sampan.errors import InvalidArgument, NotFound, SampanError


def test_columns_are_as_wide_as_gos() -> None:
    text = "A\tB\tC\nlonger text\tx\ty\n\tq\tz"
    assert tabwriter.align(text) == "A             B         C\nlonger text   x         y\n              q         z"
    assert tabwriter.align("a\tb\nno tabs\nlong cell here\tc").split("\n")[0] == "a         b"


def test_container_table_without_containers() -> None:
    listing = container_listing(truncate=True)
    assert default_table(listing, [], listing.columns) == (
        "CONTAINER ID   IMAGE     COMMAND   CREATED   STATUS    PORTS     NAMES\n"
    )


def test_ports_as_ps_shows_them() -> None:
    ports = [{"PrivatePort": number, "Type": "tcp"} for number in (92, 90, 91)]
    ports += [{"IP": ip, "PrivatePort": 81, "PublicPort": 18081, "Type": "tcp"} for ip in ("::", "0.0.0.0")]
    ports += [{"IP": "127.0.0.1", "PrivatePort": p, "PublicPort": p, "Type": "udp"} for p in (5, 6)]
    assert ports_text(ports) == ("127.0.0.1:5-6->5-6/udp, 90-92/tcp, 0.0.0.0:18081->81/tcp, [::]:18081->81/tcp")
    assert ports_text([]) == ""


def test_shorten() -> None:
    assert shorten("abcdef", 6) == "abcdef"
    assert shorten("abcdefg", 6) == "abcde…"


@pytest.mark.parametrize("value", [[], {}, [{}], {"a": [1, 2.50, None, True, 'x"{y}'], "b": {"c": []}}, "é<"])
def test_indent_is_gos(value: Any) -> None:
    assert indent(json.dumps(value, separators=(",", ":"))) == json.dumps(value, indent=4)


def test_indent_keeps_escapes_and_numbers() -> None:
    assert indent('{"a":"\\u003c","b":1.50e3}') == '{\n    "a": "\\u003c",\n    "b": 1.50e3\n}'


def capture(messages: list[dict[str, Any]]) -> str:
    read_fd, write_fd = os.pipe()
    display = progress.Display(write_fd)
    for message in messages:
        display.show(message)
    os.close(write_fd)
    with open(read_fd, encoding="utf-8") as file:
        return file.read()


def test_plain_progress_leaves_bars_out() -> None:
    text = capture(
        [
            {"status": "Pulling from library/busybox", "id": "latest"},
            {"status": "Downloading", "progressDetail": {"current": 1, "total": 5}, "id": "abc"},
            {"status": "Pull complete", "progressDetail": {}, "id": "abc"},
            {"stream": "Step 1/2 : FROM x\n"},
        ]
    )
    assert text == "latest: Pulling from library/busybox\nabc: Pull complete\nStep 1/2 : FROM x\n"


def test_progress_on_a_terminal_redraws_lines() -> None:
    leader, follower = os.openpty()
    display = progress.Display(follower)
    for message in (
        {"status": "Waiting", "progressDetail": {}, "id": "a"},
        {"status": "Waiting", "progressDetail": {}, "id": "b"},
        {"status": "Downloading", "progressDetail": {"current": 500, "total": 1000}, "id": "a"},
    ):
        display.show(message)
    text = ""
    while "500B/1kB" not in text:
        text += os.read(leader, 4096).decode()
    os.close(leader)
    os.close(follower)
    assert "a: Waiting" in text and "b: Waiting" in text
    assert "\x1b[2A\x1b[2K\ra: Downloading" in text


def test_errors_in_the_stream_carry_their_code() -> None:
    with pytest.raises(NotFound, match="gone"):
        capture([{"errorDetail": {"code": 404, "message": "gone"}, "error": "gone"}])
    with pytest.raises(SampanError) as caught:
        capture([{"errorDetail": {"code": 9, "message": "RUN failed"}, "error": "RUN failed"}])
    assert caught.value.exit_code == 9


@pytest.mark.parametrize(
    ("source", "is_directory", "destination", "exists", "destination_is_directory", "expected"),
    [
        ("f", False, "/t/new", False, False, ("/t", "f", "new")),
        ("f", False, "/t/old", True, False, ("/t", "f", "old")),
        ("f", False, "/t", True, True, ("/t", "f", "f")),
        ("d", True, "/t/new", False, False, ("/t", "d/x", "new/x")),
        ("d", True, "/t", True, True, ("/t", "d/x", "d/x")),
        ("d/.", True, "/t", True, True, ("/t", "./x", "./x")),
        ("d/.", True, "/t/new/", False, False, ("/t", "./x", "new/x")),
        ("/", True, "/t/new", False, False, ("/t", "/x", "new/x")),
    ],
)
def test_cp_places(
    source: str,
    is_directory: bool,
    destination: str,
    exists: bool,
    destination_is_directory: bool,
    expected: tuple[str, str, str],
) -> None:
    directory, rename = copying.place(
        source, is_directory, destination, exists=exists, is_directory=destination_is_directory
    )
    assert (directory, rename(expected[1])) == (expected[0], expected[2])


def test_cp_refuses() -> None:
    with pytest.raises(InvalidArgument):
        copying.place("d", True, "/t/file", exists=True, is_directory=False)
    with pytest.raises(InvalidArgument):
        copying.place("f", False, "/t/no/", exists=False, is_directory=False)
    assert copying.split_argument("c:/x") == ("c", "/x")
    assert copying.split_argument("./c:/x") == ("", "./c:/x")
    assert copying.split_argument("/c:x") == ("", "/c:x")


def test_packing_and_unpacking(tmp_path: Path) -> None:
    source, target = tmp_path / "source", tmp_path / "target"
    (source / "sub").mkdir(parents=True)
    target.mkdir()
    (source / "file").write_bytes(b"x" * 1000)
    (source / "empty").touch()
    (source / "sub" / "run").write_text("#!")
    (source / "sub" / "run").chmod(0o751)
    (source / "link").symlink_to("/etc/passwd")
    (source / "sub").chmod(0o500)
    size = unpacking.unpack(packing.pack_tree(str(source), "source"), str(target), lambda name: name, keep_owner=False)
    assert size == 1002
    made = target / "source"
    assert (made / "file").read_bytes() == b"x" * 1000
    assert stat.S_IMODE((made / "sub" / "run").stat().st_mode) == 0o751
    assert stat.S_IMODE((made / "sub").stat().st_mode) == 0o500
    assert os.readlink(made / "link") == "/etc/passwd"
    first = b"".join(packing.pack_tree(str(source), "source"))
    assert first == b"".join(packing.pack_tree(str(source), "source"))


def hostile(*members: tuple[str, str, str]) -> bytes:
    out = io.BytesIO()
    with tarfile.open(fileobj=out, mode="w") as archive:
        for kind, name, link in members:
            info = tarfile.TarInfo(name)
            if kind == "file":
                info.size = 4
                archive.addfile(info, io.BytesIO(b"evil"))
                continue
            info.type = {"link": tarfile.SYMTYPE, "hard": tarfile.LNKTYPE, "dir": tarfile.DIRTYPE}[kind]
            info.linkname = link
            archive.addfile(info)
    return out.getvalue()


@pytest.mark.parametrize(
    "members",
    [
        [("file", "../evil", "")],
        [("file", "a/../../evil", "")],
        [("link", "a", ".."), ("file", "a/evil", "")],
        [("link", "a", "/tmp"), ("dir", "a", "")],
        [("link", "a", ".."), ("hard", "b", "a/secret")],
        [("hard", "b", "../secret")],
        [("dir", "a", ""), ("file", "a", "")],
    ],
)
def test_unpacking_stays_inside(tmp_path: Path, members: list[tuple[str, str, str]]) -> None:
    (tmp_path / "secret").write_text("secret")
    inside = tmp_path / "inside"
    inside.mkdir()
    with pytest.raises(InvalidArgument):
        unpacking.unpack(iter([hostile(*members)]), str(inside), lambda name: name, keep_owner=False)
    assert not (tmp_path / "evil").exists()
    assert (tmp_path / "secret").read_text() == "secret"


def test_unpacking_replaces_a_link_and_does_not_follow_it(tmp_path: Path) -> None:
    (tmp_path / "secret").write_text("secret")
    inside = tmp_path / "inside"
    inside.mkdir()
    (inside / "a").symlink_to("../secret")
    unpacking.unpack(iter([hostile(("file", "a", ""))]), str(inside), lambda name: name, keep_owner=False)
    assert (tmp_path / "secret").read_text() == "secret"
    assert (inside / "a").read_text() == "evil"


def names_of(pieces: Any) -> list[str]:
    with tarfile.open(fileobj=io.BytesIO(b"".join(pieces))) as archive:
        return archive.getnames()


def test_build_context_leaves_out_what_is_ignored(tmp_path: Path) -> None:
    for name in ("Dockerfile", "keep", "a.log", "skip/x", "skip/keep/y"):
        (tmp_path / name).parent.mkdir(parents=True, exist_ok=True)
        (tmp_path / name).write_text(name)
    (tmp_path / ".dockerignore").write_text("*.log\nskip\n!skip/keep\nDockerfile\n.dockerignore\n")
    context = open_context(str(tmp_path), "")
    assert context.dockerfile == "Dockerfile"
    names = names_of(context.pieces)
    assert sorted(names) == [".dockerignore", "Dockerfile", "keep", "skip/keep", "skip/keep/y"]


def test_build_context_takes_a_dockerfile_from_elsewhere(tmp_path: Path) -> None:
    directory = tmp_path / "context"
    directory.mkdir()
    (directory / "f").touch()
    (tmp_path / "Other").write_text("FROM x\n")
    context = open_context(str(directory), str(tmp_path / "Other"))
    assert context.dockerfile.startswith(".dockerfile.")
    assert sorted(names_of(context.pieces)) == [context.dockerfile, "f"]


def test_build_context_errors(tmp_path: Path) -> None:
    with pytest.raises(InvalidArgument, match="not found"):
        open_context(str(tmp_path / "none"), "")
    with pytest.raises(InvalidArgument, match="no such file"):
        open_context(str(tmp_path), "")
    assert open_context("https://example.org/x.git", "").remote == "https://example.org/x.git"


def test_references() -> None:
    assert references.split_tag("reg:5000/a/b:tag") == ("reg:5000/a/b", "tag")
    assert references.split_tag("reg:5000/a/b") == ("reg:5000/a/b", "")
    assert references.split_tag("a@sha256:ff") == ("a", "sha256:ff")
    assert references.registry_of("busybox") == "docker.io"
    assert references.registry_of("a/b") == "docker.io"
    assert references.registry_of("localhost/a") == "localhost"
    assert references.registry_of("r.io:5/a") == "r.io:5"
    assert pull.canonical_name("busybox", "1") == "docker.io/library/busybox:1"
    assert pull.canonical_name("r.io/x", "sha256:ab") == "r.io/x@sha256:ab"


def test_credentials_are_kept_and_forgotten(tmp_path: Path) -> None:
    config = ConfigFile.load(str(tmp_path))
    config.values["psFormat"] = "json"
    assert credentials.credentials_for(config, "r.io:5") == {}
    assert credentials.store(config, "r.io:5", "me", "pa:ss")
    again = ConfigFile.load(str(tmp_path))
    assert stat.S_IMODE(os.stat(again.path).st_mode) == 0o600
    assert again.get("psFormat") == "json"
    expected = {"username": "me", "password": "pa:ss", "serveraddress": "r.io:5"}
    assert credentials.credentials_for(again, "https://r.io:5/v2/") == expected
    assert credentials.all_credentials(again) == {"r.io:5": expected}
    assert credentials.erase(again, "r.io:5")
    assert not credentials.erase(ConfigFile.load(str(tmp_path)), "r.io:5")
    assert credentials.storage_key("docker.io") == "https://index.docker.io/v1/"


def test_credential_helper(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    helper = tmp_path / "docker-credential-test"
    helper.write_text(
        '#!/bin/sh\nread server\ncase "$1 $server" in "get r.io") echo \'{"Username":"u","Secret":"s"}\';;'
        ' get*) echo "credentials not found in native keychain"; exit 1;; esac\n'
    )
    helper.chmod(0o755)
    monkeypatch.setenv("PATH", f"{tmp_path}:{os.environ['PATH']}")
    config = ConfigFile(str(tmp_path / "config.json"), {"credsStore": "test"})
    assert credentials.credentials_for(config, "r.io")["username"] == "u"
    assert credentials.credentials_for(config, "other.io") == {}


def test_broken_configuration_is_named(tmp_path: Path) -> None:
    (tmp_path / "config.json").write_text("{")
    with pytest.raises(InvalidArgument, match=r"config\.json"):
        ConfigFile.load(str(tmp_path))


def test_commands_are_found() -> None:
    assert table.find(["container", "list", "-a"]) == ("container ls", "ps", ["-a"])
    assert table.find(["image", "rm", "x"]) == ("image rm", "rmi", ["x"])
    assert table.find(["image"]) == ("image", "", [])
    assert table.find(["nope"]) == ("", "", ["nope"])
    assert table.near("", "imges") == "images"
    assert "sampan container ls" not in table.same_as("ps")
    assert set(table.same_as("ps")) == {"container ls", "container list", "container ps", "ps"}


@pytest.mark.parametrize("shell", completion.SHELLS)
def test_completion_scripts_ask_the_command(shell: str) -> None:
    script = completion.script(shell)
    assert script.startswith(("# " + shell, "#compdef")) and "sampan __complete" in script
