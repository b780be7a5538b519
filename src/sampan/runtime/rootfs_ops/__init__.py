"""What can be done inside a container's root from outside: the operations of the rootfs worker.

Each is `operation(arguments, fds) -> result`, called in a process whose `/` is the container's root already; paths are the
container's own. Results are JSON; bulk data goes through `fds`. Faults are errors of the tree.

    stat_path    {path}                    → Docker's path stat: name, size, mode (Go's), mtime, linkTarget
    archive_get  {path}, [tar out]         → {}
    archive_put  {path, …}, [tar in]       → {}      see `put.archive_put`
    export       {}, [tar out]             → {}      the root without what is mounted into it
    copy_up      {path}, [directory]       → {}      the content of a directory into another one
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import Any

from sampan.runtime.rootfs_ops.describe import stat_path
from sampan.runtime.rootfs_ops.get import archive_get, copy_up, export
from sampan.runtime.rootfs_ops.put import archive_put

Operation = Callable[[dict[str, Any], Sequence[int]], dict[str, Any]]

OPERATIONS: dict[str, Operation] = {
    "archive_get": archive_get,
    "archive_put": archive_put,
    "copy_up": copy_up,
    "export": export,
    "stat_path": stat_path,
}
