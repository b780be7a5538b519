"""All endpoints of the API, in the order in which the router tries them."""

from __future__ import annotations

from sampan.api import archive, attach, build, buildkit, containers, exec, images, logs, networks, system, volumes
from sampan.api.routing import Route

ROUTES: list[Route] = [
    *system.ROUTES,
    *containers.ROUTES,
    *attach.ROUTES,
    *logs.ROUTES,
    *archive.ROUTES,
    *exec.ROUTES,
    *images.ROUTES,
    *build.ROUTES,
    *buildkit.ROUTES,
    *networks.ROUTES,
    *volumes.ROUTES,
]
