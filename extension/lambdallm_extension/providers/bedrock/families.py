"""What a family of models is to InvokeModel: how it is asked, and how its answers are read."""

from __future__ import annotations

from lambda_runtime_api.declarations import NamedTuple

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Callable
    from typing import Any

    from lambdallm_extension.domain.answers import AnswerSoFar
    from lambdallm_wire.chat import ChatDelta, ChatRequest

    Encode = Callable[[str, ChatRequest], dict[str, Any]]
    Fill = Callable[[AnswerSoFar, dict[str, Any]], None]
    Take = Callable[[dict[str, Any], list[ChatDelta]], None]


class Family(NamedTuple):
    """How one family speaks. All of it pure.

    Attributes:
        name: As the dialect's second half.
        encode: Makes a request's body of a model's id and a canonical request.
        fill: Fills an answer from a whole reply.
        open: Returns who fills an answer from the events of a stream.
    """

    name: str
    encode: Encode
    fill: Fill
    open: Callable[[AnswerSoFar], Take]
