"""Names, deletion, filters and history, on layers that are records only."""

from __future__ import annotations

import json
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import pytest

from sampan.content.blobs import BlobStore
from sampan.content.layers import LayerStore
from sampan.errors import Conflict, InvalidArgument, NotFound
from sampan.images.apt_sources import Source, choose, find, for_image, packages, render_sources, settings
from sampan.images.config_changes import apply_changes
from sampan.images.image import Image
from sampan.images.store import ImageStore
from sampan.spec.oci_image import parse_config, parse_time_ns
from sampan.store.database import Database
from sampan.types.digest import sha256_of


class Store(ImageStore):
    def __init__(self, root: Path) -> None:
        self.events: list[tuple[str, str]] = []
        blobs = BlobStore(str(root / "content"))
        layers = LayerStore(str(root / "layers"), blobs)
        super().__init__(Database(str(root / "db")), blobs, layers, self._record)

    def _record(self, type_: str, action: str, actor_id: str, attributes: Mapping[str, str]) -> None:
        self.events.append((action, attributes["name"]))

    def make(
        self, *names: str, layers: int = 1, created: str = "2024-01-01T00:00:00Z", parent: str = "", **config: Any
    ) -> Image:
        """An image with `layers` empty layers, of which all but the last are shared by all."""
        chain: str | None = None
        ids = []
        for number in range(layers):
            salt = "shared" if number < layers - 1 else f"{names}{created}{config}"
            diff_id = str(sha256_of(f"{salt}{number}".encode()))
            home = self.layers._new_home()
            from sampan.content.layers import _info
            from sampan.types.digest import chain_id

            info = _info(chain_id(chain, diff_id), diff_id, 10, chain)
            self.layers._install(home, info)
            chain = info.chain_id
            ids.append(diff_id)
        body = {"created": created, "config": config, "rootfs": {"type": "layers", "diff_ids": ids}}
        return self.add(json.dumps(body).encode(), None, names, parent=parent)


@pytest.fixture
def store(tmp_path: Path) -> Store:
    return Store(tmp_path)


def unused(image_id: str) -> list[tuple[str, bool]]:
    return []


def test_look_up(store: Store) -> None:
    image = store.make("busybox", "quay.io/a/b:1", "busybox@sha256:" + "1" * 64)
    digits = image.id[7:]
    for name in ("busybox", "busybox:latest", "docker.io/library/busybox", "quay.io/a/b:1", digits, image.id, digits[:12],
                 "sha256:" + digits[:5], "busybox@sha256:" + "1" * 64, "busybox:x@sha256:" + "1" * 64,
                 "busybox@" + image.id):  # fmt: skip
        assert store.get(name) is image, name
    for name, shown in (("nope", "nope:latest"), ("a/b:1", "a/b:1"), ("sha256:" + "0" * 64,) * 2):
        with pytest.raises(NotFound, match=f"^No such image: {shown}$"):
            store.get(name)
    with pytest.raises(InvalidArgument):
        store.get("UPPER")
    assert image.repo_tags == ["busybox:latest", "quay.io/a/b:1"]


def test_state_survives(store: Store, tmp_path: Path) -> None:
    image = store.make("a:1", layers=2, Labels={"k": "v"})
    again = Store(tmp_path)
    assert again.get("a:1") == image


def test_tags_move(store: Store) -> None:
    one, two = store.make("a"), store.make("b")
    store.tag(one, "c")
    store.tag(two, "c")
    assert one.repo_tags == ["a:latest"] and two.repo_tags == ["b:latest", "c:latest"]
    for bad in ("sha256:x", "sha256"):
        with pytest.raises(InvalidArgument, match="refusing to create an ambiguous tag"):
            store.tag(one, bad)
    assert store.events == [("tag", "c:latest")] * 2


def test_untag_then_delete(store: Store) -> None:
    image = store.make("a", "b", layers=2)
    other = store.make("c", layers=2)
    assert store.delete("a", in_use=unused) == [{"Untagged": "a:latest"}]
    assert store.delete("b", in_use=unused) == [
        {"Untagged": "b:latest"}, {"Deleted": image.id}, {"Deleted": image.chain_ids[1]},
    ]  # fmt: skip
    assert store.layers.has(other.chain_ids[0]), "a shared layer went"
    assert [action for action, _ in store.events] == ["untag", "untag", "delete"]


