"""save, load, import and commit on a real store, with skopeo as a second reader and writer."""

from __future__ import annotations

import asyncio
import gzip
import hashlib
import io
import json
import os
import shutil
import subprocess
import tarfile
from collections.abc import Callable
from pathlib import Path

import pytest

from sampan.content.blobs import BlobStore
from sampan.content.layers import LayerStore
from sampan.errors import InvalidArgument
from sampan.images import archive
from sampan.images.commit import commit, import_image
from sampan.images.image import Image
from sampan.images.progress import Progress
from sampan.images.store import ImageStore
from sampan.spec.oci_image import OCI_LAYER_GZIP
from sampan.store.database import Database
from sampan.types.reference import Reference

pytestmark = pytest.mark.skipif(os.geteuid() != 0, reason="needs root: owners and trusted xattrs")


def tar_of(files: dict[str, bytes]) -> bytes:
    buffer = io.BytesIO()
    with tarfile.open(fileobj=buffer, mode="w", format=tarfile.GNU_FORMAT) as out:
        for name, data in files.items():
            info = tarfile.TarInfo(name)
            info.size, info.uid, info.uname = len(data), 5, "somebody"
            out.addfile(info, io.BytesIO(data))
    return buffer.getvalue()


@pytest.fixture
def new_store(tmp_path: Path) -> Callable[[str], ImageStore]:
    def make(name: str) -> ImageStore:
        root = str(tmp_path / name)
        blobs = BlobStore(root + "/content")
        return ImageStore(Database(root + "/db"), blobs, LayerStore(root + "/layers", blobs))

    return make


def save(store: ImageStore, *names: str) -> bytes:
    stream = archive.save(store, names)
    data = b"".join(iter(lambda: stream.read(1 << 20), b""))
    stream.close()
    return data


async def load(store: ImageStore, data: bytes) -> list[Image]:
    return await archive.load(store, io.BytesIO(data), quiet=True, progress=Progress())


async def two_layers(store: ImageStore, tmp_path: Path) -> Image:
    """Made as a pull makes it: foreign tars, kept as gzip blobs; then committed on top."""
    plain = tar_of({"a": b"1" * 3000, "d/b": os.urandom(5000)})
    packed = gzip.compress(plain)
    digest, diff_id = ("sha256:" + hashlib.sha256(data).hexdigest() for data in (packed, plain))
    store.blobs.put(packed)
    store.layers.extract(diff_id, diff_id, io.BytesIO(packed), blob=digest, media_type=OCI_LAYER_GZIP)
    config = json.dumps(
        {"os": "linux", "architecture": "amd64", "rootfs": {"type": "layers", "diff_ids": [diff_id]}}
    ).encode()
    manifest = {
        "schemaVersion": 2,
        "config": {"digest": "sha256:" + hashlib.sha256(config).hexdigest(), "size": len(config)},
        "layers": [{"mediaType": OCI_LAYER_GZIP, "digest": digest, "size": len(packed)}],
    }
    base = store.add(config, json.dumps(manifest).encode(), ["base:1"])
    upper = tmp_path / "upper"
    upper.mkdir()
    (upper / "new").write_bytes(b"x")
    return await commit(
        store,
        upper_dir=str(upper),
        base=base,
        run_config={"Cmd": ["true"]},
        changes=["ENV A=1"],
        reference=Reference.parse("top:1"),
    )


async def test_save_and_load_keep_every_digest(new_store: Callable[[str], ImageStore], tmp_path: Path) -> None:
    store = new_store("one")
    top = await two_layers(store, tmp_path)
    assert top.run_config["Env"] == ["A=1"] and len(top.chain_ids) == 2 and top.parent == store.get("base:1").id
    saved = save(store, "base:1", "top:1")
    assert saved == save(store, "base:1", "top:1"), "not deterministic"
    other = new_store("two")
    loaded = await load(other, saved)
    assert [image.id for image in loaded] == [store.get("base:1").id, top.id]
    assert other.get("base:1").manifest_bytes == store.get("base:1").manifest_bytes
    third = new_store("three")
    await load(third, save(other, "base:1", "top:1"))
    for chain_id in top.chain_ids:
        contents = []
        for each in (store, other, third):
            stream = each.layers.open_tar(chain_id)
            contents.append(hashlib.sha256(b"".join(iter(lambda stream=stream: stream.read(1 << 20), b""))).hexdigest())
            stream.close()
        assert len(set(contents)) == 1 and "sha256:" + contents[0] == store.layers.info(chain_id).diff_id
    for name in ("top:1", "base:1"):
        other.delete(name, in_use=lambda _: [])
    assert other.layers.list() == [] and other.blobs.list() == [], "something is left behind"


