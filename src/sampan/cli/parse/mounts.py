"""--volume and --mount."""

from __future__ import annotations

import os

from sampan.errors import InvalidArgument

TYPE_CHECKING = False
if TYPE_CHECKING:
    from typing import Any

_TRUE = ("", "1", "true", "True", "TRUE", "t")
_FALSE = ("0", "false", "False", "FALSE", "f")
_KEYS = {
    "src": "source",
    "dst": "target",
    "destination": "target",
    "ro": "readonly",
    "volume-opt": "volume-opt",
}


def split_volumes(texts: list[str]) -> tuple[list[str], list[str]]:
    """(binds, targets of anonymous volumes). A relative source that starts with a dot is made absolute."""
    binds: list[str] = []
    anonymous: list[str] = []
    for text in texts:
        parts = text.split(":")
        if text in ("", ":") or parts[0] == "":
            raise InvalidArgument(f"invalid volume specification: '{text}'", hint="want [source:]target[:options]")
        if len(parts) == 1:
            anonymous.append(os.path.normpath(text))
            continue
        source = parts[0]
        if source.startswith((".", "~")):
            source = os.path.abspath(os.path.expanduser(source))
        binds.append(":".join([source, *parts[1:]]))
    return binds, anonymous


def parse_mount(text: str) -> dict[str, Any]:
    """One --mount as the API's Mount. Raises InvalidArgument."""
    mount: dict[str, Any] = {"Type": "volume"}
    options: dict[str, dict[str, Any]] = {name: {} for name in _OPTIONS_OF}
    for field in split_csv(text):
        key, mark, value = field.partition("=")
        key = _KEYS.get(key.lower(), key.lower())
        if not mark and key not in ("readonly", "volume-nocopy", "bind-nonrecursive", "bind-create-src"):
            raise _refused(text, f"invalid field '{field}' must be a key=value pair")
        if key == "type":
            mount["Type"] = value.lower()
        elif key == "source":
            mount["Source"] = os.path.abspath(value) if value.startswith(".") else value
        elif key == "target":
            mount["Target"] = value
        elif key == "readonly":
            mount["ReadOnly"] = _switch(key, value, text)
        elif key == "consistency":
            mount["Consistency"] = value.lower()
        else:
            _put_option(options, key, value, text)
    return _checked(mount, options, text)


def _put_option(options: dict[str, dict[str, Any]], key: str, value: str, text: str) -> None:
    """Options that belong to one type of mount."""
    bind, volume, tmpfs = options["BindOptions"], options["VolumeOptions"], options["TmpfsOptions"]
    if key == "bind-propagation":
        bind["Propagation"] = value.lower()
    elif key in ("bind-create-src", "bind-nonrecursive"):
        bind["CreateMountpoint" if key == "bind-create-src" else "NonRecursive"] = _switch(key, value, text)
    elif key == "bind-recursive":
        bind.update(_recursive(value, text))
    elif key == "volume-nocopy":
        volume["NoCopy"] = _switch(key, value, text)
    elif key == "volume-subpath":
        volume["Subpath"] = value
    elif key == "volume-driver":
        volume.setdefault("DriverConfig", {})["Name"] = value
    elif key == "volume-label":
        _put(volume.setdefault("Labels", {}), value)
    elif key == "volume-opt":
        _put(volume.setdefault("DriverConfig", {}).setdefault("Options", {}), value)
    elif key == "image-subpath":
        options["ImageOptions"]["Subpath"] = value
    elif key in ("tmpfs-size", "tmpfs-mode"):
        _put_tmpfs(tmpfs, key, value)
    else:
        raise _refused(text, f"unexpected key '{key}' in '{key}={value}'")


def _put_tmpfs(tmpfs: dict[str, Any], key: str, value: str) -> None:
    try:
        if key == "tmpfs-mode":
            tmpfs["Mode"] = int(value, 8)
            return
        from sampan.types.sizes import parse_size_bytes

        tmpfs["SizeBytes"] = parse_size_bytes(value)
    except ValueError:
        raise InvalidArgument(f"invalid value for {key}: {value}") from None


def _refused(text: str, why: str) -> InvalidArgument:
    return InvalidArgument(f'invalid argument "{text}" for "--mount" flag: {why}')


_OPTIONS_OF = {"BindOptions": "bind", "VolumeOptions": "volume", "TmpfsOptions": "tmpfs", "ImageOptions": "image"}


def _checked(mount: dict[str, Any], options: dict[str, dict[str, Any]], text: str) -> dict[str, Any]:
    if not mount.get("Target"):
        raise InvalidArgument(f'invalid argument "{text}" for "--mount" flag: target is required')
    for name, values in options.items():
        if not values:
            continue
        if mount["Type"] != _OPTIONS_OF[name]:
            raise InvalidArgument(f"cannot mix '{_OPTIONS_OF[name]}-*' options with mount type '{mount['Type']}'")
        mount[name] = values
    return mount


def _recursive(value: str, text: str) -> dict[str, bool]:
    choices: dict[str, dict[str, bool]] = {
        "enabled": {},
        "disabled": {"NonRecursive": True},
        "writable": {"ReadOnlyNonRecursive": True},
        "readonly": {"ReadOnlyForceRecursive": True},
    }
    if value not in choices:
        raise InvalidArgument(
            f'invalid argument "{text}" for "--mount" flag: invalid value for bind-recursive: {value} '
            '(must be "enabled", "disabled", "writable", or "readonly")'
        )
    return choices[value]


def _switch(key: str, value: str, text: str) -> bool:
    if value in _TRUE:
        return True
    if value in _FALSE:
        return False
    raise InvalidArgument(f'invalid argument "{text}" for "--mount" flag: invalid value for {key}: {value}')


def _put(values: dict[str, str], text: str) -> None:
    key, _, value = text.partition("=")
    values[key] = value


def split_csv(text: str) -> list[str]:
    """One CSV record: fields in double quotes may hold commas, a doubled quote stands for itself."""
    fields: list[str] = []
    field = ""
    quoted = False
    position = 0
    while position < len(text):
        character = text[position]
        position += 1
        if quoted:
            if character != '"':
                field += character
            elif text[position : position + 1] == '"':
                field += '"'
                position += 1
            else:
                quoted = False
        elif character == '"' and not field:
            quoted = True
        elif character == ",":
            fields.append(field)
            field = ""
        else:
            field += character
    return [*fields, field]
