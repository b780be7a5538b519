"""Sessions: connections that clients opened for the engine to call them back on."""

from __future__ import annotations

import asyncio
from collections.abc import Iterable
from typing import BinaryIO

from grpclib.client import Channel, UnaryUnaryMethod
from grpclib.const import Cardinality, Status
from grpclib.exceptions import GRPCError

from sampan.build.buildkit.messages import (
    BytesMessage,
    CredentialsRequest,
    CredentialsResponse,
    GetSecretRequest,
    GetSecretResponse,
)
from sampan.errors import InvalidArgument, Unavailable

_CREDENTIALS = "/moby.filesync.v1.Auth/Credentials"
_PULL = "/moby.upload.v1.Upload/Pull"
_GET_SECRET = "/moby.buildkit.secrets.v1.Secrets/GetSecret"


class ClientSession:
    """`methods` are those that the client offers, such as `/moby.filesync.v1.FileSync/DiffCopy`."""

    def __init__(self, session_id: str, methods: Iterable[str], channel: Channel) -> None:
        self.id = session_id
        self.methods = {method.lower() for method in methods}
        self.channel = channel

    def offers(self, method: str) -> bool:
        return method.lower() in self.methods

    async def credentials(self, host: str) -> tuple[str, str] | None:
        """The client's user name and secret for a registry, None if it has none."""
        if not self.offers(_CREDENTIALS):
            return None
        call = UnaryUnaryMethod(self.channel, _CREDENTIALS, CredentialsRequest, CredentialsResponse)
        answer = await call(CredentialsRequest(Host=host))
        return (answer.Username, answer.Secret) if answer.Username or answer.Secret else None

    async def secret(self, secret_id: str) -> bytes | None:
        """The secret's content, None if the client has none of that id.

        Raises:
            InvalidArgument: the client fails to read it.
        """
        if not self.offers(_GET_SECRET):
            return None
        call = UnaryUnaryMethod(self.channel, _GET_SECRET, GetSecretRequest, GetSecretResponse)
        try:
            return (await call(GetSecretRequest(ID=secret_id))).data
        except GRPCError as error:
            if error.status is Status.NOT_FOUND:
                return None
            raise InvalidArgument(f"failed to get secret {secret_id}: {error.message}") from None

    async def upload(self, path: str, host: str, out: BinaryIO) -> None:
        """Write to `out` what the client holds ready at `http://<host><path>`, such as the standard input of
        `docker build -`.

        Raises:
            InvalidArgument: the client has nothing there.
        """
        metadata = {"urlpath": path, "urlhost": host}
        request = self.channel.request(_PULL, Cardinality.STREAM_STREAM, BytesMessage, BytesMessage, metadata=metadata)
        try:
            async with request as stream:
                await stream.send_request(end=True)
                while (message := await stream.recv_message()) is not None:
                    out.write(message.data)
        except GRPCError as error:
            raise InvalidArgument(f"failed to read the build context: {error.message}") from None


class Sessions:
    """By id. A build that names a session may come before it: `wait` is patient."""

    def __init__(self) -> None:
        self._sessions: dict[str, ClientSession] = {}
        self._arrived = asyncio.Condition()

    async def add(self, session: ClientSession) -> None:
        async with self._arrived:
            self._sessions[session.id] = session
            self._arrived.notify_all()

    def remove(self, session: ClientSession) -> None:
        if self._sessions.get(session.id) is session:
            del self._sessions[session.id]

    async def wait(self, session_id: str, timeout_s: float) -> ClientSession:
        """
        Raises:
            Unavailable: no such session within the time.
        """
        try:
            async with asyncio.timeout(timeout_s), self._arrived:
                await self._arrived.wait_for(lambda: session_id in self._sessions)
                return self._sessions[session_id]
        except TimeoutError:
            raise Unavailable(f"no active session for {session_id}: context deadline exceeded") from None
