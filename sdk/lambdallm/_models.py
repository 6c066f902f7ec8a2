"""Which model to ask and how, and what a provider of one's own answers."""

from __future__ import annotations

from enum import Enum

from lambdallm import _errors
from lambdallm_wire import names

TYPE_CHECKING = False
if TYPE_CHECKING:
    from typing import Any

MAX_TOKENS = int("1024")
TEMPERATURE = float("0.7")
TOP_P = float("0.9")
"""Defaults of the earlier package. They are sent only when they were given, which is told by
identity: an alias of the configuration may say otherwise, current Claude models refuse
`temperature`, and most models take only one of the two. The engine knows the first one, too.
"""


class Model(Enum):
    """Models by name; their values are Bedrock's ids. Any other id works as a string."""

    CLAUDE_HAIKU_5_5 = "global.anthropic.claude-haiku-5-5"
    CLAUDE_SONNET_5_5 = "global.anthropic.claude-sonnet-5-5"
    CLAUDE_OPUS_5_5 = "global.anthropic.claude-opus-5-5"
    CLAUDE_FABLE_5_1 = "global.anthropic.claude-fable-5-1"
    CLAUDE_HAIKU_4_5 = "global.anthropic.claude-haiku-4-5-20251001-v1:0"
    CLAUDE_SONNET_4_6 = "global.anthropic.claude-sonnet-4-6"
    NOVA_2_LITE = "global.amazon.nova-2-lite-v1:0"
    NOVA_MICRO = "us.amazon.nova-micro-v1:0"
    NOVA_LITE = "us.amazon.nova-lite-v1:0"
    NOVA_PRO = "us.amazon.nova-pro-v1:0"
    LLAMA_4_MAVERICK = "us.meta.llama4-maverick-17b-instruct-v1:0"
    LLAMA_3_3_70B = "us.meta.llama3-3-70b-instruct-v1:0"
    # Names of the earlier package. Bedrock has retired most of these models.
    CLAUDE_3_HAIKU = "anthropic.claude-3-haiku-20240307-v1:0"
    CLAUDE_3_SONNET = "anthropic.claude-3-sonnet-20240229-v1:0"
    CLAUDE_3_5_SONNET = "anthropic.claude-3-5-sonnet-20241022-v2:0"
    CLAUDE_3_OPUS = "anthropic.claude-3-opus-20240229-v1:0"
    TITAN_TEXT_EXPRESS = "amazon.titan-text-express-v1"
    TITAN_TEXT_LITE = "amazon.titan-text-lite-v1"
    LLAMA3_8B = "meta.llama3-8b-instruct-v1:0"
    LLAMA3_70B = "meta.llama3-70b-instruct-v1:0"


class ModelConfig:
    """A model and how to ask it. What is left at its default is not sent."""

    def __init__(
        self,
        model_id: str,
        max_tokens: int = MAX_TOKENS,
        temperature: float = TEMPERATURE,
        top_p: float = TOP_P,
        stop_sequences: list[str] | None = None,
        region: str | None = None,
    ) -> None:
        """Describe it.

        Args:
            model_id: `provider/model`, an alias of the configuration, or one of Bedrock's ids.
            max_tokens: Bound of one answer.
            temperature: Sent only when given.
            top_p: Sent only when given.
            stop_sequences: Sent only when there are some.
            region: Where to ask, when not in the function's own region.
        """
        self.model_id = model_id
        self.max_tokens = max_tokens
        self.temperature = temperature
        self.top_p = top_p
        self.stop_sequences = list(stop_sequences or [])
        self.region = region

    @classmethod
    def from_model(cls, model: Model, **parameters: Any) -> ModelConfig:
        """Make one from a `Model`."""
        return cls(model_id=model.value, **parameters)

    @property
    def qualified_id(self) -> str:
        """The id with its provider in front: `bedrock/…` when none is named.

        Aliases are not looked at: only the engine knows them.
        """
        from lambdallm_wire.model_names import qualified

        return qualified(self.model_id)

    @property
    def wire_name(self) -> str:
        """What the engine is asked for: the name as it was given, which may be an alias."""
        return self.model_id

    def parameters(self) -> dict[str, Any]:
        """Return what is sent beside the model and the messages."""
        parameters: dict[str, Any] = {}
        if self.max_tokens is not MAX_TOKENS:
            parameters["max_tokens"] = self.max_tokens
        if self.temperature is not TEMPERATURE:
            parameters["temperature"] = self.temperature
        if self.top_p is not TOP_P:
            parameters["top_p"] = self.top_p
        if self.stop_sequences:
            parameters["stop_sequences"] = self.stop_sequences
        if self.region:
            parameters["region"] = self.region
        return parameters

    def __eq__(self, other: object) -> bool:
        return isinstance(other, ModelConfig) and vars(self) == vars(other)

    def __hash__(self) -> int:
        return hash((self.model_id, self.region))

    def __repr__(self) -> str:
        fields = ", ".join(f"{name}={value!r}" for name, value in vars(self).items())
        return f"ModelConfig({fields})"


class DefaultModel(ModelConfig):
    """The model of whoever names none: the engine knows which, by variable or configuration."""

    @property
    def wire_name(self) -> str:
        """What LAMBDALLM_MODEL says, else nothing: the configuration's default, or the engine's."""
        return "" if self.model_id == names.DEFAULT_MODEL else self.model_id


class ModelResponse:
    """What a provider of one's own returns from `invoke`."""

    def __init__(  # noqa: PLR0913, PLR0917 - the earlier package's signature
        self,
        content: str,
        model_id: str,
        tokens_in: int,
        tokens_out: int,
        latency_ms: float,
        cost_usd: float = 0.0,
        raw_response: dict[str, Any] | None = None,
    ) -> None:
        """Keep what came back."""
        self.content = content
        self.model_id = model_id
        self.tokens_in = tokens_in
        self.tokens_out = tokens_out
        self.latency_ms = latency_ms
        self.cost_usd = cost_usd
        self.raw_response = raw_response

    @property
    def total_tokens(self) -> int:
        """Tokens in and out."""
        return self.tokens_in + self.tokens_out

    def __eq__(self, other: object) -> bool:
        return isinstance(other, ModelResponse) and vars(self) == vars(other)

    __hash__ = None  # type: ignore[assignment]

    def __repr__(self) -> str:
        return f"ModelResponse(content={self.content!r}, model_id={self.model_id!r})"


def resolve(model: Model | ModelConfig | str) -> ModelConfig:
    """Turn what a handler was given into a `ModelConfig`.

    A string is `provider/model`, an alias of the configuration, a bare Bedrock id, or a member's
    name in lower case with dashes (`claude-haiku-5-5`); the engine tells them apart.

    Raises:
        ConfigurationError: It is neither.
    """
    if isinstance(model, ModelConfig):
        return model
    if isinstance(model, Model):
        return ModelConfig(model.value)
    if isinstance(model, str) and model:  # type: ignore[redundant-expr]  # users err
        return ModelConfig(model)
    message = f"model={model!r} is no model: give 'bedrock/MODEL_ID', a Model or a ModelConfig."
    raise _errors.ConfigurationError(message)
