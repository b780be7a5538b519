"""Choice of a log writer from what the engine says: `{"driver", "path", "options", "attributes"}`."""

from __future__ import annotations

from typing import Any

from sampan.errors import InvalidArgument
from sampan.logs import json_file
from sampan.logs.interfaces import Writer
from sampan.logs.local import DEFAULT_MAX_FILES, DEFAULT_MAX_SIZE_BYTES, LocalWriter

_UNITS = {"": 1, "b": 1, "k": 1000, "kb": 1000, "m": 1000**2, "mb": 1000**2, "g": 1000**3, "gb": 1000**3}


def parse_size(text: str) -> int:
    """Bytes of a decimal size such as `10m` (Docker's log options count in powers of 1000); `-1` is no limit."""
    stripped = text.strip().lower()
    number = stripped.rstrip("abcdefghijklmnopqrstuvwxyz ")
    unit = stripped[len(number) :].strip()
    try:
        return int(float(number) * _UNITS[unit])
    except (KeyError, ValueError):
        raise InvalidArgument(f"invalid size: '{text}'") from None


def open_writer(log: dict[str, Any] | None) -> Writer | None:
    """The writer for a container, None for the driver `none`. Raises OSError if the file cannot be opened."""
    if not log or log.get("driver") in (None, "", "none"):
        return None
    options: dict[str, str] = log.get("options") or {}
    driver = log["driver"]
    if driver == "local":
        return LocalWriter(
            log["path"],
            max_size_bytes=parse_size(options["max-size"]) if "max-size" in options else DEFAULT_MAX_SIZE_BYTES,
            max_files=int(options.get("max-file", DEFAULT_MAX_FILES)),
        )
    if driver == "json-file":
        return json_file.JsonFileWriter(
            log["path"],
            max_size_bytes=parse_size(options["max-size"])
            if "max-size" in options
            else json_file.DEFAULT_MAX_SIZE_BYTES,
            max_files=int(options.get("max-file", DEFAULT_MAX_FILES)),
            attributes=log.get("attributes") or {},
        )
    raise InvalidArgument(f'error looking up logging plugin {driver}: plugin "{driver}" not found')
