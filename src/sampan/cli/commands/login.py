"""`sampan login`."""

from __future__ import annotations

import sys

from sampan.cli import terminal
from sampan.cli.command import Command
from sampan.cli.context import Context
from sampan.cli.flags import Options
from sampan.errors import InvalidArgument, SampanError

FLAGS = """
-p, --password string   Password or access token
    --password-stdin    Read it from standard input
-u, --username string   User name
"""


def run(context: Context, options: Options, arguments: list[str]) -> int:
    from sampan.cli.credentials import credentials_for, storage_key

    registry = storage_key(arguments[0] if arguments else "")
    user, password = options.text("username"), options.text("password")
    if options.on("password-stdin"):
        if password:
            raise InvalidArgument("--password and --password-stdin are mutually exclusive")
        if not user:
            raise InvalidArgument("the --password-stdin option requires --username to be set")
        password = sys.stdin.read().removesuffix("\n").removesuffix("\r")
    elif password:
        context.warn("WARNING! Using --password via the CLI is insecure. Use --password-stdin.")
    known = credentials_for(context.config, registry)
    if not user and not password and known.get("username"):
        context.out(f"Authenticating with existing credentials... [Username: {known['username']}]\n")
        try:
            return _login(context, registry, known["username"], known["password"])
        except SampanError as error:
            context.warn(f"Login did not succeed, error: {error}")
    user, password = _asked(registry, user or known.get("username", ""), password)
    return _login(context, registry, user, password, remember=True)


def _asked(registry: str, user: str, password: str) -> tuple[str, str]:
    """Ask for what is missing. Raises InvalidArgument where nobody can be asked."""
    if (not user or not password) and not terminal.is_terminal(0):
        raise InvalidArgument(
            "Cannot perform an interactive login from a non TTY device", hint="use -u and --password-stdin"
        )
    if not user:
        sys.stdout.write("Username: ")
        sys.stdout.flush()
        user = sys.stdin.readline().strip()
        if not user:
            raise InvalidArgument("username is required")
    if not password:
        import getpass

        password = getpass.getpass(f"Password for {user} at {registry}: ")
        if not password:
            raise InvalidArgument("password is required")
    return user, password


def _login(context: Context, registry: str, user: str, password: str, remember: bool = False) -> int:
    from sampan.cli.credentials import store

    answer = context.engine.system.login({"username": user, "password": password, "serveraddress": registry})
    if remember and store(context.config, registry, user, password, answer.get("IdentityToken") or ""):
        context.warn(
            f"\nWARNING! Your credentials are stored unencrypted in '{context.config.path}'.\n"
            "A credential helper (credsStore in that file) would keep them safe.\n"
        )
    context.out(answer.get("Status") or "Login Succeeded")
    return 0


COMMAND = Command(run, "[SERVER]", 0, 1, FLAGS, details="Without a server it is Docker Hub.")
