"""What the module of a command declares: one `COMMAND`."""

from __future__ import annotations

from sampan.cli import flags

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Callable

    from sampan.cli.context import Context

    Run = Callable[[Context, flags.Options, list[str]], int | None]

UNLIMITED = 1 << 30
FORMAT_HELP = """Print through a template: 'json', 'table', 'table TEMPLATE' or 'TEMPLATE' (Go's template language)"""


class Command:
    """`arguments` is the usage's tail, `(least, most)` the number of arguments, `details` further lines for
    --help. `completes` names what its arguments are, for the shell's completion. `raw`: every word is an argument."""

    __slots__ = (
        "arguments",
        "completes",
        "details",
        "flags_text",
        "interspersed",
        "least",
        "most",
        "raw",
        "run",
        "synonyms",
    )

    def __init__(
        self,
        run: Run,
        arguments: str = "",
        least: int = 0,
        most: int = 0,
        flags: str = "",
        *,
        details: str = "",
        interspersed: bool = True,
        synonyms: dict[str, str] | None = None,
        completes: str = "",
        raw: bool = False,
    ) -> None:
        self.run = run
        self.arguments = arguments
        self.least = least
        self.most = most
        self.flags_text = flags
        self.details = details
        self.interspersed = interspersed
        self.synonyms = synonyms
        self.completes = completes
        self.raw = raw

    def flags(self) -> list[flags.Flag]:
        return flags.declare(self.flags_text)

    def check_count(self, name: str, count: int) -> None:
        """Raises UsageError (exit code 1) for too few or too many arguments."""
        if self.least <= count <= self.most:
            return
        if self.most == 0:
            wanted = "accepts no arguments"
        elif self.least == self.most:
            wanted = f"requires {self.least} argument{'s'[: self.least > 1]}"
        elif count < self.least:
            wanted = f"requires at least {self.least} argument{'s'[: self.least > 1]}"
        else:
            wanted = f"requires at most {self.most} argument{'s'[: self.most > 1]}"
        raise flags.UsageError(f"'sampan {name}' {wanted}", exit_code=1)
