"""A function whose own start takes the only CPU for longer than the sidecar would need."""

from __future__ import annotations

import os
import sys
from typing import TYPE_CHECKING

import pytest

from e2e.chats import CHAT, lines_with, post, reply_of

if TYPE_CHECKING:
    from collections.abc import Iterator
    from pathlib import Path

    from e2e.conftest import Start

LARGE_IMPORT = """
import time
until = time.process_time() + 1.5
while time.process_time() < until:
    pass
"""


@pytest.fixture
def one_cpu() -> Iterator[None]:
    """Whatever the test starts shares one CPU, as in a function below 1,769 MB."""
    if sys.platform != "linux":
        pytest.skip("a process cannot be bound to a CPU here")
    before = os.sched_getaffinity(0)
    os.sched_setaffinity(0, {max(before)})
    yield
    os.sched_setaffinity(0, before)


@pytest.mark.usefixtures("one_cpu")
def test_the_first_invocation_finds_a_sidecar_that_gave_way_to_a_large_import(
    host: Start, layer: Path, chat_variables: dict[str, str]
) -> None:
    """Loading has a low priority, so it may end when the function has imported all."""
    with host(
        {"app.py": LARGE_IMPORT + CHAT.read_text()},
        "app.chat_handler",
        opt=layer,
        variables=chat_variables,
        timeout_seconds=20,
    ) as environment:
        first = environment.invoke(post(f"{host.name}-busy-start", "one"))
        assert reply_of(first) == "You said 1 things."
        assert not lines_with(environment, "the embedded engine serves")
        assert len(lines_with(environment, '"CostUSD"')) == 1
