"""`sampand`: from the command line to a serving engine."""

from __future__ import annotations

import importlib
import logging
import os
import resource
import sys
import types
from collections.abc import Sequence

from sampan import __version__
from sampan.daemon import flags
from sampan.engine import config as engine_config
from sampan.errors import SampanError
from sampan.linux.process import close_range
from sampan.runtime.zygote_link import ZygoteLink

_LEVELS = {"debug": "DEBUG", "info": "INFO", "warn": "WARNING", "error": "ERROR", "fatal": "CRITICAL"}


def main(arguments: Sequence[str] | None = None) -> None:
    """Run the engine; exits 1 with a message on standard error when it cannot start."""
    try:
        line = flags.parse(sys.argv[1:] if arguments is None else arguments, __version__)
        path = line.config_file or engine_config.DEFAULT_CONFIG_FILE
        config = engine_config.load(path, line.flags, required=bool(line.config_file))
        if line.validate:
            print("configuration OK")
            return
        if os.geteuid() != 0:
            raise SampanError("sampand needs to be started with root privileges", hint="try: sudo sampand")
        _log_to_stderr(config)
        # What our starter left open, systemd's sockets among it, is not for shims to keep.
        close_range(3, cloexec=True)
        zygote = ZygoteLink.start()
        _raise_descriptor_limit()
        sys.modules["aiohttp"] = _Deferred("aiohttp")
        from sampan.daemon import serve  # late: the zygote gets ready while this process imports the engine

        serve.run(config, zygote)
    except SampanError as error:
        print(f"sampand: {error.message}" + (f"\n{error.hint}" if error.hint else ""), file=sys.stderr)
        sys.exit(1)


class _Deferred(types.ModuleType):
    """Stands for a module until something of it is used. The registry client's library is a quarter of an idle engine's
    memory, and many an engine never pulls. (importlib's LazyLoader gives way to the second `import` of a module.)"""

    def __getattr__(self, name: str) -> object:
        if name.startswith("__"):
            raise AttributeError(name)
        if sys.modules.get(self.__name__) is self:
            del sys.modules[self.__name__]
        module = importlib.import_module(self.__name__)
        self.__dict__.update(vars(module))
        return getattr(module, name)


def _raise_descriptor_limit() -> None:
    """Every client costs a descriptor. Only ours is raised, after the zygote has its own: containers inherit from there."""
    _, most = resource.getrlimit(resource.RLIMIT_NOFILE)
    resource.setrlimit(resource.RLIMIT_NOFILE, (most, most))


def _log_to_stderr(config: engine_config.EngineConfig) -> None:
    level = "debug" if config.debug else config.log_level
    logging.basicConfig(
        level=_LEVELS[level], stream=sys.stderr, format="%(asctime)s %(levelname)s %(name)s: %(message)s"
    )
    for name in ("asyncio", "hpack"):  # they tell of every byte
        logging.getLogger(name).setLevel("WARNING")


if __name__ == "__main__":
    main()
