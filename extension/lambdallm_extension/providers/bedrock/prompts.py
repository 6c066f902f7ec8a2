"""What families have in common that take one prompt, or plain texts: a conversation without more.

They are asked for texts alone here; everything else goes through Converse.
"""

from __future__ import annotations

from lambdallm_extension.errors import InvalidRequestError
from lambdallm_extension.providers.conversation import conversation, text_of
from lambdallm_extension.providers.output_schemas import instructed

TYPE_CHECKING = False
if TYPE_CHECKING:
    from lambdallm_wire.chat import ChatRequest

    Spoken = list[tuple[str, str]]
    """Role and text, oldest first; the last one is the user's."""

_BEYOND_TEXT = ("tools", "reasoning")


def texts_of(model_id: str, request: ChatRequest) -> tuple[str, Spoken]:
    """Return the system prompt and the turns.

    Raises:
        InvalidRequestError: There is more than texts, or no question at its end.
    """
    if request.get("output_schema"):
        request = instructed(request)
    beyond = [name for name in _BEYOND_TEXT if request.get(name)]
    system, turns = conversation(request)
    if beyond or any(
        "text" not in block and "cachePoint" not in block for _, turn in turns for block in turn
    ):
        what = ", ".join(beyond) or "content that is no text"
        message = (
            f"{model_id} takes no {what} through InvokeModel: ask bedrock/{model_id}, which goes "
            "through Converse."
        )
        raise InvalidRequestError(message)
    spoken = [(role, text_of(turn)) for role, turn in turns]
    if spoken[0][0] != "user" or spoken[-1][0] != "user":
        raise InvalidRequestError("The conversation begins and ends with a user message here.")
    return text_of(system), spoken
