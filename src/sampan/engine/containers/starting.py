"""`docker start`: mounts, network, files, then the runtime; a failure undoes all of it."""

from __future__ import annotations

import os
from typing import TYPE_CHECKING, Any

from sampan import errors
from sampan.engine.containers import confinement, etc_files, mounting, networking
from sampan.engine.containers.logs import log_spec, wanted_attributes
from sampan.engine.containers.model import Container
from sampan.engine.oci import runtime_config
from sampan.engine.oci.places import Places
from sampan.engine.tasks.spec import TaskSpec
from sampan.engine.tasks.task import Task
from sampan.errors import CommandNotExecutable, CommandNotFound, Conflict, InvalidArgument, NotModified, SampanError
from sampan.linux.cgroup import open_cgroup
from sampan.store.containers import HealthRecord
from sampan.types.times import rfc3339

if TYPE_CHECKING:
    from sampan.engine.engine import Engine

_LAUNCH_PREFIX = "failed to create task for container: failed to create shim task: OCI runtime create failed: "
_LAUNCH_PREFIX += "runc create failed: unable to start container process: "


def check_startable(container: Container) -> None:
    """
    Raises:
        NotModified: it runs. Conflict: it is paused, or on its way out.
    """
    status = container.state.status
    if status == "paused":
        raise Conflict("cannot start a paused container, try unpause instead")
    if status == "running":
        raise NotModified("container is already running")
    if container.removing or status in ("removing", "dead"):
        raise Conflict("container is marked for removal and cannot be started")


async def start(engine: Engine, container: Container) -> None:
    """Start it; the caller holds its lock and has checked that it can start.

    Raises:
        SampanError: the state stays as it was (created or exited), with ExitCode and Error set; nothing runs or is held.
    """
    try:
        task = await _launch(engine, container)
    except SampanError as error:
        await _failed(engine, container, error)
        raise _docker_error(error) from error
    except BaseException:
        await networking.tear_down(engine, container)
        raise
    state = container.record.state
    state.status, state.pid, state.error, state.exit_code = "running", task.pid, "", 0
    state.started_at, state.oom_killed, state.stopped_by_user = rfc3339(task.started_at_ns), False, False
    if state.health is not None:
        state.health = HealthRecord()
    container.task = task
    container.stop_requested = False
    engine.containers.save(container)
    mounting.publish(engine, container, "mount")
    engine.containers.publish(container, "start")


async def _launch(engine: Engine, container: Container) -> Task:
    netns_fd: int | None = None
    try:
        mounts = await mounting.prepare(engine, container)
        netns_fd = await networking.set_up(engine, container)
        networking.write_files(engine, container)
        spec = _task_spec(engine, container, mounts, netns_fd)
        return await engine.tasks.start(spec)
    except SampanError:
        engine.tasks.drop_pending(container.id)
        raise
    except OSError as error:
        engine.tasks.drop_pending(container.id)
        raise errors.from_os_error(error) from error
    finally:
        if container.sandbox is not None:
            networking.forget_sandbox(container)
        elif netns_fd is not None:
            os.close(netns_fd)


def _task_spec(engine: Engine, container: Container, mounts: Any, netns_fd: int | None) -> TaskSpec:
    host = container.host_config
    files = etc_files.paths(container)
    places = Places(
        hosts=files.hosts,
        hostname=files.hostname,
        resolv_conf=files.resolv_conf,
        mounts=mounts,
        joined=_joined(engine, container),
        shm_source=confinement.shared_memory(engine, container),
        own_network=container.sandbox is not None,
        id_mappings=confinement.id_mappings(host, engine.config),
    )
    config = runtime_config.build(container.record, engine.config, places)
    log = log_spec(container)
    log["attributes"] = wanted_attributes(container)
    size = host["ConsoleSize"]
    return TaskSpec(
        id=container.id,
        config=config,
        rootfs=container.rootfs(),
        state_dir=container.directory,
        log=log if log["driver"] != "none" else None,
        tty=container.tty,
        open_stdin=bool(container.config["OpenStdin"]),
        stdin_once=bool(container.config["StdinOnce"]),
        netns_fd=netns_fd,
        userns_fd=container.sandbox.userns_fd if container.sandbox is not None else None,
        seccomp_bpf=confinement.seccomp_filter(host, engine.config),
        cgroup_path=config["linux"]["cgroupsPath"],
        console_size=(size[0], size[1]) if any(size) else None,
    )


def _joined(engine: Engine, container: Container) -> dict[str, int]:
    """The pids whose namespaces are joined."""
    host = container.host_config
    found = {}
    for kind, mode in (("pid", host["PidMode"]), ("ipc", host["IpcMode"])):
        if not mode.startswith("container:"):
            continue
        owner = engine.containers.get(mode.partition(":")[2])
        if not owner.running or not owner.pid:
            text = f"failed to join {kind.upper()} namespace: container {owner.id} is not running"
            raise SampanError(text) if kind == "pid" else Conflict(text)
        if kind == "ipc" and owner.host_config["IpcMode"] != "shareable":
            raise InvalidArgument(
                f"can't join IPC of container {owner.id}: non-shareable IPC (hint: use IpcMode:shareable for the donor "
                "container)"
            )
        found[kind] = owner.pid
    remapped = confinement.user_namespace_owner(engine, container)
    if remapped is not None:
        found["user"] = remapped.pid
    return found


async def _failed(engine: Engine, container: Container, error: SampanError) -> None:
    """Leave the state that Docker leaves, and nothing else."""
    confinement.drop_shared_memory(engine, container)
    await networking.tear_down(engine, container)
    engine.tasks.drop_pending(container.id)
    state = container.record.state
    state.pid = 0
    state.exit_code = error.exit_code if isinstance(error, CommandNotFound | CommandNotExecutable) else 128
    state.error = _docker_error(error).message
    engine.containers.save(container)


def _docker_error(error: SampanError) -> SampanError:
    """Errors of the launch in the words of `docker run`, from which clients take their exit code."""
    if isinstance(error, CommandNotFound | CommandNotExecutable) and not error.message.startswith(_LAUNCH_PREFIX):
        return type(error)(f"{_LAUNCH_PREFIX}{error.message}: unknown", hint=error.hint)
    if isinstance(error, InvalidArgument) and error.message.startswith("unable to find "):
        return SampanError(error.message, hint=error.hint)  # an unknown user or group: 500, as Docker
    return error


def freeze(engine: Engine, container: Container, frozen: bool) -> None:
    """Stop or continue all processes. Blocking, for milliseconds."""
    cgroup = open_cgroup(runtime_config.cgroup_path(container.id, container.host_config, engine.config))
    if frozen:
        cgroup.freeze()
    else:
        cgroup.thaw()
