"""`sampan pull`."""

from __future__ import annotations

from sampan.cli.command import Command
from sampan.cli.context import Context
from sampan.cli.flags import Options
from sampan.cli.references import DOCKER_HUB, registry_of, split_tag
from sampan.errors import InvalidArgument

FLAGS = """
-a, --all-tags                Fetch every tag of the repository
    --disable-content-trust   Accepted for Docker's sake (default true)
    --platform string         Platform, if the image has several (os/arch[/variant])
-q, --quiet                   Print only the image's name
"""


def run(context: Context, options: Options, arguments: list[str]) -> int:
    name = arguments[0]
    repository, tag = split_tag(name)
    if options.on("all-tags") and tag:
        raise InvalidArgument("tag can't be used with --all-tags/-a")
    if not tag and not options.on("all-tags") and not options.on("quiet"):
        context.out("Using default tag: latest")
    pull_image(
        context, name, platform=options.text("platform"), quiet=options.on("quiet"), all_tags=options.on("all-tags")
    )
    context.out(canonical_name(repository, tag or ("" if options.on("all-tags") else "latest")))
    return 0


def canonical_name(repository: str, tag: str) -> str:
    """The full name with registry, as Docker prints it after a pull."""
    if registry_of(repository) == DOCKER_HUB and not repository.startswith("docker.io/"):
        repository = "docker.io/" + ("" if "/" in repository else "library/") + repository
    separator = "@" if ":" in tag else ":"
    return f"{repository}{separator}{tag}" if tag else repository


def pull_image(
    context: Context, name: str, *, platform: str = "", quiet: bool = False, all_tags: bool = False, out_fd: int = 1
) -> None:
    """Fetch an image and show how, on `out_fd`. Raises the engine's error."""
    import sys

    from sampan.cli.credentials import credentials_for
    from sampan.cli.progress import Display
    from sampan.client.streams import json_messages

    repository, tag = split_tag(name)
    sys.stdout.flush()
    response = context.engine.images.pull(
        repository,
        tag or ("" if all_tags else "latest"),
        platform=platform,
        credentials=credentials_for(context.config, registry_of(repository)),
    )
    if not quiet:
        Display(out_fd).show_all(response)
        return
    silent = _Silent()
    for message in json_messages(response.chunks()):
        silent.show(message)


class _Silent:
    """Shows nothing but an error."""

    def show(self, message: dict[str, object]) -> None:
        from sampan.cli.progress import Display

        if message.get("error") or message.get("errorDetail"):
            Display().show(message)


COMMAND = Command(run, "NAME[:TAG|@DIGEST]", 1, 1, FLAGS)
