"""Every error that crosses a room's boundary, as one tree.

The kind alone decides the HTTP status that the API answers with and the exit code that a command ends with:

    SampanError                     500    1
    ├── InvalidArgument             400    1   the request is wrong: bad name, bad option, malformed JSON
    │   ├── CommandNotFound         400  127   the container's command does not exist
    │   └── CommandNotExecutable    400  126   it exists and cannot be executed
    ├── Unauthorized                401    1   credentials missing or refused
    ├── Forbidden                   403    1   known, and not allowed
    ├── NotFound                    404    1   no such container, image, network, volume, path
    ├── Conflict                    409    1   the object is in a state that forbids the operation
    ├── NotModified                 304    0   nothing to do: already started, already stopped
    ├── NotSupported                501    1   this kernel, platform or engine cannot
    ├── Unavailable                 503    1   try later, or set something up first
    └── Internal                    500    1   a fault of ours or of the kernel; the message says during what

`sampan run` and `sampan exec` turn every failure of the engine itself into 125, as Docker does.

Messages are complete sentences for a user, in Docker's wording where Docker has one. `hint`, if given, says the way out
and is printed below the message by our CLI.
"""

from __future__ import annotations


class SampanError(Exception):
    """Base of the tree. `message` is for the user; `hint` is the way out, or empty."""

    status = 500
    exit_code = 1

    def __init__(self, message: str, *, hint: str = "") -> None:
        super().__init__(message)
        self.message = message
        self.hint = hint

    def __str__(self) -> str:
        return self.message


class InvalidArgument(SampanError):
    status = 400


class CommandNotFound(InvalidArgument):
    exit_code = 127


class CommandNotExecutable(InvalidArgument):
    exit_code = 126


class Unauthorized(SampanError):
    status = 401


class Forbidden(SampanError):
    status = 403


class NotFound(SampanError):
    status = 404


class Conflict(SampanError):
    status = 409


class NotModified(SampanError):
    status = 304
    exit_code = 0


class NotSupported(SampanError):
    status = 501


class Unavailable(SampanError):
    status = 503


class Internal(SampanError):
    status = 500


def from_os_error(error: OSError) -> Internal:
    """What the kernel refused us, in the words that Docker's clients know: `/path: no space left on device`."""
    text = (error.strerror or str(error) or type(error).__name__).lower()
    return Internal(f"{error.filename}: {text}" if isinstance(error.filename, str) else text)


_BY_STATUS: dict[int, type[SampanError]] = {
    kind.status: kind
    for kind in (
        InvalidArgument,
        Unauthorized,
        Forbidden,
        NotFound,
        Conflict,
        NotModified,
        NotSupported,
        Unavailable,
        Internal,
    )
}


def from_status(status: int, message: str, *, hint: str = "") -> SampanError:
    """The error of the tree that an API answer with `status` stands for; unknown statuses give `Internal`."""
    return _BY_STATUS.get(status, Internal)(message, hint=hint)
