"""Manifests and indexes as hostile or sloppy registries send them."""

from __future__ import annotations

import json
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from sampan.errors import InvalidArgument, NotSupported, SampanError
from sampan.registry.manifests import DOCKER_MANIFEST, OCI_INDEX, OCI_MANIFEST, parse_manifest, require_image
from sampan.types.digest import sha256_of

A = str(sha256_of(b"a"))
CONFIG = {"mediaType": "application/vnd.oci.image.config.v1+json", "digest": A, "size": 1}


def _parse(document: Any, content_type: str = "") -> Any:
    content = json.dumps(document).encode()
    return parse_manifest(content, sha256_of(content), content_type)


def test_kinds_are_told_apart_with_and_without_media_type() -> None:
    image = {"schemaVersion": 2, "config": CONFIG, "layers": []}
    assert _parse(image).media_type == OCI_MANIFEST
    assert _parse(image, DOCKER_MANIFEST + "; charset=utf-8").media_type == DOCKER_MANIFEST
    assert require_image(_parse(image)).digest == A
    index = {"schemaVersion": 2, "manifests": [{**CONFIG, "mediaType": OCI_MANIFEST}]}
    assert _parse(index).media_type == OCI_INDEX and _parse(index).is_index


@pytest.mark.parametrize(
    "document",
    [
        [],
        {},
        {"schemaVersion": 2},
        {"schemaVersion": 2, "config": {**CONFIG, "digest": "sha256:../../etc/passwd"}},
        {"schemaVersion": 2, "config": {**CONFIG, "size": -1}},
        {"schemaVersion": 2, "config": CONFIG, "layers": [{**CONFIG, "digest": "md5:abc"}]},
        {"schemaVersion": 2, "config": CONFIG, "layers": [CONFIG] * 600},
        {"schemaVersion": 2, "config": "x"},
    ],
)
def test_impossible_manifests_are_refused(document: Any) -> None:
    with pytest.raises(InvalidArgument):
        _parse(document)


def test_schema_1_and_artifacts_are_refused_by_name() -> None:
    with pytest.raises(NotSupported, match="schema 1"):
        _parse({"schemaVersion": 1, "fsLayers": [{"blobSum": A}]})
    chart = {"schemaVersion": 2, "config": {**CONFIG, "mediaType": "application/vnd.cncf.helm.config.v1+json"}}
    with pytest.raises(NotSupported, match="helm"):
        require_image(_parse(chart))


def test_attestations_have_no_platform() -> None:
    entry = {**CONFIG, "platform": {"os": "unknown", "architecture": "unknown"}}
    index = _parse(
        {"schemaVersion": 2, "manifests": [entry, {**CONFIG, "platform": {"os": "linux", "architecture": "arm64"}}]}
    )
    assert index.children[0].target_platform() is None
    assert str(index.children[1].target_platform()) == "linux/arm64"


@given(st.binary(max_size=300))
def test_garbage_never_crashes(content: bytes) -> None:
    with pytest.raises(SampanError):
        parse_manifest(content, sha256_of(content))
