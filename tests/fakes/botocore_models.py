"""botocore's models, read once for all sessions: half of the time that a new session takes."""

from __future__ import annotations

import contextlib
import functools
from typing import TYPE_CHECKING

import pytest
from botocore.loaders import JSONFileLoader, Loader

if TYPE_CHECKING:
    from collections.abc import Iterator


@contextlib.contextmanager
def read_once() -> Iterator[None]:
    """Keep what is read, and which services there are, until the block ends."""
    load, find = JSONFileLoader.load_file, Loader.list_available_services
    read = functools.cache(lambda path: load(JSONFileLoader(), path))
    found: dict[tuple[str, ...], list[str]] = {}

    def list_services(self: Loader, type_name: str) -> list[str]:
        asked = (*self.search_paths, type_name)
        if asked not in found:
            found[asked] = find(self, type_name)
        return found[asked]

    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(JSONFileLoader, "load_file", lambda _self, path: read(path))
        patch.setattr(Loader, "list_available_services", list_services)
        yield
