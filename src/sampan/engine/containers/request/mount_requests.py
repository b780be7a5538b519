"""From Binds, Mounts, Volumes and Tmpfs of a create request to one list of mounts, checked in Docker's words. Pure but
for the look whether a bind source of the Mounts form exists."""

from __future__ import annotations

import os
import posixpath
import re
from collections.abc import Iterable, Mapping
from typing import Any

from sampan.errors import InvalidArgument, SampanError
from sampan.store.containers import MountRecord

PROPAGATIONS = ("private", "rprivate", "shared", "rshared", "slave", "rslave")
_VOLUME_NAME = re.compile(r"[a-zA-Z0-9][a-zA-Z0-9_.-]*")
_CONSISTENCY = ("consistent", "cached", "delegated", "default")
_TMPFS_VALUES = ("size", "mode", "uid", "gid", "nr_inodes", "nr_blocks", "mpol")
_TMPFS_FLAGS = frozenset(
    [
        "ro",
        "rw",
        "exec",
        "noexec",
        "suid",
        "nosuid",
        "dev",
        "nodev",
        "sync",
        "async",
        "dirsync",
        "remount",
        "mand",
        "nomand",
        "atime",
        "noatime",
        "diratime",
        "nodiratime",
        "bind",
        "rbind",
        "unbindable",
        "runbindable",
        "private",
        "rprivate",
        "shared",
        "rshared",
        "slave",
        "rslave",
        "relatime",
        "norelatime",
        "strictatime",
        "nostrictatime",
    ]
)


def parse_bind(text: str) -> MountRecord:
    """`-v` in the API's form: `src:dst[:mode]`, or a path alone for an anonymous volume.

    Raises:
        SampanError: Docker answers 500 to a malformed one.
    """
    parts = text.split(":")
    if len(parts) == 1:
        source, destination, mode = "", parts[0], ""
    elif len(parts) == 2:
        source, destination, mode = parts[0], parts[1], ""
    elif len(parts) == 3:
        source, destination, mode = parts
    else:
        raise SampanError(f"invalid volume specification: '{text}'")
    if not destination or (len(parts) > 1 and not source):
        raise SampanError(f"invalid volume specification: '{text}'")
    kind = "bind" if source.startswith("/") else "volume"
    try:
        destination = _destination(destination, kind)
    except InvalidArgument as error:
        raise SampanError(f"invalid volume specification: '{text}': {error.message}") from None
    if kind == "volume" and source:
        _check_volume_name(source)
    record = MountRecord(kind, destination, mode=mode, create_source=kind == "bind", copy_up=kind == "volume")
    _apply_mode(record, mode)
    if kind == "bind":
        record.source = posixpath.normpath(source)
        record.propagation = record.propagation or "rprivate"
    else:
        record.name, record.driver = source, "local"
        record.anonymous = not source
        record.mode = mode or ("z" if source else "")
    return record


def _apply_mode(record: MountRecord, mode: str) -> None:
    seen: set[str] = set()
    for option in filter(None, mode.split(",")):
        group = "access" if option in ("ro", "rw") else "propagation" if option in PROPAGATIONS else option
        if group in seen:
            raise SampanError(f"invalid mode: {mode}")
        seen.add(group)
        if option in ("ro", "rw"):
            record.writable = option == "rw"
        elif option in PROPAGATIONS and record.kind == "bind":
            record.propagation = option
        elif option == "nocopy" and record.kind == "volume":
            record.copy_up = False
        elif option in ("z", "Z") or option in _CONSISTENCY:
            continue  # SELinux labels where there is no SELinux; consistency is a matter of virtual machines
        else:
            raise SampanError(f"invalid mode: {mode}")


def _destination(path: str, kind: str) -> str:
    if not path.startswith("/"):
        raise InvalidArgument(
            f"invalid mount config for type \"{kind}\": invalid mount path: '{path}' mount path must be absolute"
        )
    cleaned = posixpath.normpath(path)
    if cleaned in ("/", "//"):
        raise InvalidArgument(
            f"invalid mount config for type \"{kind}\": invalid specification: destination can't be '/'"
        )
    return cleaned


