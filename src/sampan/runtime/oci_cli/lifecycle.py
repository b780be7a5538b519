"""`create`, `start`, `run`, `exec`: the commands of `sampan-runtime` that make processes."""

from __future__ import annotations

import errno
import json
import os
import select
import signal
import socket
import sys
import termios
import tty as terminal_modes
from typing import Any

from sampan.errors import Conflict, InvalidArgument
from sampan.linux import pidfd as pidfds
from sampan.linux import seccomp, tty
from sampan.linux.cgroup import Cgroup, open_cgroup
from sampan.runtime.launch.container import Stdio, launch
from sampan.runtime.launch.process import exec_into
from sampan.runtime.launch.verdict import Launched
from sampan.runtime.oci_cli import hooks, records, spec


def create(options: Any, *, wait: bool = True) -> tuple[records.State, Launched]:
    """Make the container; with `wait` its process stops before execve until `start`."""
    bundle = os.path.realpath(options.bundle or ".")
    config = _read_config(bundle)
    state = records.begin(options.root, options.container, bundle, config)
    cgroup: Cgroup | None = None
    launched: Launched | None = None
    try:
        path = (config.get("linux") or {}).get("cgroupsPath") or f"/{options.container}"
        if ":" in path:  # systemd's form slice:prefix:name, which we serve without systemd
            slice_name, prefix, name = [*path.split(":"), "", ""][:3]
            path = f"/{slice_name}/{prefix}-{name}".replace("//", "/")
        state.data |= {"cgroup": path, "rootfs": _rootfs_path(bundle, config)}
        cgroup = open_cgroup(path)
        if cgroup.pids():
            path, cgroup = "", None
            raise Conflict("container's cgroup is not empty")
        cgroup.create()
        cgroup.apply(_resources(config))
        launched = _launch(options, state, config, cgroup, wait)
        state.data |= {"pid": launched.pid, "start_time": records.start_time(launched.pid)}
        with open(f"{state.directory}/config.json", "w", encoding="utf-8") as file:
            json.dump(config, file)
        hooks.run(config, ("prestart", "createRuntime", "createContainer"), state.describe() | {"pid": launched.pid})
        state.save()
        _write_pid_file(options.pid_file, launched.pid)
        return state, launched
    except BaseException:
        if launched is not None:
            os.kill(launched.pid, signal.SIGKILL)
            os.waitpid(launched.pid, 0)
        if cgroup is not None:
            cgroup.remove()
        state.forget()
        raise


def _launch(options: Any, state: records.State, config: dict[str, Any], cgroup: Cgroup, wait: bool) -> Launched:
    fifo = None
    if wait:
        os.mkfifo(state.fifo, 0o600)
        fifo = os.open(state.fifo, os.O_RDONLY | os.O_NONBLOCK | os.O_CLOEXEC)
    filter_spec = (config.get("linux") or {}).get("seccomp")
    launched = launch(
        config,
        rootfs={"kind": "directory", "path": state.data["rootfs"]},
        stdio=Stdio(0, 1, 2),
        cgroup=cgroup,
        seccomp_bpf=seccomp.compile_profile(filter_spec) if filter_spec else None,
        extra_fds={3 + n: 3 + n for n in range(options.preserve_fds)},
        wait_start_fd=fifo,
        bundle=state.data["bundle"],
    )
    for descriptor in (fifo, launched.root):
        if descriptor is not None:
            os.close(descriptor)
    return _hand_over_console(options.console_socket, launched)


def _hand_over_console(path: str | None, launched: Launched) -> Launched:
    if launched.console is None or not path:
        return launched
    with socket.socket(socket.AF_UNIX, socket.SOCK_STREAM) as channel:
        channel.connect(path)
        socket.send_fds(channel, [b"/dev/ptmx"], [launched.console])
    os.close(launched.console)
    return launched._replace(console=None)


def _read_config(bundle: str) -> dict[str, Any]:
    try:
        with open(f"{bundle}/config.json", encoding="utf-8") as file:
            config: dict[str, Any] = json.load(file)
    except FileNotFoundError:
        raise InvalidArgument(f"JSON specification file {bundle}/config.json not found") from None
    except ValueError as error:
        raise InvalidArgument(f"config.json: {error}") from None
    return config


def _rootfs_path(bundle: str, config: dict[str, Any]) -> str:
    path = os.path.join(bundle, (config.get("root") or {}).get("path") or "rootfs")
    if not os.path.isdir(path):
        raise InvalidArgument(f"invalid rootfs: stat {path}: no such file or directory")
    return os.path.realpath(path)


def _resources(config: dict[str, Any]) -> dict[str, Any]:
    resources = dict((config.get("linux") or {}).get("resources") or {})
    if resources.get("devices"):
        nodes = [
            {"allow": True, "type": one["type"].replace("u", "c"), "major": one["major"], "minor": one["minor"],
             "access": "rwm"}
            for one in config["linux"].get("devices") or []
            if one["type"] != "p"
        ]  # fmt: skip
        resources["devices"] = [*resources["devices"], *spec.ALWAYS_ALLOWED_DEVICES, *nodes]
    return resources