def test_conflicts(store: Store) -> None:
    image = store.make("a")
    short = image.id[7:19]
    container = "c" * 64
    with pytest.raises(
        Conflict,
        match=f'remove repository reference "a" .must force. - container c{{12}} is using its referenced image {short}',
    ):
        store.delete("a", in_use=lambda _: [(container, False)])
    with pytest.raises(Conflict, match=rf"{short} \(cannot be forced\) - image is being used by running container"):
        store.delete(image.id, force=True, in_use=lambda _: [(container, True)])
    store.tag(image, "other")
    with pytest.raises(Conflict, match=r"must be forced.*referenced in multiple repositories"):
        store.delete(image.id, in_use=unused)
    assert len(store.delete(image.id, force=True, in_use=unused)) == 4


def test_children_and_parents(store: Store) -> None:
    parent = store.make(layers=1)
    child = store.make("child", layers=2, parent=parent.id)
    with pytest.raises(Conflict, match=r"cannot be forced.*dependent child images"):
        store.delete(parent.id, force=True, in_use=unused)
    assert store.list() == [child]
    records = store.delete("child", in_use=unused)
    assert {"Deleted": parent.id} in records and store.list(all_images=True) == []


def test_leases_and_other_users_keep_layers(store: Store) -> None:
    image = store.make("a")
    with store.lease(image):
        store.delete("a", in_use=unused)
        assert store.layers.has(image.chain_ids[0])
    assert store.collect() == [image.chain_ids[0]]
    image = store.make("b")
    store.add_layer_user(lambda: image.chain_ids)
    store.delete("b", in_use=unused)
    assert store.layers.has(image.chain_ids[0]) and store.collect() == []


def test_prune(store: Store) -> None:
    store.make("kept")
    dangling = store.make(created="2020-01-01T00:00:00Z")
    used = store.make(created="2021-01-01T00:00:00Z")

    def in_use(image_id: str) -> list[tuple[str, bool]]:
        return [("c", False)] if image_id == used.id else []

    assert store.prune({"until": ["2019-01-01T00:00:00Z"]}, in_use) == ([], 0)
    records, freed = store.prune({}, in_use)
    assert records == [{"Deleted": dangling.id}, {"Deleted": dangling.chain_ids[0]}] and freed == 10
    records, _ = store.prune({}, in_use, dangling_only=False)
    assert records[0] == {"Untagged": "kept:latest"} and store.list() == [used]


def test_filters(store: Store) -> None:
    one = store.make("repo/a:1", "x:2", created="2020-01-01T00:00:00Z", Labels={"k": "v"})
    two = store.make(created="2022-01-01T00:00:00Z")
    cases: list[tuple[dict[str, list[str]], list[str]]] = [
        ({}, [two.id, one.id]), ({"dangling": ["true"]}, [two.id]), ({"dangling": ["0"]}, [one.id]),
        ({"label": ["k=v"]}, [one.id]), ({"label": ["k=w"]}, []), ({"label!": ["k"]}, [two.id]),
        ({"since": ["x:2"]}, [two.id]), ({"before": [two.id]}, [one.id]), ({"reference": ["repo/*"]}, [one.id]),
        ({"reference": ["*"]}, [one.id]), ({"reference": ["a"]}, []), ({"until": ["2021-01-01T00:00:00Z"]}, [one.id]),
    ]  # fmt: skip
    for filters, expected in cases:
        assert [image.id for image in store.list(filters)] == expected, filters
    assert store.list({"reference": ["x"]})[0].repo_tags == ["x:2"]
    assert one.repo_tags == ["repo/a:1", "x:2"]
    with pytest.raises(InvalidArgument, match="invalid filter 'bogus'"):
        store.list({"bogus": ["1"]})


