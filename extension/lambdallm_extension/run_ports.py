"""What runs need of the world beside a store: somebody who goes on with them."""

from __future__ import annotations

from lambda_runtime_api.declarations import NamedTuple, Protocol


class Resumption(NamedTuple):
    """How a run is gone on with when an attempt has not finished it.

    Attributes:
        via: `self` (an asynchronous invocation), `sqs` (a delayed message), or `schedule`.
        target: ARN of the function; for `sqs` it is whoever reads the queue.
        queue_url: Of the queue, for `sqs`.
        role_arn: What EventBridge Scheduler invokes the function as, for `schedule`.
        event: JSON that the function is invoked with.
        name: Of this run, 1 to 64 letters, digits, `-` and `_`: a schedule is called so.
    """

    via: str
    target: str
    queue_url: str
    role_arn: str
    event: str
    name: str


class Resumer(Protocol):
    """Invokes functions later. Each of these may be sent twice.

    Raises:
        SettingError: A permission or a name has to be set right; the sentence says which.
        StoreUnavailableError: The service did not answer.
    """

    def resume(self, resumption: Resumption, *, delay_seconds: int, deadline_ms: int) -> None:
        """Let the function be invoked, after a delay where the way has one."""
        ...

    def watch(self, resumption: Resumption, *, at_epoch_ms: int, deadline_ms: int) -> None:
        """Let the function be invoked at a time, unless it is told otherwise before; `schedule`."""
        ...

    def unwatch(self, resumption: Resumption, *, deadline_ms: int) -> None:
        """Tell it otherwise."""
        ...
