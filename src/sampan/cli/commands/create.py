"""`sampan create`."""

from __future__ import annotations

from sampan.cli import create_options
from sampan.cli.command import UNLIMITED, Command
from sampan.cli.context import Context
from sampan.cli.flags import Options
from sampan.errors import InvalidArgument, NotFound, SampanError

TYPE_CHECKING = False
if TYPE_CHECKING:
    from typing import Any


def create_container(context: Context, options: Options, body: dict[str, Any]) -> str:
    """Fetch the image as --pull says, create the container, write --cidfile and print warnings. The id."""
    image = body["Image"]
    policy = options.text("pull")
    if policy not in ("always", "missing", "never"):
        raise InvalidArgument(f'invalid pull option: \'{policy}\': must be one of "always", "missing" or "never"')
    create_options.check_id_file(options.text("cidfile"))
    if policy == "always":
        _pull(context, options, image)
    containers = context.engine.containers
    try:
        answer = containers.create(body, name=options.text("name"), platform=options.text("platform"))
    except NotFound as error:
        if policy != "missing" or "No such image" not in error.message:
            raise
        if not options.on("quiet"):
            context.warn(f"Unable to find image '{_with_tag(image)}' locally")
        _pull(context, options, image)
        answer = containers.create(body, name=options.text("name"), platform=options.text("platform"))
    for warning in answer.get("Warnings") or []:
        context.warn(f"WARNING: {warning}")
    if options.text("cidfile"):
        create_options.write_id_file(options.text("cidfile"), answer["Id"])
    return str(answer["Id"])


def _pull(context: Context, options: Options, image: str) -> None:
    from sampan.cli.commands.pull import pull_image

    pull_image(context, image, platform=options.text("platform"), quiet=options.on("quiet"), out_fd=2)


def _with_tag(image: str) -> str:
    last = image.rpartition("/")[2]
    return image if ":" in last or "@" in last else image + ":latest"


def run(context: Context, options: Options, arguments: list[str]) -> int:
    try:
        body = create_options.container_body(options, arguments[0], arguments[1:])
        container_id = create_container(context, options, body)
    except SampanError as error:
        error.exit_code = 125 if isinstance(error, InvalidArgument) else error.exit_code
        raise
    context.out(container_id)
    return 0


COMMAND = Command(
    run,
    "IMAGE [COMMAND] [ARG...]",
    1,
    UNLIMITED,
    create_options.FLAGS,
    interspersed=False,
    synonyms=create_options.SYNONYMS,
    completes="images",
)
