"""Names of capabilities as a request gives them."""

from __future__ import annotations

from sampan.errors import InvalidArgument
from sampan.linux.capabilities import NAMES as CAPABILITIES


def normalise_capabilities(names: list[str] | None, field: str) -> list[str]:
    """`CAP_`-prefixed upper-case names; `ALL` stays.

    Raises:
        InvalidArgument: an unknown capability.
    """
    found = []
    for name in names or ():
        upper = name.upper()
        full = upper if upper == "ALL" or upper.startswith("CAP_") else f"CAP_{upper}"
        if full == "CAP_ALL":
            full = "ALL"
        if full != "ALL" and full not in CAPABILITIES:
            raise InvalidArgument(f'invalid {field}: unknown capability: "{full}"')
        found.append(full)
    return found
