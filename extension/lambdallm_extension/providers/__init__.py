"""Model APIs. `split_model` finds whose a model is, `open_provider` opens its API at first use."""

from __future__ import annotations

from lambdallm_extension.errors import SettingError

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Callable

    from lambdallm_extension.aws.credentials import CredentialSource
    from lambdallm_extension.ports import Clock, Provider
    from lambdallm_extension.settings import Settings

    Opener = Callable[[Settings, CredentialSource, Clock], Provider]

DEFAULT_PROVIDER = "bedrock"
"""Whose a model is that is named without `provider/`."""


def split_model(model: str) -> tuple[str, str]:
    """Take `provider/model` apart.

    A model without a provider is Bedrock's; so is an ARN, whose slashes separate nothing here.

    Raises:
        SettingError: A half is missing.
    """
    if model.startswith("arn:") or "/" not in model:
        provider, model_id = DEFAULT_PROVIDER, model
    else:
        provider, _, model_id = model.partition("/")
    if not provider or not model_id.strip() or model_id[0] == "/":
        message = f"{model!r} names no model; write provider/model, such as {_EXAMPLE}."
        raise SettingError(message)
    return provider, model_id


def open_provider(
    name: str, settings: Settings, credentials: CredentialSource, clock: Clock
) -> Provider:
    """Open a model API; nothing is sent yet.

    Raises:
        SettingError: No provider of that name, or its own settings are wrong.
    """
    opener = _OPENERS.get(name)
    if opener is None:
        known = ", ".join(sorted(_OPENERS))
        message = (
            f"There is no provider {name!r}; known are: {known}. "
            f"A model is named provider/model, such as {_EXAMPLE}."
        )
        raise SettingError(message)
    return opener(settings, credentials, clock)


def _open_bedrock(settings: Settings, credentials: CredentialSource, clock: Clock) -> Provider:
    from lambdallm_extension.aws.client import AwsClient
    from lambdallm_extension.providers.bedrock.converse import BedrockConverse

    def client_for(region: str) -> AwsClient:
        there = settings._replace(region=region) if region else settings
        return AwsClient("bedrock-runtime", there, credentials, clock, signing_name="bedrock")

    return BedrockConverse(client_for)


def _open_scripted(settings: Settings, credentials: CredentialSource, clock: Clock) -> Provider:
    from lambdallm_extension.providers.scripted import VARIABLE, Scripted

    del credentials, clock
    return Scripted.from_setting(settings.environ.get(VARIABLE, ""))


_EXAMPLE = "bedrock/global.anthropic.claude-haiku-5-5"

_OPENERS: dict[str, Opener] = {
    "bedrock": _open_bedrock,
    "scripted": _open_scripted,
}
