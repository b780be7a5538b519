"""`sampan system prune`."""

from __future__ import annotations

from sampan.cli.command import Command
from sampan.cli.context import Context
from sampan.cli.flags import Options, filters_of
from sampan.cli.pruning import reclaimed, report, report_images
from sampan.errors import InvalidArgument

FLAGS = """
-a, --all             All images that nothing uses, not only those without a name
    --filter filter   Only what matches (until=, label=)
-f, --force           Do not ask
    --volumes         Anonymous volumes too
"""


def run(context: Context, options: Options, arguments: list[str]) -> int:
    everything, volumes = options.on("all"), options.on("volumes")
    filters = filters_of(options.many("filter"))
    if volumes and "until" in filters:
        raise InvalidArgument('the "until" filter is not supported with "--volumes"')
    if not options.on("force") and not context.confirm(_warning(everything, volumes, options.many("filter"))):
        return 0
    engine = context.engine
    total = 0
    answer = engine.containers.prune(filters)
    report("Deleted Containers:", answer.get("ContainersDeleted"))
    total += answer.get("SpaceReclaimed") or 0
    answer = engine.networks.prune(filters)
    report("Deleted Networks:", answer.get("NetworksDeleted"))
    if volumes:
        answer = engine.volumes.prune(filters)
        report("Deleted Volumes:", answer.get("VolumesDeleted"))
        total += answer.get("SpaceReclaimed") or 0
    answer = engine.images.prune({**filters, "dangling": ["false" if everything else "true"]})
    report_images(answer.get("ImagesDeleted"))
    total += answer.get("SpaceReclaimed") or 0
    cache_filters = {key: value for key, value in filters.items() if key == "until"}
    answer = engine.images.prune_cache(all=everything, filters=cache_filters)
    report("Deleted build cache objects:", answer.get("CachesDeleted"))
    total += answer.get("SpaceReclaimed") or 0
    reclaimed({"SpaceReclaimed": total})
    return 0


def _warning(everything: bool, volumes: bool, filters: list[str]) -> str:
    parts = ["all stopped containers", "all networks not used by at least one container"]
    if volumes:
        parts.append("all anonymous volumes not used by at least one container")
    if everything:
        parts += ["all images without at least one container associated to them", "all build cache"]
    else:
        parts += ["all dangling images", "unused build cache"]
    text = "WARNING! This will remove:\n" + "".join(f"  - {part}\n" for part in parts)
    if filters:
        text += "\n  Items to be pruned will be filtered with:\n" + "".join(f"  - {part}\n" for part in filters)
    return text


COMMAND = Command(run, "", 0, 0, FLAGS)
