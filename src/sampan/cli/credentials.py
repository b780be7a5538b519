"""Registry credentials in Docker's `config.json`, and its credential helpers.

`auths` maps a registry to {"auth": base64 of user:password} or {"identitytoken"}; `credHelpers` and `credsStore` name
programs `docker-credential-NAME` that answer `get`, `store` and `erase` on their standard streams.
"""

from __future__ import annotations

import binascii

from sampan.cli.references import DOCKER_HUB, DOCKER_HUB_KEY
from sampan.client import wire
from sampan.errors import SampanError

TYPE_CHECKING = False
if TYPE_CHECKING:
    from typing import Any

    from sampan.cli.config import ConfigFile

_TOKEN_USER = "<token>"


def storage_key(registry: str) -> str:
    """What the registry is kept under: Docker Hub has a URL for historical reasons."""
    registry = registry.removeprefix("https://").removeprefix("http://")
    if registry.rstrip("/") in ("", DOCKER_HUB, "index.docker.io", "index.docker.io/v1", "registry-1.docker.io"):
        return DOCKER_HUB_KEY
    return registry.partition("/")[0]


def credentials_for(config: ConfigFile, registry: str) -> dict[str, Any]:
    """The body of X-Registry-Auth, {} if we have none."""
    key = storage_key(registry)
    helper = _helper(config, key)
    if helper:
        answer = _ask(helper, "get", key)
        if answer is None:
            return {}
        found = wire.loads(answer)
        if found.get("Username") == _TOKEN_USER:
            return {"identitytoken": found["Secret"], "serveraddress": key}
        return {"username": found.get("Username"), "password": found.get("Secret"), "serveraddress": key}
    entry = _entry(config, key)
    if entry is None:
        return {}
    if entry.get("identitytoken"):
        return {"identitytoken": entry["identitytoken"], "serveraddress": key}
    user, _, password = _decode(entry.get("auth", "")).partition(":")
    return {"username": user, "password": password, "serveraddress": key} if user else {}


def all_credentials(config: ConfigFile) -> dict[str, Any]:
    """For X-Registry-Config of a build: every registry that we know credentials for."""
    names = set(config.values.get("auths") or {}) | set(config.values.get("credHelpers") or {})
    found = {storage_key(name): credentials_for(config, name) for name in sorted(names)}
    return {name: value for name, value in found.items() if value}


def store(config: ConfigFile, registry: str, user: str, password: str, token: str = "") -> bool:
    """Keep credentials. True if they lie in the file itself, hardly hidden."""
    key = storage_key(registry)
    helper = _helper(config, key)
    if helper:
        secret = {"ServerURL": key, "Username": _TOKEN_USER if token else user, "Secret": token or password}
        _ask(helper, "store", wire.dumps(secret))
        return False
    entry = {"identitytoken": token} if token else {}
    entry["auth"] = binascii.b2a_base64(f"{user}:{'' if token else password}".encode(), newline=False).decode()
    config.values.setdefault("auths", {})[key] = entry
    config.save()
    return True


def erase(config: ConfigFile, registry: str) -> bool:
    """Forget a registry's credentials; False if there were none."""
    key = storage_key(registry)
    helper = _helper(config, key)
    known = False
    if helper:
        known = _ask(helper, "get", key) is not None
        _ask(helper, "erase", key)
    auths = config.values.get("auths") or {}
    for name in [name for name in auths if storage_key(name) == key]:
        del auths[name]
        known = True
    if known:
        config.save()
    return known


def _entry(config: ConfigFile, key: str) -> dict[str, Any] | None:
    for name, entry in (config.values.get("auths") or {}).items():
        if storage_key(name) == key:
            return dict(entry)
    return None


def _decode(text: str) -> str:
    try:
        return binascii.a2b_base64(text).decode("utf-8").rstrip("\0")
    except (ValueError, UnicodeDecodeError):
        return ""


def _helper(config: ConfigFile, key: str) -> str:
    helpers = config.values.get("credHelpers") or {}
    return str(
        helpers.get(key) or helpers.get(key.removeprefix("https://").partition("/")[0]) or config.get("credsStore")
    )


def _ask(helper: str, action: str, text: str) -> str | None:
    """The helper's answer, None if it knows no such registry. Raises SampanError if it fails otherwise."""
    import subprocess

    program = f"docker-credential-{helper}"
    try:
        done = subprocess.run([program, action], input=text, capture_output=True, text=True, check=False)
    except FileNotFoundError:
        raise SampanError(
            f"the credential helper {program} is not installed", hint="install it, or take it out of config.json"
        ) from None
    if done.returncode == 0:
        return done.stdout
    message = done.stdout.strip() or done.stderr.strip()
    if "credentials not found" in message:
        return None
    raise SampanError(f"{program} {action}: {message}")
