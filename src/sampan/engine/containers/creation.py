"""`docker create`: from a request's JSON to a container on disk and in memory."""

from __future__ import annotations

import os
import shutil
import time
from typing import TYPE_CHECKING, Any

from sampan.engine.config import EngineConfig
from sampan.engine.containers import mounting
from sampan.engine.containers.model import MASKED_PATHS, READONLY_PATHS, Container
from sampan.engine.containers.networking import has_own_network
from sampan.engine.containers.request import fields, validation
from sampan.engine.containers.request.capabilities import normalise_capabilities
from sampan.engine.containers.request.network import check_mac
from sampan.errors import Conflict, InvalidArgument, NotFound
from sampan.images.image import Image
from sampan.store.containers import ContainerRecord, HealthRecord
from sampan.types.ids import new_id, short
from sampan.types.names import random_name
from sampan.types.platform import Platform
from sampan.types.times import rfc3339

if TYPE_CHECKING:
    from sampan.engine.engine import Engine

_IMAGE_FIELDS = ("User", "WorkingDir", "StopSignal", "Shell", "OnBuild")


async def create(
    engine: Engine, body: dict[str, Any], *, name: str = "", platform: str = "", api_version: tuple[int, int] = (1, 56)
) -> tuple[Container, list[str]]:
    """Make a container; gives it and warnings. On an error nothing is left.

    Raises:
        InvalidArgument, NotFound (image), Conflict (name), SampanError: as Docker.
    """
    config, host, endpoints = read_request(body, engine.config, api_version)
    if name:
        name = name.removeprefix("/")
        validation.check_name(name)
    warnings = validation.validate(config, host, engine.config)
    image = _image(engine, config["Image"], platform)
    if image is not None:
        merge_image(config, image.run_config)
    if not (config["Entrypoint"] or config["Cmd"]):
        raise InvalidArgument("no command specified")
    _check_references(engine, host)
    name = _free_name(engine, name)
    container_id = new_id()
    release = engine.containers.reserve_name(name, container_id)
    try:
        container = await _make(engine, container_id, name, config, host, endpoints, image, api_version)
    finally:
        release()
    return container, warnings


def read_request(
    body: Any, engine: EngineConfig, api_version: tuple[int, int]
) -> tuple[dict[str, Any], dict[str, Any], dict[str, dict[str, Any]]]:
    """Config, HostConfig and endpoints with all fields, defaults of the engine applied."""
    if not isinstance(body, dict):
        raise InvalidArgument("invalid JSON: the body must be an object")
    if not body:
        raise InvalidArgument("config cannot be empty in order to create a container")
    host_body = body.get("HostConfig") or {}
    config = fields.fill(body, fields.CONFIG_FIELDS, "Config")
    host = fields.fill(host_body, fields.HOST_FIELDS, "HostConfig")
    _default_host(host, engine, api_version)
    networking = (body.get("NetworkingConfig") or {}).get("EndpointsConfig") or {}
    if not isinstance(networking, dict):
        raise InvalidArgument("invalid JSON: EndpointsConfig must be an object")
    return config, host, _endpoints(host, networking, api_version)


