"""Durable functions on AWS's local runner, and its API, over HTTP, for who finishes callbacks."""

from __future__ import annotations

import asyncio
import contextlib
import json
import logging
import threading
from typing import TYPE_CHECKING, Any

import pytest

from fakes.waiting import until

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator


class Durable:
    """A durable function.

    Attributes:
        runner: AWS's.
        url: Of the API that finishes callbacks.
    """

    def __init__(self, runner: Any, url: str) -> None:
        """Stand on a runner."""
        self.runner = runner
        self.url = url

    def start(self, given: Any) -> str:
        """Start an execution, and return its ARN."""
        return str(self.runner.run_async(input=json.dumps(given)))

    def wait(self, arn: str) -> tuple[str, Any]:
        """Return an execution's status when it has ended, and its result or its error."""
        ended = self.runner.wait_for_result(arn)
        told = json.loads(ended.result) if ended.result else ended.error
        return ended.status.name, told

    def wait_checkpointed(self, arn: str, name: str) -> None:
        """Wait until a step's success is in the execution's history: it is not done again then."""

        def is_told() -> bool:
            events = self.runner._executor.get_execution_history(arn).events
            return any((each.name, each.event_type) == (name, "StepSucceeded") for each in events)

        until(is_told)

    def run(self, given: Any) -> tuple[str, Any]:
        """Do an execution."""
        return self.wait(self.start(given))


@contextlib.contextmanager
def serve_durable(work: Callable[[Any, Any], Any]) -> Iterator[Durable]:
    """Run a function of `(event, durable context)` as a durable one."""
    sdk = pytest.importorskip("aws_durable_execution_sdk_python")
    testing = pytest.importorskip("aws_durable_execution_sdk_python_testing")
    web = pytest.importorskip("aws_durable_execution_sdk_python_testing.web.server")
    runner = testing.DurableFunctionTestRunner(sdk.durable_execution(work), poll_interval=0.02)
    runner._executor.RETRY_BACKOFF_SECONDS = 0.0
    config = web.WebServiceConfig(host="127.0.0.1", port=0, log_level=logging.WARNING)
    server = web.WebServer(config, runner._executor)
    thread = threading.Thread(target=server.serve_forever, args=(0.02,), daemon=True)
    thread.start()
    try:
        yield Durable(runner, f"http://127.0.0.1:{server.server_address[1]}")
    finally:
        server.shutdown()
        server.server_close()
        thread.join()
        runner.close()
        _close_loop(runner._scheduler)


def _close_loop(scheduler: Any) -> None:
    """Let what it has cancelled end, and close it."""
    loop = scheduler._loop
    left = asyncio.all_tasks(loop)
    if left:
        loop.run_until_complete(asyncio.wait(left))
    loop.close()
