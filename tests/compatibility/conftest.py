"""Sessions in memory, and no sidecar."""

from collections.abc import Iterator
from pathlib import Path

import pytest

from lambdallm import _transport


@pytest.fixture(autouse=True)
def sessions_in_memory(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> Iterator[None]:
    monkeypatch.setenv("LAMBDALLM_STORE", "memory:")
    monkeypatch.setenv("LAMBDALLM_SIDECAR", "off")
    monkeypatch.chdir(tmp_path)
    before = _transport.replace(None)
    yield
    used = _transport.replace(before)
    if used is not None:
        used.close()
