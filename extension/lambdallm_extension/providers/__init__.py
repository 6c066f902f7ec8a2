"""Model APIs. `split_model` finds whose a model is, `open_provider` opens its API at first use.

`find_dialect` returns who reads the answers of an API that a client of its own has asked.
"""

from __future__ import annotations

from lambda_runtime_api.declarations import NamedTuple
from lambdallm_extension.configuration import ProviderSettings
from lambdallm_extension.errors import SettingError
from lambdallm_wire.model_names import bedrock_id

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Callable

    from lambdallm_extension.aws.credentials import CredentialSource
    from lambdallm_extension.model_ports import Dialect, Provider
    from lambdallm_extension.ports import Clock
    from lambdallm_extension.providers.keys import Secrets
    from lambdallm_extension.settings import Settings

    Opener = Callable[[str, "Surroundings"], Provider]


class Surroundings(NamedTuple):
    """What a provider is opened with.

    Attributes:
        settings: Regions, endpoints, proxies, trust.
        credentials: Of the function's own role.
        secrets: Where keys come from.
        clock: Deadlines.
        configured: What `lambdallm.yaml` says of this provider.
    """

    settings: Settings
    credentials: CredentialSource
    secrets: Secrets
    clock: Clock
    configured: ProviderSettings


DEFAULT_PROVIDER = "bedrock"
"""Whose a model is that is named without `provider/`."""


def split_model(model: str) -> tuple[str, str]:
    """Take `provider/model` apart.

    A model without a provider is Bedrock's; so is an ARN, whose slashes separate nothing here.
    Bedrock's models have short names, too.

    Raises:
        SettingError: A half is missing, or it is no id of Bedrock's, which have a dot or are ARNs.
    """
    if model.startswith("arn:") or "/" not in model:
        provider, model_id = DEFAULT_PROVIDER, model
    else:
        provider, _, model_id = model.partition("/")
    if not provider or not model_id.strip() or model_id[0] == "/":
        message = f"{model!r} names no model; write provider/model, such as {_EXAMPLE}."
        raise SettingError(message)
    if provider != DEFAULT_PROVIDER:
        return provider, model_id
    model_id = bedrock_id(model_id)
    if "." not in model_id and not model_id.startswith("arn:"):
        message = (
            f"{model!r} is no alias in lambdallm.yaml, and no model's id: write an alias, or "
            f"provider/model, such as {_EXAMPLE}."
        )
        raise SettingError(message)
    return provider, model_id


def open_provider(
    name: str, settings: Settings, credentials: CredentialSource, secrets: Secrets, clock: Clock
) -> Provider:
    """Open a model API; nothing is sent yet.

    Raises:
        SettingError: No provider of that name, or its own settings are wrong.
    """
    configured = settings.configuration.providers.get(name) or ProviderSettings(kind=name)
    opener = _OPENERS.get(configured.kind)
    if opener is None:
        known = ", ".join(sorted({*_OPENERS, *settings.configuration.providers}))
        message = (
            f"There is no provider {name!r}; known are: {known}. "
            f"A model is named provider/model, such as {_EXAMPLE}."
        )
        raise SettingError(message)
    return opener(name, Surroundings(settings, credentials, secrets, clock, configured))


def find_dialect(name: str, model_id: str) -> Dialect:
    """Return who reads the answers of an API.

    Args:
        name: `openai.chat`, `openai.responses`, `openai.embeddings`, `anthropic.messages`,
            `bedrock.converse`, or `bedrock.invoke`, which depends on the model's family.
        model_id: As the API knows the model.
    """
    return _DIALECTS[name](model_id)


def _open_bedrock(name: str, around: Surroundings) -> Provider:
    from lambdallm_extension.providers.bedrock.converse import BedrockConverse
    from lambdallm_extension.providers.bedrock.opening import open_api

    return BedrockConverse(
        open_api(name, around.settings, around.credentials, around.clock, around.configured)
    )


def _open_bedrock_invoke(name: str, around: Surroundings) -> Provider:
    from lambdallm_extension.providers.bedrock.invoke import BedrockInvoke
    from lambdallm_extension.providers.bedrock.opening import open_api

    return BedrockInvoke(
        open_api(name, around.settings, around.credentials, around.clock, around.configured)
    )


def _open_sagemaker(name: str, around: Surroundings) -> Provider:
    from lambdallm_extension.providers.sagemaker import SageMaker

    return SageMaker(name, around.settings, around.credentials, around.clock, around.configured)


def _open_scripted(name: str, around: Surroundings) -> Provider:
    from lambdallm_extension.providers.scripted import VARIABLE, Scripted

    del name
    return Scripted.from_setting(around.settings.environ.get(VARIABLE, ""))


def _open_openai(name: str, around: Surroundings) -> Provider:
    from lambdallm_extension.providers.openai.api import open_openai

    return open_openai(name, around)


def _open_compatible(name: str, around: Surroundings) -> Provider:
    from lambdallm_extension.providers.openai.api import open_compatible

    return open_compatible(name, around)


def _open_anthropic(name: str, around: Surroundings) -> Provider:
    from lambdallm_extension.providers.anthropic.api import open_anthropic

    return open_anthropic(name, around)


def _openai_chat(_model_id: str) -> Dialect:
    from lambdallm_extension.providers.openai.chat import DIALECT

    return DIALECT


def _openai_responses(_model_id: str) -> Dialect:
    from lambdallm_extension.providers.openai.responses import DIALECT

    return DIALECT


def _openai_embeddings(_model_id: str) -> Dialect:
    from lambdallm_extension.providers.openai.embeddings import DIALECT

    return DIALECT


def _anthropic_messages(_model_id: str) -> Dialect:
    from lambdallm_extension.providers.anthropic.messages import DIALECT

    return DIALECT


def _bedrock_converse(_model_id: str) -> Dialect:
    from lambdallm_extension.providers.bedrock.converse import DIALECT

    return DIALECT


def _bedrock_invoke(model_id: str) -> Dialect:
    from lambdallm_extension.providers.bedrock.invoke import invoke_dialect

    return invoke_dialect(model_id)


_EXAMPLE = "bedrock/global.anthropic.claude-haiku-5-5"

_OPENERS: dict[str, Opener] = {
    "anthropic": _open_anthropic,
    "bedrock": _open_bedrock,
    "bedrock-invoke": _open_bedrock_invoke,
    "openai": _open_openai,
    "openai-compatible": _open_compatible,
    "openai-responses": _open_openai,
    "sagemaker": _open_sagemaker,
    "scripted": _open_scripted,
}

_DIALECTS: dict[str, Callable[[str], Dialect]] = {
    "openai.chat": _openai_chat,
    "openai.responses": _openai_responses,
    "openai.embeddings": _openai_embeddings,
    "anthropic.messages": _anthropic_messages,
    "bedrock.converse": _bedrock_converse,
    "bedrock.invoke": _bedrock_invoke,
}