def _check_volume_name(name: str) -> None:
    if len(name) == 1:
        raise InvalidArgument("volume name is too short, names should be at least two alphanumeric characters")
    if not _VOLUME_NAME.fullmatch(name):
        raise InvalidArgument(
            f'create {name}: "{name}" includes invalid characters for a local volume name, only '
            '"[a-zA-Z0-9][a-zA-Z0-9_.-]" are allowed. If you intended to pass a host directory, use absolute path'
        )


def parse_mount(mount: Mapping[str, Any], api_version: tuple[int, int]) -> MountRecord:
    """An entry of `HostConfig.Mounts`.

    Raises:
        InvalidArgument: as Docker's, `invalid mount config for type "bind": …`.
    """
    kind = mount.get("Type") or ""
    if kind not in ("bind", "volume", "tmpfs", "image"):
        raise InvalidArgument(f'invalid mount config for type "{kind}": mount type unknown')
    _check_options(mount, kind)
    target = mount.get("Target") or ""
    if not target:
        raise InvalidArgument(f'invalid mount config for type "{kind}": field Target must not be empty')
    record = MountRecord(kind, _destination(target, kind), writable=not mount.get("ReadOnly"), from_mounts_api=True)
    consistency = mount.get("Consistency") or "default"
    if consistency not in _CONSISTENCY:
        raise InvalidArgument(f'invalid mount config for type "{kind}": invalid consistency: {consistency}')
    _MOUNT_PARSERS[kind](record, mount, api_version)
    return record


def _check_options(mount: Mapping[str, Any], kind: str) -> None:
    for owner in ("bind", "volume", "tmpfs", "image"):
        field = f"{owner.capitalize()}Options"
        if owner != kind and mount.get(field) is not None:
            raise InvalidArgument(f'{field} must not be specified on mount type "{kind}"')
    if mount.get("ClusterOptions"):
        raise InvalidArgument(f'ClusterOptions must not be specified on mount type "{kind}"')


def _parse_bind_mount(record: MountRecord, mount: Mapping[str, Any], api_version: tuple[int, int]) -> None:
    source = mount.get("Source") or ""
    options = mount.get("BindOptions") or {}
    prefix = 'invalid mount config for type "bind": '
    if not source:
        raise InvalidArgument(prefix + "field Source must not be empty")
    if not source.startswith("/"):
        raise InvalidArgument(prefix + f"invalid mount path: '{source}' mount path must be absolute")
    propagation = options.get("Propagation") or "rprivate"
    if propagation not in PROPAGATIONS:
        raise InvalidArgument(prefix + f"invalid propagation mode: {propagation}")
    if options.get("ReadOnlyNonRecursive") and options.get("ReadOnlyForceRecursive"):
        raise InvalidArgument(prefix + "ReadOnlyForceRecursive and ReadOnlyNonRecursive conflict")
    for name in ("ReadOnlyNonRecursive", "ReadOnlyForceRecursive"):
        if options.get(name) and record.writable:
            raise InvalidArgument(prefix + f"mount option {name} can only be used with ReadOnly")
    if options.get("ReadOnlyForceRecursive") and propagation != "rprivate":
        raise InvalidArgument(prefix + "mount option ReadOnlyForceRecursive requires propagation rprivate")
    record.source = posixpath.normpath(source)
    record.create_source = bool(options.get("CreateMountpoint"))
    if not record.create_source and not os.path.lexists(record.source):
        raise InvalidArgument(prefix + f"bind source path does not exist: {source}")
    record.propagation = propagation
    record.recursive = not options.get("NonRecursive")
    if options.get("ReadOnlyForceRecursive"):
        record.read_only_recursive = "force"
    elif options.get("ReadOnlyNonRecursive") or api_version < (1, 44):
        record.read_only_recursive = "no"


def _parse_volume_mount(record: MountRecord, mount: Mapping[str, Any], api_version: tuple[int, int]) -> None:
    options = mount.get("VolumeOptions") or {}
    source = mount.get("Source") or ""
    if source:
        _check_volume_name(source)
    record.name, record.driver, record.mode = source, "local", "z"
    record.anonymous = not source
    record.copy_up = not options.get("NoCopy")
    record.subpath = _subpath(options.get("Subpath") or "", "volume")
    driver = (options.get("DriverConfig") or {}).get("Name") or "local"
    if driver != "local":
        raise InvalidArgument(f'error looking up volume plugin {driver}: plugin "{driver}" not found')


