"""Volumes and binds of a container: made at create, checked and filled at start."""

from __future__ import annotations

import errno
import os
from typing import TYPE_CHECKING, Any

import msgspec

from sampan.engine.containers.model import Container
from sampan.engine.containers.request import mount_requests
from sampan.errors import InvalidArgument, NotFound, SampanError
from sampan.linux.syscalls import RESOLVE_BENEATH, RESOLVE_NO_MAGICLINKS, RESOLVE_NO_SYMLINKS, openat2
from sampan.store.containers import MountRecord

if TYPE_CHECKING:
    from sampan.engine.engine import Engine

_NO_LINKS = RESOLVE_BENEATH | RESOLVE_NO_SYMLINKS


async def resolve(
    engine: Engine,
    host: dict[str, Any],
    image_volumes: dict[str, Any],
    own_volumes: dict[str, Any],
    api: tuple[int, int],
) -> list[MountRecord]:
    """All mounts of a create request, with its volumes made. Nothing is made if the request is wrong."""
    inherited = _inherited(engine, host["VolumesFrom"] or ())
    mounts = mount_requests.collect(host, [*image_volumes, *own_volumes], inherited, api)
    for mount in mounts:
        if mount.kind == "volume" and not mount.source:
            await _make_volume(engine, mount, host)
        elif mount.kind == "image":
            mount.image_id = engine.images.get(mount.name).id
    return mounts


def _inherited(engine: Engine, sources: Any) -> list[MountRecord]:
    found: list[MountRecord] = []
    for source in sources:
        name, _, mode = source.partition(":")
        if mode not in ("", "ro", "rw", "z", "Z"):
            raise InvalidArgument(f"invalid mode: {mode}")
        try:
            owner = engine.containers.get(name)
        except NotFound as error:
            raise InvalidArgument(error.message) from None
        for mount in owner.mounts:
            copy = msgspec.structs.replace(mount, copy_up=False)
            if mode == "ro":
                copy.writable = False
            copy.mode = mode or copy.mode
            found.append(copy)
    return found


async def _make_volume(engine: Engine, mount: MountRecord, host: dict[str, Any]) -> None:
    labels: dict[str, str] = {}
    options: dict[str, str] = {}
    for spec in host["Mounts"] or ():
        if spec.get("Type") == "volume" and (spec.get("Target") or "").rstrip("/") == mount.destination:
            volume_options = spec.get("VolumeOptions") or {}
            labels = volume_options.get("Labels") or {}
            options = (volume_options.get("DriverConfig") or {}).get("Options") or {}
    driver = "local" if mount.from_mounts_api else host["VolumeDriver"] or "local"
    volume = await engine.volumes.create(mount.name, driver=driver, options=options, labels=labels)
    mount.name = volume.name
    mount.source = engine.volumes.mountpoint(volume.name)


async def prepare(engine: Engine, container: Container) -> list[MountRecord]:
    """The mounts for a start: missing sources of `-v` made, empty volumes filled from the image.

    Raises:
        InvalidArgument: a bind source is gone.
    """
    ready = []
    for mount in container.mounts:
        if mount.kind == "bind":
            _prepare_bind(mount)
        elif mount.kind == "volume":
            await engine.volumes.prepare(mount.name)
            if mount.copy_up:
                await fill(engine, container, mount)
                mount.copy_up = False
        elif mount.kind == "image":
            mount = _prepare_image(engine, mount)
        ready.append(mount)
    return ready


def _prepare_bind(mount: MountRecord) -> None:
    if os.path.lexists(mount.source):
        _check_propagation(mount)
        return
    if not mount.create_source:
        raise InvalidArgument(f'invalid mount config for type "bind": bind source path does not exist: {mount.source}')
    try:
        os.makedirs(mount.source, mode=0o755, exist_ok=True)
    except OSError as error:
        raise SampanError(f"error while creating mount source path '{mount.source}': {error.strerror}") from None


_PEERS = {"shared": ("shared:",), "slave": ("shared:", "master:")}