@pytest.mark.skipif(shutil.which("skopeo") is None, reason="no skopeo")
async def test_skopeo_reads_and_writes(new_store: Callable[[str], ImageStore], tmp_path: Path) -> None:
    store = new_store("one")
    top = await two_layers(store, tmp_path)
    (tmp_path / "saved.tar").write_bytes(save(store, "top:1"))

    def skopeo(source: str, target: str) -> None:
        command = ["skopeo", "copy", "-q", "--insecure-policy", source, target]
        subprocess.run(command, check=True, capture_output=True, timeout=60)

    skopeo(f"docker-archive:{tmp_path}/saved.tar:top:1", f"oci-archive:{tmp_path}/oci.tar:re/top:2")
    skopeo(f"docker-archive:{tmp_path}/saved.tar:top:1", f"docker-archive:{tmp_path}/docker.tar:re/top:3")
    other = new_store("two")
    for name, tag in (("oci.tar", "re/top:2"), ("docker.tar", "re/top:3")):
        images = await load(other, (tmp_path / name).read_bytes())
        assert images[0].diff_ids == top.diff_ids and tag in images[0].repo_tags
    assert other.get("re/top:3").id == top.id  # on the way to OCI, skopeo writes the config anew


async def test_import_export_import_is_exact(new_store: Callable[[str], ImageStore]) -> None:
    store = new_store("one")
    source = tar_of({"x/y": b"1", "x/z": os.urandom(100)})
    one = await import_image(
        store, io.BytesIO(source), changes=["CMD run"], reference=Reference.parse("i:1"), created_ns=0
    )
    stream = store.layers.open_tar(one.chain_ids[0])
    packed = b"".join(iter(lambda: stream.read(1 << 20), b""))
    two = await import_image(store, io.BytesIO(gzip.compress(packed)), changes=["CMD run"], created_ns=0)
    assert two.id == one.id


async def hostile(store: ImageStore, data: bytes, match: str) -> None:
    with pytest.raises(InvalidArgument, match=match):
        await load(store, data)
    store.layers.wait_idle()
    assert store.list() == [] and store.blobs.list() == [] and store.layers.list() == []
    assert os.listdir(store.layers.root + "/tmp") == [] and os.listdir(store.blobs.root + "/ingest") == []


async def test_hostile_archives_leave_nothing(new_store: Callable[[str], ImageStore]) -> None:
    store = new_store("one")
    layer = tar_of({"f": b"1"})
    diff_id = "sha256:" + hashlib.sha256(layer).hexdigest()

    def config(*ids: str) -> bytes:
        return json.dumps({"rootfs": {"type": "layers", "diff_ids": ids}}).encode()

    def manifest(**members: object) -> bytes:
        return json.dumps([{"Config": "c.json", "RepoTags": ["x:1"], "Layers": ["l.tar"], **members}]).encode()

    whole = {"l.tar": layer, "c.json": config(diff_id), "manifest.json": manifest()}
    await hostile(store, b"garbage" * 1000, "invalid tar header")
    await hostile(store, tar_of({"l.tar": layer}), "no images")
    await hostile(store, tar_of({**whole, "c.json": config("sha256:" + "0" * 64)}), "invalid diffID")
    await hostile(store, tar_of({**whole, "c.json": config(diff_id, diff_id)}), "number of layers")
    await hostile(store, tar_of({**whole, "manifest.json": manifest(Layers=["../../etc/passwd"])}), "outside")
    await hostile(store, tar_of({**whole, "manifest.json": manifest(Config="/etc/passwd")}), "no /etc/passwd")
    await hostile(store, tar_of({**whole, "manifest.json": manifest(RepoTags=["UPPER"])}), "lowercase")
    await hostile(store, tar_of({**whole, "manifest.json": b"[" * 100_000}), "malformed JSON")
    await hostile(store, tar_of({**whole, "blobs/sha256/" + "0" * 64: b"{}"}), "has the digest")
    await hostile(store, tar_of({**whole, "l.tar": layer[:300] + layer[301:]}), "invalid tar|unexpected EOF")
    await hostile(store, tar_of(whole)[:2000], "unexpected EOF")
    index = {"manifests": [{"digest": "sha256:" + "0" * 64, "size": 1}] * 30_000}
    await hostile(store, tar_of({"index.json": json.dumps(index).encode()}), "bad index")
    assert [image.repo_tags for image in await load(store, tar_of(whole))] == [["x:1"]]


async def test_an_interrupted_engine_is_repaired(new_store: Callable[[str], ImageStore], tmp_path: Path) -> None:
    store = new_store("one")
    top = await two_layers(store, tmp_path)
    os.makedirs(store.layers.root + "/tmp/half/diff/x")
    store.blobs.begin().write(b"half")
    stray = store.blobs.put(b"stray")
    again = new_store("one")
    again.clean()
    again.layers.wait_idle()
    assert os.listdir(again.layers.root + "/tmp") == [] and os.listdir(again.blobs.root + "/ingest") == []
    assert not again.blobs.has(stray) and all(again.layers.has(chain_id) for chain_id in top.chain_ids)
    await asyncio.sleep(0)
