"""Streamed answers of Bedrock: messages of an event stream, events of JSON, failures among them.

bytes ──► messages ──► JSON ──► the form's own `Take` ──► AnswerSoFar, pieces
             └───► an exception: the stream fails here
"""

from __future__ import annotations

from lambdallm_extension.aws.eventstream import DamagedStreamError, EventStreamReader
from lambdallm_extension.errors import ProviderError
from lambdallm_extension.providers.bedrock import failures
from lambdallm_extension.providers.readings import UNREADABLE, load_reply, malformed
from lambdallm_extension.providers.streams import cut
from lambdallm_wire import plain_json

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Callable
    from typing import Any

    from lambdallm_extension.aws.eventstream import Message
    from lambdallm_extension.domain.answers import AnswerSoFar
    from lambdallm_wire.chat import ChatDelta

    Take = Callable[[str, dict[str, Any], list[ChatDelta]], None]
    """Takes an event by its name, fills the answer, and appends the pieces that it holds."""

SOURCE = "bedrock"


class FrameAnswer:
    """A `ports.StreamReader` of an event stream.

    Pieces are never lost to an error that came with them: it is raised by the next `feed` or `end`.
    """

    def __init__(self, model_id: str, answer: AnswerSoFar, take: Take) -> None:
        """Take who answers, what is to be filled, and who knows the events."""
        self.answer = answer
        self._model_id = model_id
        self._take = take
        self._messages = EventStreamReader()
        self._failure: ProviderError | None = None

    def feed(self, data: bytes) -> list[ChatDelta]:
        """Take bytes as they come, and return the pieces that they complete.

        Raises:
            ProviderError: Bedrock says that it failed, or the bytes are not what it sends.
        """
        if self._failure is not None:
            raise self._failure
        pieces: list[ChatDelta] = []
        if not data:
            return pieces
        messages = self._messages
        messages.feed(data)
        try:
            while (message := messages.next()) is not None:
                if message.kind != "event":
                    self._failure = self._failed(message)
                    break
                self._take(message.name, load_reply(message.payload), pieces)
        except ProviderError as error:
            self._failure = error
        except DamagedStreamError as error:
            self._failure = _damaged(self._model_id, error)
        except UNREADABLE as error:
            self._failure = malformed(SOURCE, error, self.answer.provider_request_id)
        if self._failure is not None and not pieces:
            raise self._failure
        return pieces

    def end(self) -> None:
        """Know that no more bytes come.

        Raises:
            ProviderError: The mark of the end has not come, or what `feed` would have raised.
        """
        if self._failure is not None:
            raise self._failure
        if self._messages.within or not self.answer.ended:
            raise cut(SOURCE)

    def _failed(self, message: Message) -> ProviderError:
        payload = message.payload
        if message.kind == "error":
            said = str(message.headers.get(":error-message", ""))
            payload = plain_json.dumps({"message": said}).encode()
        return failures.in_band(
            self._model_id,
            message.name,
            payload,
            generated=self.answer.generated_characters > 0,
        )


def _damaged(model_id: str, error: DamagedStreamError) -> ProviderError:
    detail = (
        f"The stream of Bedrock's answer for {model_id} was damaged on its way: {error} What was "
        "generated is billed; it is not asked for again."
    )
    return ProviderError(detail, status=200, kind="MalformedReply", source=SOURCE)