def _check_propagation(mount: MountRecord) -> None:
    """A bind can only hear from the host, or be heard there, if the host's own mount takes part (proc(5), mountinfo)."""
    kinds = _PEERS.get(mount.propagation.removeprefix("r"))
    if kinds is None:
        return
    point, tags = "/", ""
    source = os.path.realpath(mount.source) + "/"
    with open("/proc/self/mountinfo", encoding="utf-8", errors="surrogateescape") as table:
        for line in table:
            fields, _, _ = line.partition(" - ")
            found = fields.split(" ")[4].replace("\\040", " ")
            if source.startswith(found.rstrip("/") + "/") and len(found) >= len(point):
                point, tags = found, " ".join(fields.split(" ")[6:])
    if not any(kind in tags for kind in kinds):
        wanted = " or ".join(["shared", "slave"][: len(kinds)])
        raise SampanError(f"path {mount.source} is mounted on {point} but it is not a {wanted} mount")


def _prepare_image(engine: Engine, mount: MountRecord) -> MountRecord:
    """An image mount is a bind of its only layer; images of several layers need an overlay of their own."""
    lowers = engine.images.lower_dirs(engine.images.get(mount.image_id), stubs=False)
    if len(lowers) != 1:
        raise SampanError(f"mounting image {mount.name} is not supported: it has {len(lowers)} layers, one is possible")
    return msgspec.structs.replace(mount, source=lowers[0])


async def fill(engine: Engine, container: Container, mount: MountRecord) -> None:
    """Copy what the image has at the destination into the volume, if that is empty."""
    if not any(_may_hold(lower, mount.destination) for lower in container.record.lower_dirs[:-1]):
        return
    root = os.open(mount.source, os.O_PATH | os.O_DIRECTORY | os.O_CLOEXEC)
    try:
        # symlinks in a volume are its containers' to make: they must not lead out
        flags, beneath = os.O_RDONLY | os.O_DIRECTORY | os.O_CLOEXEC, RESOLVE_BENEATH | RESOLVE_NO_MAGICLINKS
        descriptor = openat2(root, mount.subpath or ".", flags, resolve=beneath)
    except OSError:
        return  # the start itself names what is wrong
    finally:
        os.close(root)
    try:
        if os.listdir(descriptor):
            return
        rootfs = {
            "kind": "overlay",
            "lower": container.record.lower_dirs,
            "upper": None,
            "work": None,
            "readonly": True,
        }
        await engine.tasks.in_rootfs(rootfs, "copy_up", {"path": mount.destination}, [descriptor])
    finally:
        os.close(descriptor)


def _may_hold(lower: str, path: str) -> bool:
    """Whether a layer has something at `path`. A symbolic link on the way is a yes: only in the whole root, inside which
    the copying happens, it says where it leads; here, on the host, it is not followed."""
    layer = os.open(lower, os.O_PATH | os.O_DIRECTORY | os.O_CLOEXEC)
    try:
        os.close(openat2(layer, path.lstrip("/") or ".", os.O_PATH | os.O_CLOEXEC, resolve=_NO_LINKS))
    except OSError as error:
        return error.errno == errno.ELOOP
    finally:
        os.close(layer)
    return True


def publish(engine: Engine, container: Container, action: str) -> None:
    """The events `mount` and `unmount` of the container's volumes."""
    for mount in container.mounts:
        if mount.kind != "volume":
            continue
        attributes = {"container": container.id, "driver": mount.driver}
        if action == "mount":
            access = "true" if mount.writable else "false"
            attributes |= {"destination": mount.destination, "propagation": mount.propagation, "read/write": access}
        engine.events.publish("volume", action, mount.name, attributes)


async def release(engine: Engine, container: Container, *, remove_anonymous: bool) -> None:
    """After a container's removal: delete the volumes that only it used and that nobody named."""
    if not remove_anonymous:
        return
    for mount in container.mounts:
        if mount.kind == "volume" and mount.anonymous:
            try:
                await engine.volumes.remove(mount.name)
            except SampanError:
                pass  # another container has it through --volumes-from
