"""What a control group can do, whichever version of the kernel's interface is mounted.
`tests/contract/test_cgroup.py` holds both to it.

    cgroup = open_cgroup("/sampan/4f1b…")     # names it; touches nothing
    cgroup.create()                           # makes it, and the parents that miss
    cgroup.apply(config["linux"]["resources"])
    …                                         # launch() puts the container's init in
    cgroup.stats()
    cgroup.kill_all(); cgroup.remove()

`apply` takes OCI's LinuxResources and may be called again to change some of them; values that this kernel has no file
for raise `OSError`, except where the OCI specification lets them pass. `remove` of what does not exist is success.
"""

from __future__ import annotations

from typing import Any, Protocol


class Cgroup(Protocol):
    """One control group and, recursively, those below it."""

    path: str

    def create(self) -> None: ...

    def exists(self) -> bool: ...

    def apply(self, resources: dict[str, Any]) -> None: ...

    def add(self, pid: int) -> None:
        """Move process `pid` in. Slow under load (it takes a lock that all forks take): prefer the two below."""
        ...

    def fd(self) -> int | None:
        """A descriptor for CLONE_INTO_CGROUP that the caller closes; None where the kernel has no such thing."""
        ...

    def join_files(self, *, always: bool = False) -> list[int]:
        """Descriptors to which a single-threaded process writes `0` to move itself in; empty where `fd` is given, unless
        `always`: clone3 asks for the rights of who calls it, a write for those of who opened the file."""
        ...

    def freeze(self) -> None: ...

    def thaw(self) -> None: ...

    def frozen(self) -> bool: ...

    def pids(self) -> list[int]: ...

    def kill_all(self) -> None: ...

    def stats(self) -> dict[str, Any]: ...

    def oom_kills(self) -> int: ...

    def remove(self) -> None: ...

    def paths(self) -> dict[str, str]:
        """Directory by controller (v1), or by "" (v2)."""
        ...