def _subpath(path: str, kind: str) -> str:
    if not path:
        return ""
    cleaned = posixpath.normpath(path)
    if cleaned.startswith("/") or cleaned == ".." or cleaned.startswith("../"):
        raise InvalidArgument(
            f'invalid mount config for type "{kind}": subpath must be a relative path within the {kind}'
        )
    return cleaned


def _parse_tmpfs_mount(record: MountRecord, mount: Mapping[str, Any], api_version: tuple[int, int]) -> None:
    options = mount.get("TmpfsOptions") or {}
    prefix = 'invalid mount config for type "tmpfs": '
    if mount.get("Source"):
        raise InvalidArgument(prefix + "field Source must not be specified")
    size_bytes, mode = options.get("SizeBytes") or 0, options.get("Mode") or 0
    if size_bytes < 0:
        raise InvalidArgument(prefix + "invalid size")
    found = ["noexec", "nosuid", "nodev"]
    for option in options.get("Options") or ():
        text = "=".join(option)
        _check_tmpfs_option(text)
        found = [known for known in found if known != f"no{text}"] + [text]
    if size_bytes:
        found.append(f"size={size_bytes}")
    if mode:
        found.append(f"mode={mode:o}")
    record.options = found


def _check_tmpfs_option(option: str) -> None:
    name, equals, _ = option.partition("=")
    if not (name in _TMPFS_VALUES if equals else name in _TMPFS_FLAGS):
        raise InvalidArgument(f'invalid tmpfs option "{option}"')


def _parse_image_mount(record: MountRecord, mount: Mapping[str, Any], api_version: tuple[int, int]) -> None:
    record.name = mount.get("Source") or ""
    if not record.name:
        raise InvalidArgument('invalid mount config for type "image": field Source must not be empty')
    record.subpath = _subpath((mount.get("ImageOptions") or {}).get("Subpath") or "", "image")
    record.writable = False


_MOUNT_PARSERS = {
    "bind": _parse_bind_mount,
    "volume": _parse_volume_mount,
    "tmpfs": _parse_tmpfs_mount,
    "image": _parse_image_mount,
}


def parse_tmpfs(destination: str, text: str) -> MountRecord:
    """An entry of `HostConfig.Tmpfs`."""
    options = ["noexec", "nosuid", "nodev"]
    for option in filter(None, text.split(",")):
        _check_tmpfs_option(option)
        options = [known for known in options if known not in (f"no{option}", option)] + [option]
    if not destination.startswith("/"):
        raise InvalidArgument(f"invalid mount path: '{destination}' mount path must be absolute")
    return MountRecord("tmpfs", _destination(destination, "tmpfs"), options=options, writable="ro" not in options)


def collect(
    host: Mapping[str, Any],
    volumes: Iterable[str],
    inherited: Iterable[MountRecord],
    api_version: tuple[int, int],
) -> list[MountRecord]:
    """All mounts of a request: those of `VolumesFrom` first, which Binds and Mounts may replace; then anonymous volumes for
    what `volumes` (of the image and the request) names and nobody else mounts.

    Raises:
        InvalidArgument, SampanError: a malformed one, or `Duplicate mount point: /x`.
    """
    by_destination = {mount.destination: mount for mount in inherited}
    own: dict[str, MountRecord] = {}
    explicit = [parse_bind(text) for text in host["Binds"] or ()]
    explicit += [parse_tmpfs(path, options) for path, options in (host["Tmpfs"] or {}).items()]
    explicit += [parse_mount(mount, api_version) for mount in host["Mounts"] or ()]
    for mount in explicit:
        if mount.destination in own:
            raise InvalidArgument(f"Duplicate mount point: {mount.destination}")
        own[mount.destination] = mount
    by_destination.update(own)
    for path in volumes:
        destination = _destination(path, "volume")
        if destination not in by_destination:
            by_destination[destination] = MountRecord(
                "volume", destination, driver="local", copy_up=True, anonymous=True
            )
    return list(by_destination.values())
