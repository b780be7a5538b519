"""TLS of the engine's TCP listeners, as dockerd's `--tls*` flags ask for it."""

from __future__ import annotations

import ssl

from sampan.engine.config import EngineConfig
from sampan.errors import InvalidArgument


def server_context(config: EngineConfig) -> ssl.SSLContext | None:
    """The context for TCP listeners, or None without TLS; with `tlsverify`, clients must show a certificate of the CA.

    Raises:
        InvalidArgument: a file is missing or malformed.
    """
    if not (config.tls or config.tlsverify):
        return None
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
    context.minimum_version = ssl.TLSVersion.TLSv1_2
    try:
        context.load_cert_chain(config.tlscert, config.tlskey)
        if config.tlsverify:
            context.load_verify_locations(config.tlscacert)
            context.verify_mode = ssl.CERT_REQUIRED
    except (OSError, ssl.SSLError) as error:
        raise InvalidArgument(f"cannot load TLS files {config.tlscert}, {config.tlskey}: {error}") from None
    return context
