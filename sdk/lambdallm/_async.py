"""Coroutines of `async def` handlers, on one event loop per process.

One loop, because clients that were opened in one invocation belong to it and work on in the
next. Nobody else pays for asyncio: this module is imported with the first coroutine.
"""

from __future__ import annotations

import asyncio
import os
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from collections.abc import Coroutine
    from typing import Any

_loops: dict[int, asyncio.AbstractEventLoop] = {}


def run(coroutine: Coroutine[Any, Any, Any]) -> Any:
    """Run a coroutine to its end and return its result."""
    process = os.getpid()
    loop = _loops.get(process)
    if loop is None or loop.is_closed():
        loop = asyncio.new_event_loop()
        asyncio.set_event_loop(loop)
        _loops[process] = loop
    return loop.run_until_complete(coroutine)
