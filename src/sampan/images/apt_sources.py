"""Where packages come from on this machine, as apt itself sees it, and what of that an image may carry.

apt is asked (`apt-get indextargets`, `apt-config dump`) rather than its files parsed, so every format and every fragment
counts. An image gets the same mirrors and those settings without which they cannot be used; it never gets credentials, nor
what only this machine can reach: files, loopback addresses.
"""

from __future__ import annotations

import os
import re
from collections.abc import Iterable
from typing import NamedTuple
from urllib.parse import urlsplit

from sampan.errors import NotFound


class Distribution(NamedTuple):
    """What has to be known of a distribution; `security_suffix` and the others are appended to the suite's name."""

    name: str
    mirror: str
    security_mirror: str
    keyring: str
    keyring_package: str
    components: str
    suites: tuple[str, ...]
    variant: str


DISTRIBUTIONS = {
    "debian": Distribution(
        name="debian",
        mirror="http://deb.debian.org/debian",
        security_mirror="http://deb.debian.org/debian-security",
        keyring="/usr/share/keyrings/debian-archive-keyring.gpg",
        keyring_package="debian-archive-keyring",
        components="main",
        suites=("bullseye", "bookworm", "trixie", "forky", "sid"),
        variant="minbase",
    ),
    "ubuntu": Distribution(
        name="ubuntu",
        mirror="http://archive.ubuntu.com/ubuntu",
        security_mirror="http://security.ubuntu.com/ubuntu",
        keyring="/usr/share/keyrings/ubuntu-archive-keyring.gpg",
        keyring_package="ubuntu-keyring",
        components="main universe",
        suites=("focal", "jammy", "noble", "questing", "resolute"),
        variant="minbase",
    ),
}
_ALIASES = {
    ("debian", ""): "bookworm",
    ("debian", "latest"): "bookworm",
    ("debian", "11"): "bullseye",
    ("debian", "12"): "bookworm",
    ("debian", "13"): "trixie",
    ("debian", "unstable"): "sid",
    ("ubuntu", ""): "noble",
    ("ubuntu", "latest"): "noble",
    ("ubuntu", "20.04"): "focal",
    ("ubuntu", "22.04"): "jammy",
    ("ubuntu", "24.04"): "noble",
}
# settings of apt that belong to the way to a mirror
_CARRIED = re.compile(
    r"Acquire::(Check-Valid-Until|Check-Date|Max-ValidTime|Max-FutureTime|Retries|ForceIPv4|ForceIPv6"
    r"|Languages|(?:http|https)::(?:Proxy|Proxy::[\w.-]+|Pipeline-Depth|No-Cache|Timeout))\Z",
    re.IGNORECASE,
)


class Source(NamedTuple):
    """One line of sources: a mirror, a suite, its components separated by spaces."""

    uri: str
    suite: str
    components: str


def find(distribution: str, release: str) -> tuple[Distribution, str]:
    """The distribution and the suite that `debian:12`, `ubuntu:noble`, … mean.

    Raises:
        NotFound: nothing that we could bootstrap.
    """
    known = DISTRIBUTIONS.get(distribution)
    suite = _ALIASES.get((distribution, release), release.removesuffix("-slim"))
    if known is None or suite not in known.suites:
        names = ", ".join(f"{item.name}:{suite}" for item in DISTRIBUTIONS.values() for suite in item.suites)
        raise NotFound(f"cannot bootstrap {distribution}:{release}", hint=f"known: busybox, {names}")
    return known, suite


def choose(distribution: Distribution, suite: str, targets: str) -> list[Source]:
    """The sources of `suite`: the machine's own if it has them, else its mirrors of another suite, else the public ones.

    `targets` is what `apt-get indextargets --format '$(REPO_URI)|$(RELEASE)|$(COMPONENT)'` prints.
    """
    host = list(_parse(targets))
    own = [source for source in host if source.suite.split("-")[0] == suite and _is_archive(source, distribution)]
    main = [source for source in own if source.suite == suite]
    mirror = main[0].uri if main else _mirror(host, distribution, security=False)
    security = next((source.uri for source in own if source.suite.endswith("-security")), None)
    security = security or _mirror(host, distribution, security=True)
    components = " ".join(dict.fromkeys(word for source in main for word in source.components.split()))
    components = components or distribution.components
    sources = [Source(mirror, suite, components)]
    if suite != "sid":
        sources.append(Source(mirror, f"{suite}-updates", components))
        sources.append(Source(security, f"{suite}-security", components))
    return sources


