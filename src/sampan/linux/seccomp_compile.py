"""Compile OCI's `linux.seccomp` to BPF through libseccomp (seccomp_init(3), seccomp_export_bpf(3)).

For the engine and the OCI CLI, never for a process that is about to enter a container: it loads a library.
"""

from __future__ import annotations

import ctypes
import functools
import json
import os
import struct
from typing import Any, Final

from sampan.errors import InvalidArgument, NotSupported
from sampan.linux.syscalls import MACHINE

_ACTIONS: Final[dict[str, int]] = {
    "SCMP_ACT_KILL": 0x00000000, "SCMP_ACT_KILL_THREAD": 0x00000000, "SCMP_ACT_KILL_PROCESS": 0x80000000,
    "SCMP_ACT_TRAP": 0x00030000, "SCMP_ACT_ERRNO": 0x00050000, "SCMP_ACT_TRACE": 0x7FF00000,
    "SCMP_ACT_LOG": 0x7FFC0000, "SCMP_ACT_ALLOW": 0x7FFF0000, "SCMP_ACT_NOTIFY": 0x7FC00000,
}  # fmt: skip
_COMPARISONS: Final[dict[str, int]] = {
    "SCMP_CMP_NE": 1, "SCMP_CMP_LT": 2, "SCMP_CMP_LE": 3, "SCMP_CMP_EQ": 4, "SCMP_CMP_GE": 5, "SCMP_CMP_GT": 6,
    "SCMP_CMP_MASKED_EQ": 7,
}  # fmt: skip
_ATTRIBUTE_NNP: Final = 3
_ATTRIBUTE_OPTIMIZE: Final = 8
_BINARY_TREE: Final = 2
_AUDIT_ARCHES: Final = {"x86_64": 0xC000003E, "aarch64": 0xC00000B7}
_X32_BIT: Final = 0x40000000
_EEXIST: Final = 17


class _Comparison(ctypes.Structure):
    _fields_ = [("arg", ctypes.c_uint), ("op", ctypes.c_int), ("a", ctypes.c_uint64), ("b", ctypes.c_uint64)]


@functools.cache
def _library() -> ctypes.CDLL:
    try:
        library = ctypes.CDLL("libseccomp.so.2", use_errno=True)
    except OSError:
        raise NotSupported(
            "seccomp profiles need libseccomp", hint="Install libseccomp2, or use --security-opt seccomp=unconfined."
        ) from None
    library.seccomp_init.restype = ctypes.c_void_p
    library.seccomp_init.argtypes = [ctypes.c_uint32]
    for name, kinds in {
        "seccomp_release": [ctypes.c_void_p],
        "seccomp_arch_add": [ctypes.c_void_p, ctypes.c_uint32],
        "seccomp_attr_set": [ctypes.c_void_p, ctypes.c_int, ctypes.c_uint32],
        "seccomp_export_bpf": [ctypes.c_void_p, ctypes.c_int],
        "seccomp_syscall_resolve_name": [ctypes.c_char_p],
        "seccomp_arch_resolve_name": [ctypes.c_char_p],
        "seccomp_rule_add_array": [ctypes.c_void_p, ctypes.c_uint32, ctypes.c_int, ctypes.c_uint, ctypes.c_void_p],
    }.items():
        getattr(library, name).argtypes = kinds
    library.seccomp_arch_resolve_name.restype = ctypes.c_uint32
    return library


def available() -> bool:
    """Whether profiles can be compiled on this machine."""
    try:
        return bool(_library())
    except NotSupported:
        return False


def compile_profile(profile: dict[str, Any]) -> bytes:
    """The filter as an array of `struct sock_filter`; the same profile is compiled once per process.

    Names that libseccomp does not know are left out. System calls newer than any that the profile names answer ENOSYS,
    so that programs fall back instead of failing. Raises `InvalidArgument` for a malformed profile.
    """
    return _compile(json.dumps(profile, sort_keys=True))


