from __future__ import annotations

import pytest

from sampan.errors import InvalidArgument
from sampan.linux import seccomp_compile, seccomp_default

needs_library = pytest.mark.skipif(not seccomp_compile.available(), reason="libseccomp is not installed")


def names(profile: dict, name: str) -> list[str]:
    return [rule["action"] for rule in profile["syscalls"] if name in rule["names"]]


def test_mount_needs_the_capability() -> None:
    assert names(seccomp_default.profile([]), "mount") == []
    assert names(seccomp_default.profile(["CAP_SYS_ADMIN"]), "mount") == ["SCMP_ACT_ALLOW"]


def test_clone3_falls_back_to_clone() -> None:
    profile = seccomp_default.profile([])
    rule = next(rule for rule in profile["syscalls"] if rule["names"] == ["clone3"])
    assert rule["errnoRet"] == 38


def test_io_uring_and_keyrings_are_closed() -> None:
    profile = seccomp_default.profile(["CAP_SYS_ADMIN"])
    for name in ("io_uring_setup", "keyctl", "add_key", "userfaultfd", "kexec_load"):
        assert names(profile, name) == []


@needs_library
def test_compiles_to_whole_instructions() -> None:
    program = seccomp_compile.compile_profile(seccomp_default.profile([]))
    assert len(program) % 8 == 0 and 100 < len(program) // 8 < 4096


@needs_library
@pytest.mark.parametrize(
    ("profile", "message"),
    [
        ({"defaultAction": "SCMP_ACT_NONE"}, "not a valid action"),
        (
            {
                "defaultAction": "SCMP_ACT_ALLOW",
                "syscalls": [{"names": ["write"], "action": "SCMP_ACT_NOTIFY"}],
            },
            "SCMP_ACT_NOTIFY cannot be used for the write syscall",
        ),
        (
            {
                "defaultAction": "SCMP_ACT_ALLOW",
                "syscalls": [
                    {"names": ["read"], "action": "SCMP_ACT_ERRNO", "args": [{"index": 0, "op": "X", "value": 1}]}
                ],
            },
            "not a valid operator",
        ),
    ],
)
def test_bad_profiles(profile: dict, message: str) -> None:
    with pytest.raises(InvalidArgument, match=message):
        seccomp_compile.compile_profile(profile)
