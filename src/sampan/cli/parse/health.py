"""--health-* and --no-healthcheck."""

from __future__ import annotations

from sampan.cli.flags import Options
from sampan.errors import InvalidArgument

TYPE_CHECKING = False
if TYPE_CHECKING:
    from typing import Any

_TIMES = {
    "health-interval": "Interval",
    "health-timeout": "Timeout",
    "health-start-period": "StartPeriod",
    "health-start-interval": "StartInterval",
}


def parse_health(options: Options) -> dict[str, Any] | None:
    """The API's HealthConfig, or None if no flag was given. Times are nanoseconds."""
    given = [name for name in (*_TIMES, "health-cmd", "health-retries") if options.changed(name)]
    if options.on("no-healthcheck"):
        if given:
            raise InvalidArgument("--no-healthcheck conflicts with --health-* options")
        return {"Test": ["NONE"]}
    if not given:
        return None
    check: dict[str, Any] = {}
    if options.text("health-cmd"):
        check["Test"] = ["CMD-SHELL", options.text("health-cmd")]
    for flag, key in _TIMES.items():
        if options.number(flag) < 0:
            raise InvalidArgument(f"--{flag} cannot be negative")
        check[key] = options.number(flag)
    if options.number("health-retries") < 0:
        raise InvalidArgument("--health-retries cannot be negative")
    check["Retries"] = options.number("health-retries")
    return check