def _default_host(host: dict[str, Any], engine: EngineConfig, api_version: tuple[int, int]) -> None:
    log = host["LogConfig"] or {}
    driver = log.get("Type") or engine.log_driver
    options = log.get("Config") or {}
    host["LogConfig"] = {"Type": driver, "Config": {**(engine.log_opts if not log.get("Type") else {}), **options}}
    policy = host["RestartPolicy"] or {}
    host["RestartPolicy"] = {
        "Name": policy.get("Name") or "no",
        "MaximumRetryCount": policy.get("MaximumRetryCount") or 0,
    }
    host["NetworkMode"] = "bridge" if host["NetworkMode"] in ("", "default") else host["NetworkMode"]
    host["IpcMode"] = host["IpcMode"] or engine.default_ipc_mode
    host["CgroupnsMode"] = host["CgroupnsMode"] or ("host" if host["Privileged"] else engine.default_cgroupns_mode)
    host["Runtime"] = host["Runtime"] or engine.default_runtime
    host["ShmSize"] = host["ShmSize"] or engine.default_shm_size
    host["ConsoleSize"] = host["ConsoleSize"] or [0, 0]
    if host["Memory"] > 0 and host["MemorySwap"] == 0:
        host["MemorySwap"] = 2 * host["Memory"]
    if host["OomKillDisable"] is None:
        host["OomKillDisable"] = False
    if host["PidsLimit"] is not None and host["PidsLimit"] <= 0:
        host["PidsLimit"] = None
    for bindings in (host["PortBindings"] or {}).values():
        for binding in bindings or ():
            binding["HostIp"], binding["HostPort"] = binding.get("HostIp") or "", str(binding.get("HostPort") or "")
    hosts_own = host["Privileged"] or "host" in (host["IpcMode"], host["PidMode"])
    if hosts_own and not any(option.startswith("label") for option in host["SecurityOpt"] or ()):
        host["SecurityOpt"] = [*(host["SecurityOpt"] or ()), "label=disable"]
    if host["MemorySwappiness"] == -1:
        host["MemorySwappiness"] = None
    for name in ("CapAdd", "CapDrop"):
        if host[name]:
            host[name] = normalise_capabilities(host[name], name)
    unconfined = host["Privileged"] or "systempaths=unconfined" in (host["SecurityOpt"] or ())
    if host["MaskedPaths"] is None and not unconfined:
        host["MaskedPaths"] = list(MASKED_PATHS)
    if host["ReadonlyPaths"] is None and not unconfined:
        host["ReadonlyPaths"] = list(READONLY_PATHS)


def _endpoints(
    host: dict[str, Any], networking: dict[str, Any], api_version: tuple[int, int]
) -> dict[str, dict[str, Any]]:
    """Network name → settings: those named in the request, and the one of NetworkMode first."""
    mode = host["NetworkMode"]
    if api_version < (1, 44) and len(networking) > 1:
        raise InvalidArgument(
            f"Container cannot be created with multiple network endpoints: {', '.join(sorted(networking))}"
        )
    if mode.startswith("container:"):
        if any(networking.values()):
            raise InvalidArgument(
                "conflicting options: cannot attach both user-defined and non-user-defined network-modes"
            )
        return {}
    found: dict[str, dict[str, Any]] = {mode: {}}
    for name, settings in networking.items():
        if settings is not None and not isinstance(settings, dict):
            raise InvalidArgument(f"invalid JSON: the settings of endpoint {name} must be an object")
        name = "bridge" if name == "default" else name
        check_mac((settings or {}).get("MacAddress") or "", name)
        found[name] = settings or {}
    if not has_own_network(mode) and len(found) > 1:
        raise InvalidArgument("conflicting options: cannot attach both user-defined and non-user-defined network-modes")
    return found


def _image(engine: Engine, name: str, platform: str) -> Image | None:
    if not name:
        raise InvalidArgument("config cannot be empty in order to create a container")
    image = engine.images.get(name)
    if platform:
        wanted = Platform.parse(platform)
        if not wanted.matches(image.platform):
            raise NotFound(
                f"image with reference {name} was found but does not provide the specified platform ({platform})"
            )
    return image


def merge_image(config: dict[str, Any], image: dict[str, Any]) -> None:
    """Complete a request's config with the image's, as Docker merges them."""
    for field in _IMAGE_FIELDS:
        if not config[field]:
            config[field] = image.get(field) or config[field]
    if not config["Entrypoint"]:
        config["Cmd"] = config["Cmd"] or image.get("Cmd")
        if config["Entrypoint"] is None:
            config["Entrypoint"] = image.get("Entrypoint")
    elif config["Entrypoint"] == [""]:
        config["Entrypoint"] = None  # `--entrypoint ""`: the image's is dropped, and its Cmd with it
    if config["StopTimeout"] is None:
        config["StopTimeout"] = image.get("StopTimeout")
    for field in ("ExposedPorts", "Volumes", "Labels"):
        merged = {**(image.get(field) or {}), **(config[field] or {})}
        config[field] = merged or config[field]
    config["Volumes"] = config["Volumes"] or None
    config["Labels"] = config["Labels"] or {}
    names = {entry.partition("=")[0] for entry in config["Env"] or ()}
    inherited = [entry for entry in image.get("Env") or () if entry.partition("=")[0] not in names]
    config["Env"] = [*(config["Env"] or ()), *inherited] or config["Env"]
    directory = config["WorkingDir"]
    if directory:
        config["WorkingDir"] = os.path.normpath(directory if directory.startswith("/") else "/" + directory)
    _merge_health(config, image.get("Healthcheck"))


