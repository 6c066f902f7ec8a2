"""Fixtures for pytest; found by it where lambdallm is installed."""

from __future__ import annotations

from typing import TYPE_CHECKING

import pytest

if TYPE_CHECKING:
    from collections.abc import Iterator

    from lambdallm.testing.mocks import MockProvider


@pytest.fixture
def lambdallm_model() -> Iterator[MockProvider]:
    """Answer every model call of this test from a script, and keep its sessions in memory.

    The engine is the real one, embedded, with a store of its own: nothing is left behind.
    """
    from lambdallm import _embedded, _settings, _transport
    from lambdallm.testing.mocks import mock_model

    overrides = {"LAMBDALLM_STORE": "memory:", "LAMBDALLM_TELEMETRY": "off"}
    transport = _embedded.EmbeddedTransport.start(_settings.environ_with(overrides))
    before = _transport.replace(transport)
    try:
        with mock_model() as provider:
            yield provider
    finally:
        _transport.replace(before)
        transport.close()
