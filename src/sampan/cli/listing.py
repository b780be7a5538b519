"""Tables of objects, and --format over them: 'table', 'json', 'table TEMPLATE', 'TEMPLATE'.

A `Listing` names the fields of a kind of object in Docker's words: for each the table's header and how its text is made.
Without --format no template engine is imported.
"""

from __future__ import annotations

import sys

from sampan.cli.tabwriter import align

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Callable, Iterable
    from typing import Any

    Field = tuple[str, Callable[..., Any]]


class Listing:
    """`fields`: name → (header, function of the object); `columns`: the fields of the default table.

    A function may take further arguments, which a template gives it: `{{.Label "name"}}`.
    """

    __slots__ = ("columns", "fields", "not_in_json")

    def __init__(self, fields: dict[str, Field], columns: list[str], not_in_json: tuple[str, ...] = ("Label",)) -> None:
        self.fields = fields
        self.columns = columns
        self.not_in_json = not_in_json


class Row:
    """One object as a template sees it."""

    __slots__ = ("_item", "_listing")

    def __init__(self, listing: Listing, item: Any) -> None:
        self._listing = listing
        self._item = item

    def go_field(self, name: str, arguments: list[Any]) -> Any:
        """Raises KeyError if there is no such field."""
        return self._listing.fields[name][1](self._item, *arguments)

    def go_json(self) -> dict[str, Any]:
        """All fields, sorted, as `{{json .}}` prints them."""
        listing = self._listing
        return {
            name: function(self._item)
            for name, (_, function) in sorted(listing.fields.items())
            if name not in listing.not_in_json
        }


class HeaderRow:
    """The same fields, each standing for its header."""

    __slots__ = ("_listing",)

    def __init__(self, listing: Listing) -> None:
        self._listing = listing

    def go_field(self, name: str, arguments: list[Any]) -> Any:
        header = self._listing.fields[name][0]
        if name == "Label" and arguments:
            # As Docker: the label's last part, as a title.
            last = str(arguments[0]).split(".")[-1]
            return last.replace("-", " ").replace("_", " ")
        return header

    def go_json(self) -> dict[str, Any]:
        return {name: header for name, (header, _) in sorted(self._listing.fields.items())}


def show(
    listing: Listing, items: Iterable[Any], format: str, *, quiet_field: str = "", columns: list[str] | None = None
) -> None:
    """Print `items`. With `quiet_field` only that field, unless a template is given."""
    format = format.strip(" ")
    if quiet_field and format in ("", "table"):
        text = "".join(f"{listing.fields[quiet_field][1](item)}\n" for item in items)
        sys.stdout.write(text)
        return
    if format in ("", "table"):
        sys.stdout.write(default_table(listing, items, columns or listing.columns))
        return
    from sampan.cli.template import Template

    if format == "json":
        format = "{{json .}}"
    is_table = format.startswith("table ")
    if is_table:
        format = format[6:].lstrip(" ")
    template = Template(unescape(format))
    rows = [template.execute(Row(listing, item)) for item in items]
    if not is_table:
        sys.stdout.write("".join(f"{row}\n" for row in rows))
        return
    header = template.execute(HeaderRow(listing), headers=True)
    sys.stdout.write(align("\n".join([header, *rows])) + "\n")


def default_table(listing: Listing, items: Iterable[Any], columns: list[str]) -> str:
    """The table that is printed without --format."""
    fields = [listing.fields[column] for column in columns]
    lines = ["\t".join(header for header, _ in fields)]
    lines.extend("\t".join(str(function(item)) for _, function in fields) for item in items)
    return align("\n".join(lines)) + "\n"


def unescape(format: str) -> str:
    """The two escapes that shells pass on unread."""
    return format.replace("\\t", "\t").replace("\\n", "\n")


def short_id(text: str) -> str:
    """The first twelve digits of an id, without its algorithm."""
    return text.rpartition(":")[2][:12]


def shorten(text: str, width: int) -> str:
    """At most `width` characters, the last an ellipsis if something was cut."""
    return text if len(text) <= width else text[: width - 1] + "…"


def joined_labels(labels: dict[str, str] | None) -> str:
    return ",".join(f"{key}={value}" for key, value in sorted((labels or {}).items()))
