"""The client's configuration: `config.json` of `--config`, $DOCKER_CONFIG or ~/.docker, shared with Docker's own client."""

from __future__ import annotations

import os

from sampan.errors import InvalidArgument

TYPE_CHECKING = False
if TYPE_CHECKING:
    from typing import Any

    from sampan.client.hosts import TlsFiles


def config_directory(chosen: str = "") -> str:
    return chosen or os.environ.get("DOCKER_CONFIG") or os.path.expanduser("~/.docker")


def tls_files(
    config_dir: str = "", *, ca: str = "", certificate: str = "", key: str = "", verify: bool = True
) -> TlsFiles:
    """Paths given, or the files that exist under their usual names in $DOCKER_CERT_PATH or the configuration directory."""
    from sampan.client.hosts import TlsFiles

    directory = os.environ.get("DOCKER_CERT_PATH") or config_directory(config_dir)

    def usual(name: str) -> str:
        path = os.path.join(directory, name)
        return path if os.path.exists(path) else ""

    return TlsFiles(ca or usual("ca.pem"), certificate or usual("cert.pem"), key or usual("key.pem"), verify)


class ConfigFile:
    """`values` is the parsed file; unknown keys are kept when it is written back."""

    def __init__(self, path: str, values: dict[str, Any]) -> None:
        self.path = path
        self.values = values

    @classmethod
    def load(cls, config_dir: str = "") -> ConfigFile:
        """An absent file is an empty configuration. Raises InvalidArgument for one that is not JSON."""
        from sampan.client import wire

        path = os.path.join(config_directory(config_dir), "config.json")
        try:
            with open(path, "rb") as file:
                data = file.read()
        except (FileNotFoundError, NotADirectoryError):
            return cls(path, {})
        try:
            values = wire.loads(data) if data.strip() else {}
        except ValueError as error:
            raise InvalidArgument(f"cannot read {path}: {error}", hint="mend the file, or move it away") from None
        if not isinstance(values, dict):
            raise InvalidArgument(f"cannot read {path}: want one JSON object")
        return cls(path, values)

    def get(self, key: str) -> str:
        """A string setting such as `detachKeys` or `psFormat`; "" if absent."""
        value = self.values.get(key)
        return value if isinstance(value, str) else ""

    def save(self) -> None:
        """Write atomically, readable by the owner only: the file may hold credentials."""
        import json

        directory = os.path.dirname(self.path)
        os.makedirs(directory, mode=0o700, exist_ok=True)
        target = os.path.realpath(self.path)
        temporary = f"{target}.{os.getpid()}.tmp"
        handle = os.open(temporary, os.O_WRONLY | os.O_CREAT | os.O_EXCL | os.O_CLOEXEC, 0o600)
        try:
            with open(handle, "w") as file:
                file.write(json.dumps(self.values, indent="\t"))
            os.rename(temporary, target)
        except OSError:
            os.unlink(temporary)
            raise