@pytest.mark.parametrize(
    "config",
    [b"", b"[]", b"{}", b"[" * 100_000, b'{"rootfs":{"diff_ids":["x"]}}', b'{"rootfs":{"diff_ids":[1]}}', b'{"rootfs":[]}',
     json.dumps({"rootfs": {"diff_ids": ["sha256:" + "0" * 64] * 1000}}).encode(), b" " * (9 << 20),
     b'{"rootfs":{"diff_ids":[]},"history":[1]}', b'{"rootfs":{"diff_ids":[]},"config":1}'],
)  # fmt: skip
def test_hostile_configs(config: bytes) -> None:
    with pytest.raises(InvalidArgument):
        parse_config(config)


def test_times() -> None:
    assert parse_time_ns("2024-01-01T00:00:00.123456789Z") == 1704067200_123456789
    assert parse_time_ns("2024-01-01T01:00:00+01:00") == parse_time_ns("2024-01-01T00:00:00Z")
    assert parse_time_ns(None) == parse_time_ns("x") == 0


def test_changes_to_a_config() -> None:
    config = apply_changes(
        {"Env": ["A=1", "B=2"]},
        ["ENV A=3 C=$B", 'CMD ["x", "y"]', "ENTRYPOINT run me", "EXPOSE 80 90-91/udp", "VOLUME /v", "USER u",
         "WORKDIR /a", "WORKDIR b", "LABEL k=v", "STOPSIGNAL SIGINT"],
    )  # fmt: skip
    assert config["Env"] == ["A=3", "B=2", "C=2"]
    assert config["Cmd"] == ["x", "y"] and config["Entrypoint"] == ["/bin/sh", "-c", "run me"]
    assert sorted(config["ExposedPorts"]) == ["80/tcp", "90/udp", "91/udp"] and config["WorkingDir"] == "/a/b"
    with pytest.raises(InvalidArgument, match="RUN is not a valid change command"):
        apply_changes({}, ["RUN true"])


# --- apt


TARGETS = """\
http://mirror.example/debian/|bookworm|main
http://mirror.example/debian/|bookworm|contrib
http://mirror.example/debian/|bookworm-updates|main
http://security.example/debian-security/|bookworm-security|main
https://apt.example/other|bookworm|stable
"""


def test_sources_of_the_machine_are_used() -> None:
    debian, suite = find("debian", "12")
    sources = choose(debian, suite, TARGETS)
    assert sources == [
        Source("http://mirror.example/debian", "bookworm", "main contrib"),
        Source("http://mirror.example/debian", "bookworm-updates", "main contrib"),
        Source("http://security.example/debian-security", "bookworm-security", "main contrib"),
    ]
    assert choose(debian, "trixie", TARGETS)[0] == Source("http://mirror.example/debian", "trixie", "main")
    assert choose(*find("ubuntu", "24.04"), TARGETS)[0].uri == "http://archive.ubuntu.com/ubuntu"
    assert "Suites: bookworm bookworm-updates\n" in render_sources(sources, "/k")
    with pytest.raises(NotFound):
        find("fedora", "40")


def test_what_a_container_cannot_reach_or_must_not_know() -> None:
    debian, _ = find("debian", "12")
    sources = [
        Source(uri, "bookworm", "main")
        for uri in ("file:/srv/debian", "http://127.0.0.1:3142/debian", "http://u:p@m/debian")
    ]
    assert [source.uri for source in for_image(sources, debian)] == [debian.mirror, debian.mirror, "http://m/debian"]
    dump = (
        'Acquire::http::Proxy "http://u:p@proxy:3142/";\nAcquire::Check-Valid-Until "false";\nDir "/";\n'
        'Acquire::https::Proxy "http://localhost:1";\n'
    )
    assert settings(dump, for_container=True) == {
        "Acquire::http::Proxy": "http://proxy:3142/",
        "Acquire::Check-Valid-Until": "false",
    }
    assert settings(dump, for_container=False)["Acquire::http::Proxy"] == "http://u:p@proxy:3142/"


@pytest.mark.parametrize(
    ("scheme", "wanted"), [("http", ["apt"]), ("https", ["apt", "ca-certificates"])], ids=["plain", "tls"]
)
def test_an_image_can_install_packages(scheme: str, wanted: list[str]) -> None:
    """Ubuntu's required packages are without apt."""
    assert packages([Source(f"{scheme}://archive.ubuntu.com/ubuntu", "noble", "main")]) == wanted
