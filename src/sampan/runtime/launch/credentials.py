"""The last steps before execve: limits, identity, capabilities, seccomp, working directory, the command.

Shared by a container's first process and by exec. Everything runs inside the container's root and imports nothing.
"""

from __future__ import annotations

import errno
import os
import resource
import signal
import stat
from typing import Any, Final

from sampan.errors import CommandNotExecutable, CommandNotFound
from sampan.linux import capabilities, process, seccomp
from sampan.linux.syscalls import AT_FDCWD, RESOLVE_NO_MAGICLINKS, openat2
from sampan.runtime.launch import user
from sampan.runtime.launch.launch_error import LaunchError, describe

_RLIMITS: Final[dict[str, int]] = {
    "RLIMIT_CPU": 0, "RLIMIT_FSIZE": 1, "RLIMIT_DATA": 2, "RLIMIT_STACK": 3, "RLIMIT_CORE": 4, "RLIMIT_RSS": 5,
    "RLIMIT_NPROC": 6, "RLIMIT_NOFILE": 7, "RLIMIT_MEMLOCK": 8, "RLIMIT_AS": 9, "RLIMIT_LOCKS": 10,
    "RLIMIT_SIGPENDING": 11, "RLIMIT_MSGQUEUE": 12, "RLIMIT_NICE": 13, "RLIMIT_RTPRIO": 14, "RLIMIT_RTTIME": 15,
}  # fmt: skip
_DEFAULT_PATH: Final = "/usr/local/sbin:/usr/local/bin:/usr/sbin:/usr/bin:/sbin:/bin"


def reset_signals() -> None:
    """Default action for what Python ignores, and an empty mask: ignored and blocked signals survive execve."""
    for number in (signal.SIGPIPE, signal.SIGXFSZ, signal.SIGINT, signal.SIGTERM, signal.SIGCHLD, signal.SIGHUP):
        signal.signal(number, signal.SIG_DFL)
    signal.pthread_sigmask(signal.SIG_SETMASK, [])


def set_rlimits(limits: list[dict[str, Any]]) -> None:
    """setrlimit for each of OCI's POSIXRlimit; an unknown type is an error."""
    for limit in limits:
        kind = _RLIMITS.get(limit["type"])
        if kind is None:
            raise LaunchError(f"invalid rlimit type {limit['type']!r}")
        soft, hard = (value if value < 1 << 63 else -1 for value in (limit["soft"], limit["hard"]))
        try:
            resource.setrlimit(kind, (soft, hard))
        except ValueError:  # Python's word for EPERM
            raise LaunchError(f"error setting rlimit type {kind}: operation not permitted") from None
        except OSError as error:
            raise LaunchError(f"error setting rlimit type {kind}: {describe(error)}") from None


def become(spec: dict[str, Any], seccomp_bpf: bytes | None) -> dict[str, str]:
    """Take on what OCI's process says, and return the environment for execve. Called as root of the (user) namespace.

    The order is that of runc: bounding set, groups, gid, uid with capabilities kept, working directory, the final
    sets, seccomp last (first without no_new_privs, since loading a filter needs CAP_SYS_ADMIN then).
    """
    spec_user = spec.get("user") or {}
    uid, gid = spec_user.get("uid", 0), spec_user.get("gid", 0)
    groups = list(spec_user.get("additionalGids") or [])
    home = ""
    caps = spec.get("capabilities")
    sets = {kind: capabilities.mask_of((caps or {}).get(kind) or []) for kind in _SETS}
    if spec_user.get("username") is not None:
        identity = user.resolve(spec_user["username"])
        uid, gid, home = identity.uid, identity.gid, identity.home
        # The primary group is listed too: else a setgid program could drop it and escape a mode that denies it.
        groups += [one for one in (gid, *identity.groups) if one not in groups]
        if uid != 0:
            # Docker: a process that is not root starts with nothing but the bounding set.
            sets["effective"] = sets["permitted"] = 0
    groups += _named_groups(spec_user.get("additionalGroups") or [], groups)
    set_rlimits(spec.get("rlimits") or [])
    no_new_privileges = bool(spec.get("noNewPrivileges"))
    if no_new_privileges:
        process.set_no_new_privileges()
    if spec_user.get("umask") is not None:
        os.umask(spec_user["umask"])
    else:
        os.umask(0o022)
    if seccomp_bpf and not no_new_privileges:
        seccomp.install(seccomp_bpf)
    if caps is not None:
        capabilities.limit_bounding(sets["bounding"])
    process.set_keep_capabilities(True)
    _take_identity(uid, gid, groups)
    process.set_keep_capabilities(False)
    enter_directory(spec.get("cwd") or "/")
    if caps is not None:
        available = capabilities.get()[1]
        permitted = sets["permitted"] & available
        capabilities.set_(sets["effective"] & permitted, permitted, sets["inheritable"] & available)
        capabilities.set_ambient(sets["ambient"])
    if seccomp_bpf and no_new_privileges:
        seccomp.install(seccomp_bpf)
    return _environment(spec.get("env") or [], uid, home)