@functools.lru_cache(maxsize=64)
def _compile(text: str) -> bytes:
    profile = json.loads(text)
    library = _library()
    default = _action(profile.get("defaultAction", ""), profile.get("defaultErrnoRet"))
    context = library.seccomp_init(default)
    if not context:
        raise InvalidArgument(f"error creating filter: default action {profile.get('defaultAction')!r}")
    try:
        library.seccomp_attr_set(context, _ATTRIBUTE_NNP, 0)
        # A tree instead of a chain: each load of the filter has the kernel run it for every system call there is, to
        # find those that are always allowed (seccomp_cache_prepare). Libraries before 2.5 refuse, and chain.
        library.seccomp_attr_set(context, _ATTRIBUTE_OPTIMIZE, _BINARY_TREE)
        for name in profile.get("architectures") or []:
            token = library.seccomp_arch_resolve_name(name.removeprefix("SCMP_ARCH_").lower().encode())
            if token:
                library.seccomp_arch_add(context, token)
        newest = 0
        for rule in profile.get("syscalls") or []:
            newest = max(newest, _add_rule(library, context, rule, default))
        return _newer_calls_missing(newest, default) + _export(library, context)
    finally:
        library.seccomp_release(context)


def _action(name: str, value: int | None) -> int:
    action = _ACTIONS.get(name)
    if action is None:
        raise InvalidArgument(f"string {name!r} is not a valid action for seccomp")
    if name in ("SCMP_ACT_ERRNO", "SCMP_ACT_TRACE"):
        action |= (1 if value is None else value) & 0xFFFF
    return action


def _add_rule(library: ctypes.CDLL, context: int, rule: dict[str, Any], default: int) -> int:
    action = _action(rule["action"], rule.get("errnoRet"))
    newest = 0
    groups = _argument_groups(rule.get("args") or [])
    for name in rule.get("names") or ([rule["name"]] if "name" in rule else []):
        if rule["action"] == "SCMP_ACT_NOTIFY" and name == "write":
            raise InvalidArgument("SCMP_ACT_NOTIFY cannot be used for the write syscall")
        number = library.seccomp_syscall_resolve_name(name.encode())
        if number == -1:
            continue
        newest = max(newest, number)
        if action == default:
            continue
        for group in groups:
            array = (_Comparison * max(len(group), 1))(*group)
            code = library.seccomp_rule_add_array(context, action, number, len(group), ctypes.addressof(array))
            if code and code != -_EEXIST:
                raise InvalidArgument(f"error adding seccomp rule for syscall {name}: {os.strerror(-code)}")
    return newest


def _argument_groups(arguments: list[dict[str, Any]]) -> list[list[_Comparison]]:
    """One rule for all arguments; one rule each where an index comes twice, as libseccomp cannot take it (runc)."""
    comparisons = []
    for one in arguments:
        if one["op"] not in _COMPARISONS:
            raise InvalidArgument(f"string {one['op']!r} is not a valid operator for seccomp")
        operator = _COMPARISONS[one["op"]]
        comparisons.append(_Comparison(one["index"], operator, one.get("value", 0), one.get("valueTwo", 0)))
    indices = [one.arg for one in comparisons]
    if len(set(indices)) < len(indices):
        return [[one] for one in comparisons]
    return [comparisons]


def _export(library: ctypes.CDLL, context: int) -> bytes:
    descriptor = os.memfd_create("seccomp", os.MFD_CLOEXEC)
    try:
        code = library.seccomp_export_bpf(context, descriptor)
        if code:
            raise InvalidArgument(f"error exporting the seccomp filter: {os.strerror(-code)}")
        return os.pread(descriptor, os.fstat(descriptor).st_size, 0)
    finally:
        os.close(descriptor)


def _newer_calls_missing(newest: int, default: int) -> bytes:
    """Instructions to put in front of a filter: native calls above `newest` answer ENOSYS."""
    architecture = _AUDIT_ARCHES.get(MACHINE)
    if architecture is None or not newest or default & 0xFFFF0000 != _ACTIONS["SCMP_ACT_ERRNO"]:
        return b""
    program = [
        (0x20, 0, 0, 4),  # A = arch
        (0x15, 0, 4, architecture),  # another one: on to the filter
        (0x20, 0, 0, 0),  # A = number
        (0x35, 2, 0, _X32_BIT),  # x32: on to the filter
        (0x25, 0, 1, newest),  # not newer: on to the filter
        (0x06, 0, 0, _ACTIONS["SCMP_ACT_ERRNO"] | 38),
    ]
    return b"".join(struct.pack("HBBI", *instruction) for instruction in program)
