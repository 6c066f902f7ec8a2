"""What is used of AWS's package for durable functions, which a function has where it wants them."""

from __future__ import annotations

from lambdallm import _errors

TYPE_CHECKING = False
if TYPE_CHECKING:
    from typing import Any

ATTEMPTS_MAX = 12
"""Of one step, each in an invocation of its own: its own retries are over then."""

WAIT_SECONDS_MAX = 300
"""Between them, so that together they outlast the lease of an invocation that was killed."""


class Sdk:
    """The package, loaded when a chain first runs on it."""

    def __init__(self) -> None:
        """Load it.

        Raises:
            ConfigurationError: It is not there.
        """
        try:
            from aws_durable_execution_sdk_python import config, exceptions, retries
        except ModuleNotFoundError as error:
            message = (
                "Chain.run_durable needs the package aws-durable-execution-sdk-python in the "
                f"function (Python 3.11 or newer): {error}."
            )
            raise _errors.ConfigurationError(message) from error
        self.config = config
        self.exceptions = exceptions
        self.once = config.StepConfig(retry_strategy=self._decide)
        self._decision = retries.RetryDecision

    def at_once(self, concurrency: int, kind: str) -> Any:
        """Return the settings of a `Parallel` or a `Map`: all of them have to succeed."""
        completion: Any = self.config.CompletionConfig
        return getattr(self.config, kind)(
            max_concurrency=concurrency, completion_config=completion.all_successful()
        )

    def _decide(self, error: Exception, attempt: int) -> Any:
        """Say whether a step is tried in another invocation: its own retries are over then."""
        passes = isinstance(error, _errors.DeadlineExceededError) or (
            isinstance(error, _errors.LambdaLLMError) and error.retryable
        )
        if not passes or attempt >= ATTEMPTS_MAX:
            return self._decision.no_retry()
        wanted = getattr(error, "retry_after_seconds", None) or 2.0**attempt
        seconds = max(1, min(WAIT_SECONDS_MAX, round(wanted)))
        return self._decision.retry(self.config.Duration.from_seconds(seconds))
