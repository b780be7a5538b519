"""The one error of templates."""

from __future__ import annotations

from sampan.errors import InvalidArgument


class TemplateError(InvalidArgument):
    """The template cannot be parsed, or not be executed on this value."""

    def __init__(self, message: str, *, parsing: bool = False) -> None:
        self.exit_code = 64 if parsing else 1
        super().__init__(
            f"template parsing error: template: {message}" if parsing else f"template: {message}",
            hint="`--format json` prints every field there is",
        )
