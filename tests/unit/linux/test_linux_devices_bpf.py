from __future__ import annotations

import struct
from typing import Any

from sampan.linux.cgroup.devices_bpf import compile_rules


def run(program: bytes, kind: int, access: int, major: int, minor: int) -> int:
    """A small interpreter of the instructions that the compiler uses."""
    context = struct.pack("III", access << 16 | kind, major, minor)
    registers: list[Any] = [0, context, 0, 0, 0, 0]
    position = 0
    while True:
        code, registers_byte, offset, immediate = struct.unpack_from("<BBhi", program, position * 8)
        destination, source = registers_byte & 15, registers_byte >> 4
        position += 1
        if code == 0x61:
            registers[destination] = struct.unpack_from("I", context, offset)[0]
        elif code == 0x54:
            registers[destination] &= immediate
        elif code == 0x74:
            registers[destination] >>= immediate
        elif code == 0xBC:
            registers[destination] = registers[source]
        elif code == 0xB7:
            registers[destination] = immediate
        elif code == 0x55:
            position += offset if registers[destination] != immediate else 0
        elif code == 0x5D:
            position += offset if registers[destination] != registers[source] else 0
        elif code == 0x95:
            return int(registers[0])


DENY = {"allow": False, "access": "rwm"}


def test_everything_is_denied_by_default() -> None:
    assert run(compile_rules([]), 2, 2, 1, 3) == 0
    assert run(compile_rules([DENY]), 2, 2, 1, 3) == 0


def test_a_later_rule_overrides() -> None:
    rules = [DENY, {"allow": True, "type": "c", "major": 1, "minor": 3, "access": "rw"}]
    program = compile_rules(rules)
    assert run(program, 2, 2, 1, 3) == 1
    assert run(program, 2, 6, 1, 3) == 1
    assert run(program, 2, 1, 1, 3) == 0  # mknod is not in the rule
    assert run(program, 2, 2, 1, 5) == 0
    assert run(program, 1, 2, 1, 3) == 0  # a block device
    assert run(compile_rules([*rules, DENY]), 2, 2, 1, 3) == 0


def test_wildcards() -> None:
    program = compile_rules([DENY, {"allow": True, "type": "c", "major": 136, "access": "rwm"}])
    assert run(program, 2, 7, 136, 42) == 1
    assert run(program, 2, 7, 137, 42) == 0
    assert run(compile_rules([{"allow": True}]), 1, 7, 8, 0) == 1
