"""Everything the sidecar refuses or fails at, as one tree.

    ExtensionError                         code
    ├── InvalidRequestError                invalid_request    the caller's message is wrong
    ├── SettingError                       configuration      somebody must change a setting
    ├── DeadlineError                      deadline_exceeded  the invocation has no time left
    ├── OverloadedError                    sidecar            too much is waiting already
    ├── BudgetExceededError                budget_exceeded    the money is spent, or may be
    ├── ProviderError                      model_invocation   a model's API refused or failed
    ├── PushError                          sidecar            API Gateway failed at a push
    │   └── PushThrottledError             rate_limited       it takes no more of them now
    └── StoreError                         state
        ├── StoreUnavailableError                             a read failed; nothing was written
        ├── NotYetStoredError                                 what the caller has seen is on its way
        ├── LostExchangeError                                 what the caller has seen will not come
        ├── StoreRefusedError                                 permission, table or item at fault
        │   ├── OnePartitionError                             a transaction over two of them
        │   └── TooMuchAtOnceError                            more than there is memory for
        ├── RunBusyError                                      another attempt holds the run
        ├── RunLostError                                      it was taken over, or stopped
        ├── WriteUncertainError                               the write may have happened
        └── ConditionFailedError                              somebody was first; nothing written

Catch at a branch. On the wire an error is a problem (`lambdallm_wire.errors`).
"""

from __future__ import annotations

from lambdallm_wire import errors as wire_errors

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Sequence
    from typing import ClassVar

    from lambdallm_extension.ports import Item
    from lambdallm_wire.problems import Problem


FIRST_ERROR_STATUS = 400
"""Of HTTP: this and what is above it says that something failed."""


class ExtensionError(Exception):
    """Root of the tree. `detail` says what happened and what to do."""

    code: ClassVar[str] = "sidecar"
    retryable: bool = False
    retry_after_seconds: float | None = None
    source: str = "lambdallm"

    def __init__(self, detail: str) -> None:
        super().__init__(detail)
        self.detail = detail

    def to_problem(self, request_id: str | None = None) -> Problem:
        """Turn it into what travels on the wire."""
        return wire_errors.problem(
            self.code,
            self.detail,
            retryable=self.retryable,
            retry_after_seconds=self.retry_after_seconds,
            request_id=request_id,
            source=self.source,
        )


class InvalidRequestError(ExtensionError):
    """The caller's message is not what the route takes. Nothing was done."""

    code = "invalid_request"


class SettingError(ExtensionError):
    """A setting is missing or wrong; `detail` names the variable. Nothing was done."""

    code = "configuration"


class DeadlineError(ExtensionError):
    """Too little of the invocation is left for what was asked."""

    code = "deadline_exceeded"


class OverloadedError(ExtensionError):
    """A queue of ours is full. Nothing was done."""

    retryable = True


class BudgetExceededError(ExtensionError):
    """A budget has no room for what a call can cost. The call was not made."""

    code = "budget_exceeded"
    source = "budget"

    def __init__(
        self, detail: str, *, retry_after_seconds: float | None = None, source: str = "budget"
    ) -> None:
        super().__init__(detail)
        self.retry_after_seconds = retry_after_seconds
        self.retryable = retry_after_seconds is not None
        self.source = source


class ProviderError(ExtensionError):
    """A model's API refused or failed.

    Attributes:
        status: HTTP status, 0 when no answer came.
        kind: The provider's own name of the error, such as `ThrottlingException`.
        sent: Whether the request may have reached the model, so that it may be billed.
    """

    code = "model_invocation"

    def __init__(  # noqa: PLR0913 - an error's facts, all but two of them keywords
        self,
        detail: str,
        *,
        status: int = 0,
        kind: str = "",
        retryable: bool = False,
        retry_after_seconds: float | None = None,
        sent: bool = True,
        source: str = "bedrock",
    ) -> None:
        super().__init__(detail)
        self.status = status
        self.kind = kind
        self.retryable = retryable
        self.retry_after_seconds = retry_after_seconds
        self.sent = sent
        self.source = source

    @property
    def answered_no(self) -> bool:
        """Whether no generation was made, so that asking again is safe.

        An answer that was lost (status 0) may be one, and one that cannot be read (200) is.
        """
        return not self.sent or self.status >= FIRST_ERROR_STATUS


class PushError(ExtensionError):
    """API Gateway did not take a message for a client, or nobody knows whether it did.

    Attributes:
        sent: Whether it may have been delivered: it is not sent again then.
    """

    source = "api-gateway"
    retryable = True

    def __init__(self, detail: str, *, sent: bool = False) -> None:
        super().__init__(detail)
        self.sent = sent


class PushThrottledError(PushError):
    """The account, or the client, takes no more messages now. It was not delivered."""

    code = "rate_limited"


class StoreError(ExtensionError):
    """The store could not do what was asked."""

    code = "state"
    source = "store"


class StoreUnavailableError(StoreError):
    """The store did not answer, or is throttling. Nothing was written; a read read nothing."""

    retryable = True


class NotYetStoredError(StoreError):
    """An exchange that the caller has seen is not in the store yet. Nothing was read."""

    retryable = True
    retry_after_seconds = 1.0


class LostExchangeError(StoreError):
    """An exchange that the caller has seen was not stored, and its event is over."""


class StoreRefusedError(StoreError):
    """The store said no for a reason that a retry does not mend. Nothing was written."""


class OnePartitionError(StoreRefusedError):
    """The store writes to one partition at a time, and a transaction was of two."""


class TooMuchAtOnceError(StoreRefusedError):
    """What was asked for is more than there is memory for. Nothing was read.

    Attributes:
        fits: So many of the items that were asked for, from the first one on, are not too much.
    """

    def __init__(self, detail: str, fits: int) -> None:
        super().__init__(detail)
        self.fits = fits


class RunBusyError(StoreError):
    """Another attempt of the run is under way. Nothing was begun."""

    retryable = True

    def __init__(self, detail: str, *, retry_after_seconds: float) -> None:
        super().__init__(detail)
        self.retry_after_seconds = retry_after_seconds


class RunLostError(StoreError):
    """The run is another attempt's now, or was stopped. Nothing was written, and nothing asked."""


class WriteUncertainError(StoreError):
    """The answer to a write was lost: it may have happened. Read before writing again."""

    retryable = True


class ConditionFailedError(StoreError):
    """A condition of the write does not hold. Nothing was written.

    Attributes:
        current: What stands in the store now, one entry per action in the order given; None
            where nothing stands or where that action's condition held.
    """

    def __init__(self, detail: str, current: Sequence[Item | None]) -> None:
        super().__init__(detail)
        self.current = tuple(current)