def _merge_health(config: dict[str, Any], image: dict[str, Any] | None) -> None:
    own = config["Healthcheck"]
    if not image:
        return
    if not own:
        config["Healthcheck"] = image
        return
    if not own.get("Test"):
        own["Test"] = image.get("Test")
    for field in ("Interval", "Timeout", "StartPeriod", "StartInterval", "Retries"):
        if not own.get(field) and image.get(field):
            own[field] = image[field]


def _check_references(engine: Engine, host: dict[str, Any]) -> None:
    """Containers that the request names must exist: 400, not 404."""
    for link in host["Links"] or ():
        target = link.partition(":")[0].lstrip("/")
        if not target or link.count(":") > 1:
            raise InvalidArgument(f"bad format for links: {link}")
        try:
            engine.containers.get(target)
        except NotFound as error:
            raise InvalidArgument(f"could not get container for {target}: {error.message}") from None
    for field in ("PidMode", "IpcMode"):
        mode = host[field]
        if mode.startswith("container:"):
            try:
                owner = engine.containers.get(mode.partition(":")[2])
            except NotFound as error:
                raise InvalidArgument(error.message) from None
            host[field] = f"container:{owner.id}"
    if host["NetworkMode"].startswith("container:"):
        try:
            host["NetworkMode"] = "container:" + engine.containers.get(host["NetworkMode"].partition(":")[2]).id
        except NotFound:
            pass  # the start will say so, as with Docker


def _free_name(engine: Engine, name: str) -> str:
    taken = engine.containers.id_of_name
    if not name:
        return random_name(lambda candidate: taken(candidate) is not None)
    owner = taken(name)
    if owner is not None:
        raise Conflict(
            f'Conflict. The container name "/{name}" is already in use by container "{owner}". You have to remove (or '
            "rename) that container to be able to reuse that name."
        )
    return name


async def _make(
    engine: Engine,
    container_id: str,
    name: str,
    config: dict[str, Any],
    host: dict[str, Any],
    endpoints: dict[str, dict[str, Any]],
    image: Image | None,
    api_version: tuple[int, int],
) -> Container:
    assert image is not None
    mounts = await mounting.resolve(engine, host, {}, config["Volumes"] or {}, api_version)
    if not config["Hostname"] and not host["NetworkMode"].startswith("container:"):
        config["Hostname"] = os.uname().nodename if host["NetworkMode"] == "host" else short(container_id)
    command = [*(config["Entrypoint"] or ()), *(config["Cmd"] or ())]
    now = time.time_ns()
    directory = engine.containers.directory_of(container_id)
    record = ContainerRecord(
        id=container_id,
        name=name,
        created=rfc3339(now),
        created_ns=now,
        image=config["Image"],
        image_id=image.id,
        config=config,
        host_config=host,
        path=command[0],
        args=command[1:],
        endpoints=endpoints,
        mounts=mounts,
        lower_dirs=engine.images.lower_dirs(image),
        log_path=log_path(directory, container_id, host["LogConfig"]["Type"]),
    )
    if has_health_check(config):
        record.state.health = HealthRecord()
    container = Container(record, directory)
    os.mkdir(directory, 0o710)
    try:
        os.mkdir(container.upper, 0o755)
        os.mkdir(container.work, 0o700)
        engine.containers.add(container)
    except BaseException:
        shutil.rmtree(directory, ignore_errors=True)
        raise
    engine.containers.publish(container, "create")
    return container


def log_path(directory: str, container_id: str, driver: str) -> str:
    if driver == "none":
        return ""
    return f"{directory}/{container_id}-json.log" if driver == "json-file" else f"{directory}/container.log"


def has_health_check(config: dict[str, Any]) -> bool:
    test = (config["Healthcheck"] or {}).get("Test") or []
    return bool(test) and test[0] != "NONE"
