"""The engine's life: open the state, take over what runs, listen, and end without touching a container."""

from __future__ import annotations

import asyncio
import logging
import os
import signal
import socket

from sampan.api.routing import Router
from sampan.api.server import Server
from sampan.daemon import pidfile, tls
from sampan.daemon.routes import ROUTES
from sampan.engine.config import EngineConfig
from sampan.engine.engine import Engine
from sampan.errors import InvalidArgument
from sampan.runtime.zygote_link import ZygoteLink

_log = logging.getLogger("sampan.daemon")


def run(config: EngineConfig, zygote: ZygoteLink) -> None:
    """Serve until SIGTERM or SIGINT. Containers, their logs and their attached clients go on without us.

    Raises:
        SampanError: another engine runs on this exec root, an address is taken, a directory cannot be made.
    """
    for path, mode in ((config.data_root, 0o711), (config.exec_root, 0o711)):
        try:
            os.makedirs(path, mode=mode, exist_ok=True)
        except OSError as error:
            raise InvalidArgument(f"cannot make {path}: {error.strerror}") from None
    with (
        pidfile.locked(f"{config.exec_root}/lock"),
        pidfile.locked(f"{config.data_root}/lock"),
        pidfile.named(config.pidfile_path),
    ):
        asyncio.run(_serve(config, zygote))


async def _serve(config: EngineConfig, zygote: ZygoteLink) -> None:
    loop = asyncio.get_running_loop()
    stop = asyncio.Event()
    for number in (signal.SIGTERM, signal.SIGINT):
        loop.add_signal_handler(number, stop.set)
    loop.add_signal_handler(signal.SIGHUP, _log.warning, "SIGHUP: the configuration is read at the start alone")
    engine = await Engine.open(config, zygote)
    server = Server(engine, Router(ROUTES))
    try:
        context = tls.server_context(config)
        for host in config.hosts or [f"unix://{config.socket_path}"]:
            if host.startswith("tcp://") and context is None:
                _warn_plain_tcp(engine, host)
            await server.listen(host, group=config.group, tls=context)
            _log.info("API listen on %s", host)
        _notify("READY=1")
        await stop.wait()
        _log.info("stopping; containers go on")
        _notify("STOPPING=1")
    finally:
        await server.close()
        await engine.close()


def _warn_plain_tcp(engine: Engine, host: str) -> None:
    text = (
        f"API is accessible on {host} without encryption: access to it is equivalent to root access on this machine; "
        "use --tlsverify"
    )
    engine.warnings.append(f"WARNING: {text}")
    _log.warning("%s", text)


def _notify(state: str) -> None:
    """Tell systemd, if it started us (sd_notify(3))."""
    address = os.environ.get("NOTIFY_SOCKET")
    if address:
        with socket.socket(socket.AF_UNIX, socket.SOCK_DGRAM) as notifier:
            notifier.connect("\0" + address[1:] if address.startswith("@") else address)
            notifier.send(state.encode())
