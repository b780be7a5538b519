"""Base images of a build: found in the store, or pulled with the progress shown in the build's stream."""

from __future__ import annotations

import asyncio
from collections.abc import Mapping
from contextlib import ExitStack
from typing import Any

from sampan.build.classic import ClassicReport
from sampan.build.nodes import Layer
from sampan.build.options import BuildOptions
from sampan.build.plan import BaseImage
from sampan.engine.images import ImageService
from sampan.errors import InvalidArgument, SampanError
from sampan.images.image import Image
from sampan.images.progress import Progress
from sampan.registry.auth import ANONYMOUS, Credentials, credentials_from
from sampan.types.platform import Platform
from sampan.types.reference import Reference

_HUB_KEY = "https://index.docker.io/v1/"


class BuildImages:
    """Resolves the images of one build; each is leased until `leases` ends."""

    def __init__(self, images: ImageService, options: BuildOptions, report: ClassicReport, leases: ExitStack) -> None:
        self._images = images
        self._options = options
        self._report = report
        self._leases = leases

    async def resolve(self, name: str, platform: str) -> BaseImage:
        """The image called `name`; pulled if it is missing, of another platform, or if the build asks for fresh ones.

        Raises:
            InvalidArgument: not a name. Also whatever the pull raises.
        """
        wanted = Platform.parse(platform) if platform else None
        image = self._images.store.find(name)
        if image is None or (wanted is not None and not wanted.matches(image.platform)) or self._pulls(image, name):
            image = await self._pull(name, wanted)
        self._leases.enter_context(self._images.store.lease(image))
        info = self._images.store.layers.info
        layers = tuple(
            Layer(str(chain_id), str(diff_id), info(chain_id).size_bytes)
            for chain_id, diff_id in zip(image.chain_ids, image.diff_ids, strict=True)
        )
        return BaseImage(image.id, image.config, layers, image.platform)

    def _pulls(self, image: Image, name: str) -> bool:
        return self._options.pull and not self._images.store.is_id(image, name)

    async def _pull(self, name: str, platform: Platform | None) -> Image:
        reference = Reference.parse(name).with_default_tag()
        progress = Progress()
        pulling = asyncio.create_task(
            self._images.pull(reference.familiar(), "", platform, self._credentials(reference), progress)
        )
        pulling.add_done_callback(lambda _: progress.end())
        try:
            async for message in progress.messages():
                await self._report.message(message)
            return await pulling
        finally:
            pulling.cancel()
            await asyncio.gather(pulling, return_exceptions=True)

    def _credentials(self, reference: Reference) -> Credentials:
        auths: Mapping[str, Any] = self._options.registry_auth
        domain = reference.domain
        names = [domain, f"https://{domain}", f"http://{domain}", *([_HUB_KEY] if domain == "docker.io" else [])]
        for name in names:
            if name in auths:
                try:
                    return credentials_from(auths[name])
                except SampanError as error:
                    raise InvalidArgument(error.message) from None
        return ANONYMOUS