_SETS: Final = ("bounding", "effective", "permitted", "inheritable", "ambient")


def _named_groups(names: list[str], known: list[int]) -> list[int]:
    if not names:
        return []
    lines = user.read_lines("/etc/group")
    found = [user.find_group(lines, name, f"Unable to find group {name}") for name in names]
    return [one for one in found if one not in known]


def _take_identity(uid: int, gid: int, groups: list[int]) -> None:
    try:
        os.setgroups(groups)
    except PermissionError:
        if groups:  # a user namespace may deny setgroups; then there is nothing to drop either
            raise
    os.setresgid(gid, gid, gid)
    os.setresuid(uid, uid, uid)
    # A change of ids sets it to fs.suid_dumpable, which may say 1: then processes of that uid could get at us, who
    # still hold the shim's memory, before execve.
    process.set_dumpable(False)


def enter_directory(path: str) -> None:
    """chdir, refusing a directory that lies outside the root.

    A descriptor of the host left open could be reached as `/proc/self/fd/7` (CVE-2024-21626): the kernel then reports
    the directory as unreachable from the root.
    """
    try:
        if not path.startswith("/"):
            raise LaunchError("Cwd must be an absolute path")
        # Through no descriptor at all: this process still has some that lie in the root, and that are not the user's.
        directory = openat2(AT_FDCWD, path, os.O_PATH | os.O_DIRECTORY, resolve=RESOLVE_NO_MAGICLINKS)
        try:
            os.fchdir(directory)
        finally:
            os.close(directory)
    except OSError as error:
        reason = (error.strerror or "").lower()
        raise LaunchError(f'chdir to cwd ("{path}") set in config.json failed: {reason}') from None
    try:
        reached = os.getcwd()
    except OSError:
        reached = ""
    if not reached.startswith("/"):
        raise LaunchError("current working directory is outside of container mount namespace root -- possible escape")


def _environment(entries: list[str], uid: int, home: str) -> dict[str, str]:
    """The last entry of a name wins; HOME is filled in when missing or empty."""
    environment = {}
    for entry in entries:
        name, separator, value = entry.partition("=")
        if separator and name and "\0" not in entry:
            environment[name] = value
    if not environment.get("HOME"):
        environment["HOME"] = home or user.home_of(uid)
    return environment


def find_executable(name: str, path: str | None) -> str:
    """The file that `name` means, as Go's LookPath finds it, with its errors and Docker's exit codes."""
    if not name:
        raise CommandNotFound('exec: "": executable file not found in $PATH')
    if "/" in name:
        _check_executable(name, name)
        return name
    refused = False
    for directory in (path or "").split(":"):
        candidate = f"{directory or '.'}/{name}"
        try:
            _check_executable(candidate, name)
        except CommandNotExecutable:
            refused = True
            continue
        except CommandNotFound:
            continue
        return candidate
    if refused:
        raise CommandNotExecutable(f'exec: "{name}": permission denied')
    raise CommandNotFound(f'exec: "{name}": executable file not found in $PATH')


def _check_executable(path: str, name: str) -> None:
    try:
        mode = os.stat(path).st_mode
    except OSError as error:
        if error.errno in (errno.EACCES, errno.EPERM):
            raise CommandNotExecutable(f'exec: "{name}": permission denied') from None
        raise CommandNotFound(f'exec: "{name}": stat {path}: {(error.strerror or "").lower()}') from None
    if stat.S_ISDIR(mode):
        raise CommandNotExecutable(f'exec: "{name}": is a directory')
    if not os.access(path, os.X_OK, effective_ids=os.access in os.supports_effective_ids):
        raise CommandNotExecutable(f'exec: "{name}": permission denied')


def execute(path: str, arguments: list[str], environment: dict[str, str]) -> None:
    """execve; a failure here is the container's own (wrong format, missing interpreter): said on its stderr, 255."""
    try:
        os.execve(path, arguments, environment)
    except OSError as error:
        os.write(2, f"exec {path}: {(error.strerror or '').lower()}\n".encode(errors="surrogateescape"))
    os._exit(255)
