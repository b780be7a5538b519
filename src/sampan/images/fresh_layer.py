"""A layer on its way into an image: it goes again if nothing comes to need it."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator, Callable
from contextlib import asynccontextmanager

from sampan.content.layers import LayerInfo
from sampan.images.store import ImageStore


@asynccontextmanager
async def fresh_layer(store: ImageStore, make: Callable[[], LayerInfo]) -> AsyncIterator[LayerInfo]:
    """The layer that `make` makes in a thread. After the block it is deleted, unless an image needs it then: the block
    failed, or the layer is empty. That also holds for a caller that is cancelled while the thread works.
    """
    job = asyncio.ensure_future(asyncio.to_thread(make))
    try:
        layer = await asyncio.shield(job)
    except asyncio.CancelledError:
        job.add_done_callback(lambda done: _drop(store, done))
        raise
    try:
        with store.layers.lease([layer.chain_id]):
            yield layer
    finally:
        store.collect([layer.chain_id])


def _drop(store: ImageStore, job: asyncio.Future[LayerInfo]) -> None:
    if not job.cancelled() and job.exception() is None:
        store.collect([job.result().chain_id])