def _write_pid_file(path: str | None, pid: int) -> None:
    if path:
        temporary = os.path.join(os.path.dirname(path), "." + os.path.basename(path))
        with open(temporary, "w", encoding="utf-8") as file:
            file.write(str(pid))
        os.rename(temporary, path)


def start(state: records.State) -> None:
    """Let a created container go on to its command."""
    status = state.status()
    if status != "created":
        text = "cannot start a container that has stopped" if status == "stopped" else (
            "cannot start an already running container" if status == "running" else f"cannot start a {status} container"
        )  # fmt: skip
        raise Conflict(text)
    hooks.run(state.config(), ("startContainer",), state.describe())
    try:
        descriptor = os.open(state.fifo, os.O_WRONLY | os.O_NONBLOCK | os.O_CLOEXEC)
    except OSError as error:
        if error.errno == errno.ENXIO:
            raise Conflict("cannot start a container that has stopped") from None
        raise
    os.write(descriptor, b"s")
    os.close(descriptor)
    os.unlink(state.fifo)
    hooks.run(state.config(), ("poststart",), state.describe())


def run(options: Any) -> int:
    """create + start + wait + delete; the exit code is the command's."""
    state, launched = create(options, wait=not options.detach or True)
    start(state)
    if options.detach:
        return 0
    code = relay(launched)
    if not options.keep:
        delete(state)
    return code


def delete(state: records.State) -> None:
    """Remove the cgroup and the record of a container that has ended."""
    cgroup = state.cgroup()
    cgroup.kill_all()
    cgroup.remove()
    config = state.config()
    state.forget()
    hooks.run(config, ("poststop",), state.describe(), must_succeed=False)


def execute(options: Any) -> int:
    """`exec`: another process in a running container."""
    state = records.load(options.root, options.container)
    status = state.status()
    if status == "stopped":
        raise Conflict("cannot exec in a stopped container")
    if status == "paused" and not options.ignore_paused:
        raise Conflict("cannot exec in a paused container")
    config = state.config()
    process = _exec_process(options, config)
    filter_spec = (config.get("linux") or {}).get("seccomp")
    pidfd = pidfds.open_pidfd(state.pid)
    launched = exec_into(
        state.pid,
        pidfd,
        process,
        stdio=Stdio(0, 1, 2),
        cgroup=state.cgroup(),
        seccomp_bpf=seccomp.compile_profile(filter_spec) if filter_spec else None,
        config=config,
        extra_fds={3 + n: 3 + n for n in range(options.preserve_fds)},
    )
    launched = _hand_over_console(options.console_socket, launched)
    _write_pid_file(options.pid_file, launched.pid)
    return 0 if options.detach else relay(launched)


def _exec_process(options: Any, config: dict[str, Any]) -> dict[str, Any]:
    if options.process:
        with open(options.process, encoding="utf-8") as file:
            given: dict[str, Any] = json.load(file)
        return given
    if not options.command:
        raise InvalidArgument("process args cannot be empty")
    process: dict[str, Any] = {**config["process"], "args": options.command, "terminal": options.tty}
    process["env"] = [*(process.get("env") or []), *options.env]
    if options.cwd:
        process["cwd"] = options.cwd
    if options.user:
        uid, _, gid = options.user.partition(":")
        process["user"] = {"uid": int(uid), "gid": int(gid or 0)}
    return process


def relay(launched: Launched) -> int:
    """Stay in front of the process: forward signals, copy its terminal, and return its exit code."""
    for number in (signal.SIGINT, signal.SIGTERM, signal.SIGHUP, signal.SIGQUIT, signal.SIGUSR1, signal.SIGUSR2):
        signal.signal(number, lambda caught, _: _forward(launched.pidfd, caught))
    if launched.console is not None:
        _copy_terminal(launched.console, launched.pidfd)
    return pidfds.reap(launched.pidfd).exit_code


def _forward(pidfd: int, number: int) -> None:
    try:
        pidfds.send_signal(pidfd, number)
    except ProcessLookupError:
        pass


def _copy_terminal(master: int, pidfd: int) -> None:
    tty.clear_newline_translation(master)
    saved = None
    if os.isatty(0):
        saved = termios.tcgetattr(0)
        terminal_modes.setraw(0)
        tty.set_window_size(master, *tty.get_window_size(0))
        signal.signal(signal.SIGWINCH, lambda *_: tty.set_window_size(master, *tty.get_window_size(0)))
    poll = select.poll()
    poll.register(master, select.POLLIN)
    poll.register(0, select.POLLIN)
    try:
        while True:
            for descriptor, _ in poll.poll():
                data = _read(descriptor)
                if descriptor == master:
                    if not data:
                        return
                    os.write(1, data)
                elif data:
                    os.write(master, data)
                else:
                    poll.unregister(0)
    finally:
        if saved is not None:
            termios.tcsetattr(0, termios.TCSADRAIN, saved)
        sys.stdout.flush()


def _read(descriptor: int) -> bytes:
    try:
        return os.read(descriptor, 65536)
    except OSError as error:
        if error.errno == errno.EIO:  # the last holder of the pty's other side is gone
            return b""
        raise
