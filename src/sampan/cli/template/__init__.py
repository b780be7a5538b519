"""Go's text/template, as far as `--format` needs it, with the functions that Docker adds.

    text = Template("{{range .Mounts}}{{.Source}}{{println}}{{end}}").execute(value)

`value` is what JSON decodes to, or an object with `go_field(name, arguments)` and `go_json()` (a row of a table).
Values print as Go prints them: `[a b]`, `map[k:v]`, `true`, `<no value>`.

    lexer → parser (nodes) → evaluate, with values (comparison, truth, printing) and functions

Errors are `TemplateError`, worded after Go's.
"""

from __future__ import annotations

from sampan.cli.template.errors import TemplateError
from sampan.cli.template.evaluate import Evaluator
from sampan.cli.template.parser import parse

TYPE_CHECKING = False
if TYPE_CHECKING:
    from typing import Any


class Template:
    """A parsed template; raises TemplateError if it is malformed."""

    def __init__(self, text: str) -> None:
        self._tree, self._named = parse(text)

    def execute(self, value: Any, *, headers: bool = False) -> str:
        """The text for `value`. With `headers`, functions that change text leave it: it is a table's header."""
        return Evaluator(self._named, headers=headers).run(self._tree, value)


def print_value(format: str, value: Any) -> None:
    """One object on stdout through --format: 'json' or a template."""
    import sys

    text = Template("{{json .}}" if format.strip() == "json" else format).execute(value)
    sys.stdout.write(text + "\n")


__all__ = ["Template", "TemplateError", "print_value"]
