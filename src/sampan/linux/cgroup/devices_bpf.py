"""The device allow-list of cgroup v2: rules compiled to a BPF_PROG_TYPE_CGROUP_DEVICE program (bpf(2)).

The program gets `struct bpf_cgroup_dev_ctx { u32 access_type; u32 major; u32 minor; }`, where access_type is
`access << 16 | type`, and answers 1 (allow) or 0. Rules are tried from the last to the first, so a later rule
overrides an earlier one, as with v1's files; where none matches the answer is no.
"""

from __future__ import annotations

import ctypes
import os
import struct
from typing import Any, Final

from sampan.linux.syscalls import SYS_BPF, syscall

_PROG_LOAD: Final = 5
_PROG_ATTACH: Final = 8
_PROG_DETACH: Final = 9
_PROG_GET_FD_BY_ID: Final = 13
_PROG_QUERY: Final = 16
_MAXIMUM_PROGRAMS: Final = 64  # the kernel's own limit for one group and type
_TYPE_CGROUP_DEVICE: Final = 15
_ATTACH_CGROUP_DEVICE: Final = 6
_ALLOW_MULTI: Final = 2

_ACCESS: Final = {"m": 1, "r": 2, "w": 4}
_KINDS: Final = {"b": 1, "c": 2}

_LOAD_WORD: Final = 0x61  # BPF_LDX | BPF_MEM | BPF_W
_AND_K: Final = 0x54  # BPF_ALU | BPF_AND | BPF_K (32 bits)
_RSH_K: Final = 0x74
_MOV_X: Final = 0xBC
_MOV64_K: Final = 0xB7
_JNE_K: Final = 0x55
_JNE_X: Final = 0x5D
_EXIT: Final = 0x95


def _instruction(code: int, destination: int = 0, source: int = 0, offset: int = 0, immediate: int = 0) -> bytes:
    return struct.pack("<BBhi", code, source << 4 | destination, offset, immediate)


def compile_rules(rules: list[dict[str, Any]]) -> bytes:
    """The program for OCI device rules, in order of the specification (later overrides earlier)."""
    # r2 = type, r3 = access, r4 = major, r5 = minor
    program = [
        _instruction(_LOAD_WORD, 2, 1, 0),
        _instruction(_AND_K, 2, immediate=0xFFFF),
        _instruction(_LOAD_WORD, 3, 1, 0),
        _instruction(_RSH_K, 3, immediate=16),
        _instruction(_LOAD_WORD, 4, 1, 4),
        _instruction(_LOAD_WORD, 5, 1, 8),
    ]
    for rule in reversed(rules):
        block = _rule(rule)
        program += block
        if (rule.get("type") or "a") == "a":
            return b"".join(program)  # decides everything: what came before it cannot matter
    program += [_instruction(_MOV64_K, 0, immediate=0), _instruction(_EXIT)]
    return b"".join(program)


def _rule(rule: dict[str, Any]) -> list[bytes]:
    tail = [_instruction(_MOV64_K, 0, immediate=int(bool(rule.get("allow")))), _instruction(_EXIT)]
    kind = rule.get("type") or "a"
    if kind == "a":
        return tail
    access = sum(_ACCESS[letter] for letter in set(rule.get("access") or "rwm"))
    # Each test is (instructions before the jump, comparison); a mismatch jumps behind the block.
    tests: list[tuple[list[bytes], tuple[int, int, int, int]]] = [([], (_JNE_K, 2, 0, _KINDS[kind]))]
    if access != 7:
        # Allow when all that is asked for is in the rule; deny rules match when anything asked for is in it,
        # which for single letters (the only ones in use) is the same test.
        tests.append(([_instruction(_MOV_X, 1, 3), _instruction(_AND_K, 1, immediate=access)], (_JNE_X, 1, 3, 0)))
    for register, key in ((4, "major"), (5, "minor")):
        value = rule.get(key)
        if value is not None and value >= 0:
            tests.append(([], (_JNE_K, register, 0, value)))
    length = sum(len(before) + 1 for before, _ in tests) + len(tail)
    block: list[bytes] = []
    for before, (code, destination, source, immediate) in tests:
        block += before
        block.append(_instruction(code, destination, source, length - len(block) - 1, immediate))
    return block + tail


def attach_device_filter(directory: str, rules: list[dict[str, Any]]) -> None:
    """Make the rules the group's filter, in place of what was attached before.

    The kernel asks all filters of a group. The new one is attached first: for a moment less is allowed, never more.
    """
    group = os.open(directory, os.O_RDONLY | os.O_DIRECTORY | os.O_CLOEXEC)
    try:
        before = _attached(group)
        filter_fd = _load(compile_rules(rules))
        try:
            _bpf("attach", _PROG_ATTACH, struct.pack("=IIII", group, filter_fd, _ATTACH_CGROUP_DEVICE, _ALLOW_MULTI))
        finally:
            os.close(filter_fd)
        for program_id in before:
            _detach(group, program_id)
    finally:
        os.close(group)


def _bpf(what: str, command: int, attributes: bytes) -> tuple[int, bytes]:
    """bpf(2): its result, and the attributes as the kernel left them."""
    buffer = ctypes.create_string_buffer(attributes, len(attributes))
    return syscall(f"bpf {what}", SYS_BPF, command, buffer, len(attributes)), buffer.raw


def _load(program: bytes) -> int:
    code = ctypes.create_string_buffer(program, len(program))
    license_text = ctypes.create_string_buffer(b"Apache-2.0")
    places = (ctypes.addressof(code), ctypes.addressof(license_text))
    attributes = struct.pack("=IIQQIIQII", _TYPE_CGROUP_DEVICE, len(program) // 8, *places, 0, 0, 0, 0, 0)
    return _bpf("load", _PROG_LOAD, attributes)[0]


def _attached(group: int) -> list[int]:
    """The ids of the group's own device filters."""
    ids = (ctypes.c_uint32 * _MAXIMUM_PROGRAMS)()
    attributes = struct.pack("=IIIIQII", group, _ATTACH_CGROUP_DEVICE, 0, 0, ctypes.addressof(ids), len(ids), 0)
    _, answer = _bpf("query", _PROG_QUERY, attributes)
    return list(ids[: struct.unpack_from("=I", answer, 24)[0]])


def _detach(group: int, program_id: int) -> None:
    program, _ = _bpf("get", _PROG_GET_FD_BY_ID, struct.pack("=III", program_id, 0, 0))
    try:
        _bpf("detach", _PROG_DETACH, struct.pack("=III", group, program, _ATTACH_CGROUP_DEVICE))
    finally:
        os.close(program)
