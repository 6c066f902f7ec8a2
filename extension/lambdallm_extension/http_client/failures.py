"""How a call to a remote API fails before there is an answer, as its caller must know it.

ExtensionError
├── NotSentError      the service has processed nothing: sending again is safe
└── AnswerLostError   the request left whole, and the answer did not come
"""

from __future__ import annotations

from lambdallm_extension.errors import ExtensionError


class NotSentError(ExtensionError):
    """The service provably processed nothing: no connection, or the request did not leave whole."""

    retryable = True


class AnswerLostError(ExtensionError):
    """The request left whole and no whole answer came: it may have been processed.

    Attributes:
        silent: The peer closed, or said nothing, without one byte of an answer, as with a
            connection that it gave up, or a network forgot, while it was idle.
    """

    retryable = True

    def __init__(self, detail: str, *, silent: bool = False) -> None:
        super().__init__(detail)
        self.silent = silent
