"""The engine: all services of one instance, put together in one place, and their start and end.

What each service needs is passed to it here; none reaches for another's insides. The API's handlers get this object.
"""

from __future__ import annotations

import logging
from collections.abc import Iterator, Mapping
from functools import cached_property
from typing import TYPE_CHECKING

from sampan.content.blobs import BlobStore
from sampan.content.layers import LayerStore
from sampan.engine.builds.builder import Builder
from sampan.engine.config import EngineConfig
from sampan.engine.containers.containers import Containers
from sampan.engine.containers.execs import Execs
from sampan.engine.events import EventBus
from sampan.engine.images import ImageService
from sampan.engine.networks import network_settings
from sampan.engine.tasks.tasks import Tasks
from sampan.images.store import ImageStore
from sampan.linux.cgroup import open_cgroup
from sampan.network.controller import Networks
from sampan.registry.client import Registry
from sampan.registry.hosts import RegistrySettings
from sampan.runtime.zygote_link import ZygoteLink
from sampan.store.database import Database
from sampan.store.identity import Identity
from sampan.volumes.store import Volumes

if TYPE_CHECKING:
    from sampan.engine.buildkit.services import BuildKit

_log = logging.getLogger(__name__)


class Engine:
    """One engine on one data root and one exec root."""

    def __init__(self, config: EngineConfig, zygote: ZygoteLink) -> None:
        self.config = config
        self.warnings: list[str] = []
        self.database = Database(f"{config.data_root}/sampan.db")
        self.id = Identity(self.database).id
        self.events = EventBus()
        self.tasks = Tasks(config.exec_root, zygote)
        self.blobs = BlobStore(f"{config.data_root}/content")
        self.layers = LayerStore(f"{config.data_root}/layers", self.blobs)
        self.images = ImageStore(self.database, self.blobs, self.layers, self.events.publish)
        self.registry = Registry(_registry_settings(config))
        self.image_service = ImageService(self.images, self.registry)
        self.networks = Networks(self.database, network_settings(config), self._network_event)
        self.volumes = Volumes(self.database, f"{config.data_root}/volumes", on_event=self._volume_event)
        self.execs = Execs(self.tasks, self.events)
        self.containers = Containers(self)
        self.builder = Builder(config, self.database, self.image_service, self.tasks, self.networks)
        self.volumes.users = self.containers.using_volume
        self.image_service.in_use = self._containers_of_image
        self.images.add_layer_user(self._container_layers)

    @classmethod
    async def open(cls, config: EngineConfig, zygote: ZygoteLink) -> Engine:
        """Open the state, take over the containers that run, and collect what earlier engines left half done."""
        engine = cls(config, zygote)
        await engine.networks.start()
        engine.warnings += [f"WARNING: {text}" for text in engine.networks.warnings]
        await engine.volumes.start()
        await engine.containers.recover()
        engine.builder.clean()  # after the steps that still ran are dead
        engine.images.clean()  # only now is it known which layers containers need
        return engine

    @cached_property
    def buildkit(self) -> BuildKit:
        """For clients that build through BuildKit's API; the first of them loads what speaks it."""
        from sampan.engine.buildkit.services import BuildKit

        return BuildKit(self.builder, self.id)

    async def close(self) -> None:
        """Let go of everything. Containers, their networks and their logs go on; with none of them running, nothing of
        this engine stays on the host but its data."""
        await self.containers.close()
        await self.builder.close()
        await self.image_service.close()
        await self.volumes.close()
        if not any(container.running for container in self.containers.all()):
            await self.networks.remove_all()
            try:
                open_cgroup(self.config.cgroup_root).remove()
            except OSError as error:
                _log.warning("cannot remove cgroup %s: %s", self.config.cgroup_root, error)
        await self.networks.close()
        await self.tasks.close()
        self.database.close()

    def _network_event(self, action: str, network_id: str, attributes: Mapping[str, str]) -> None:
        self.events.publish("network", action, network_id, attributes)

    def _volume_event(self, action: str, name: str, attributes: Mapping[str, str]) -> None:
        self.events.publish("volume", action, name, attributes)

    def _containers_of_image(self, image_id: str) -> Iterator[tuple[str, bool]]:
        for container in self.containers.using_image(image_id):
            yield container.id, container.running

    def _container_layers(self) -> Iterator[str]:
        """The layers below containers: they must outlive an image that was removed by force."""
        lower_dirs = {path for container in self.containers.all() for path in container.record.lower_dirs}
        return (chain_id for chain_id in self.layers.list() if self.layers.path(chain_id) in lower_dirs)


def _registry_settings(config: EngineConfig) -> RegistrySettings:
    return RegistrySettings(
        mirrors={"docker.io": config.registry_mirrors} if config.registry_mirrors else {},
        insecure=tuple(config.insecure_registries),
        max_concurrent_downloads=config.max_concurrent_downloads,
        max_concurrent_uploads=config.max_concurrent_uploads,
        max_attempts=config.max_download_attempts,
    )