def _parse(targets: str) -> Iterable[Source]:
    merged: dict[tuple[str, str], list[str]] = {}
    for line in targets.splitlines():
        parts = line.split("|")
        if len(parts) == 3 and all(parts):
            merged.setdefault((parts[0].rstrip("/"), parts[1]), []).append(parts[2])
    for (uri, suite), components in merged.items():
        yield Source(uri, suite, " ".join(dict.fromkeys(components)))


def _is_archive(source: Source, distribution: Distribution) -> bool:
    """Whether this looks like a mirror of the distribution's archive, not somebody's own repository."""
    last = urlsplit(source.uri).path.rstrip("/").rpartition("/")[2]
    return last in (distribution.name, f"{distribution.name}-security", "ubuntu-ports")


def _mirror(host: list[Source], distribution: Distribution, *, security: bool) -> str:
    for source in host:
        if _is_archive(source, distribution) and ("security" in source.suite) == security:
            return source.uri
    return distribution.security_mirror if security else distribution.mirror


def packages(sources: Iterable[Source]) -> list[str]:
    """What an image needs beside the required packages so that `apt-get` works in it. Ubuntu does not require apt."""
    needs_tls = any(source.uri.startswith("https:") for source in sources)
    return ["apt", "ca-certificates"] if needs_tls else ["apt"]


def for_image(sources: Iterable[Source], distribution: Distribution) -> list[Source]:
    """The same sources as a container can reach them: local ones become the public mirrors, credentials are cut."""
    result = []
    for source in sources:
        parts = urlsplit(source.uri)
        if parts.scheme in ("http", "https") and not is_loopback(parts.hostname or ""):
            host = parts.netloc.rpartition("@")[2]
            uri = parts._replace(netloc=host).geturl()
        else:
            uri = distribution.security_mirror if source.suite.endswith("-security") else distribution.mirror
        result.append(source._replace(uri=uri))
    return result


def is_loopback(host: str) -> bool:
    return host in ("", "localhost", "::1") or host.startswith("127.")


def settings(dump: str, *, for_container: bool) -> dict[str, str]:
    """Those of apt's settings that belong to the way to its mirrors; `for_container` leaves out secrets and loopback.

    `dump` is what `apt-config dump` prints.
    """
    found: dict[str, str] = {}
    for line in dump.splitlines():
        match = re.fullmatch(r'([\w:.-]+) "(.*)";', line)
        if match is None or not match[2] or not _CARRIED.match(match[1]):
            continue
        key, value = match[1], match[2]
        if for_container and "::proxy" in key.lower() and value.upper() != "DIRECT":
            parts = urlsplit(value)
            if is_loopback(parts.hostname or ""):
                continue
            value = parts._replace(netloc=parts.netloc.rpartition("@")[2]).geturl()
        found[key] = value
    return found


def render_settings(values: dict[str, str]) -> str:
    return "".join(f'{key} "{value}";\n' for key, value in sorted(values.items()))


def render_sources(sources: Iterable[Source], keyring: str) -> str:
    """deb822, one stanza per mirror (sources.list(5))."""
    stanzas: dict[tuple[str, str], list[str]] = {}
    for source in sources:
        stanzas.setdefault((source.uri, source.components), []).append(source.suite)
    return "\n".join(
        f"Types: deb\nURIs: {uri}\nSuites: {' '.join(suites)}\nComponents: {components}\nSigned-By: {keyring}\n"
        for (uri, components), suites in stanzas.items()
    )


def one_line(source: Source, keyring: str) -> str:
    """The old format, which mmdebstrap takes as an argument."""
    signed = f"[signed-by={keyring}] " if os.path.exists(keyring) else ""
    return f"deb {signed}{source.uri} {source.suite} {source.components}"
