"""The model: is its id known here, how is it asked, and may it be?"""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from botocore.exceptions import ClientError

from lambdallm_cli.doctor.report import Finding
from lambdallm_cli.doctor.target import DENIED, OutsideError, ask, code_of, words_of
from lambdallm_wire import configuration, names
from lambdallm_wire.model_names import SHORT_NAMES, qualified

if TYPE_CHECKING:
    from collections.abc import Iterator, Mapping

    from lambdallm_cli.doctor.target import Target

_UNKNOWN = frozenset(("ResourceNotFoundException", "ValidationException"))
_SUGGESTIONS_MAX = 5
_LOOKED_UP = ("foundation-model", "inference-profile", "application-inference-profile")
"""Kinds of ARNs that can be looked up; a router or a bought throughput can only be tried."""


def split_model(model: str) -> tuple[str, str]:
    """Take `provider/model` apart; without a provider, and for an ARN, it is Bedrock's."""
    provider, _, model_id = qualified(model).partition("/")
    return provider, model_id


def check_model(target: Target) -> Iterator[Finding]:
    """Look at the model that LAMBDALLM_MODEL names; handlers may name others."""
    provider, model_id = split_model(target.model)
    if provider == "scripted":
        yield Finding("model", "ok", "Scripted answers: no model is asked.")
        return
    if provider != "bedrock" and provider in configuration.BUILT_IN and model_id.strip():
        yield Finding("model", "ok", f"{target.model}: only Bedrock's models are looked at.")
        return
    if not set(target.model) & set("/.:") and target.model not in SHORT_NAMES:
        said = f"{names.ENVIRONMENT_MODEL}={target.model!r} is an alias, or no model at all."
        advice = f"lambdallm check examines the aliases of {configuration.FILE}."
        yield Finding("model", "warn", said, advice)
        return
    if provider != "bedrock" or not model_id.strip():
        said = f"{names.ENVIRONMENT_MODEL}={target.model!r} names no model that is known."
        yield Finding("model", "fail", said, "Write bedrock/MODEL_ID, a profile's id or an ARN.")
        return
    client = target.client("bedrock")
    finding, foundation_id = _look_up(client, target, model_id)
    yield finding
    if foundation_id and finding.state == "ok":
        yield from _check_availability(client, target, foundation_id)
    if target.call:
        yield _call(target, model_id)


def _look_up(client: Any, target: Target, model_id: str) -> tuple[Finding, str]:
    """Find the model or profile; return what is so, and the foundation model's id if known."""
    kind = model_id.split(":", 5)[-1].partition("/")[0] if model_id.startswith("arn:") else ""
    if kind not in ("", *_LOOKED_UP):
        return Finding("model", "ok", f"{model_id}: {_TRY}"), ""
    try:
        if kind.endswith("inference-profile"):
            return _look_up_profile(client, target, model_id)
        try:
            details = ask(client.get_foundation_model, modelIdentifier=model_id)["modelDetails"]
        except ClientError as error:
            if code_of(error) not in _UNKNOWN or kind:
                raise
            return _look_up_profile(client, target, model_id)
    except ClientError as error:
        return _not_found(client, target, model_id, error), ""
    return _judge(client, target, details), str(details["modelId"])


_TRY = "whether it may be asked, --call finds out."


def _look_up_profile(client: Any, target: Target, model_id: str) -> tuple[Finding, str]:
    profile = ask(client.get_inference_profile, inferenceProfileIdentifier=model_id)
    foundation_id = str(profile["models"][0]["modelArn"]).rpartition("/")[2]
    regions = sorted({str(model["modelArn"]).split(":")[3] for model in profile["models"]} - {""})
    said = f"{model_id} is an inference profile in {target.region}"
    said += f" (answers from {', '.join(regions)})." if regions else "."
    return Finding("model", "ok", said), foundation_id


def _judge(client: Any, target: Target, details: Mapping[str, Any]) -> Finding:
    model_id = str(details["modelId"])
    kinds = details.get("inferenceTypesSupported") or []
    if kinds and "ON_DEMAND" not in kinds:
        said = f"{model_id} is asked through an inference profile only."
        return Finding("model", "fail", said, *_suggest(client, target, model_id))
    lifecycle = details.get("modelLifecycle") or {}
    if lifecycle.get("status") == "LEGACY":
        end = lifecycle.get("endOfLifeTime")
        said = f"{model_id} is old, and will be retired{f' on {end:%Y-%m-%d}' if end else ''}."
        return Finding("model", "warn", said, "Choose a current one.")
    return Finding("model", "ok", f"{model_id} is there in {target.region}.")


def _not_found(client: Any, target: Target, model_id: str, error: ClientError) -> Finding:
    code = code_of(error)
    if code in DENIED:
        said = f"You may not look at {model_id}."
        if _LOOKED_UP[-1] in model_id:
            said += " Who asks it needs bedrock:GetInferenceProfile, else its calls are unpriced."
        advice = (
            f"Allow yourself bedrock:GetFoundationModel and bedrock:GetInferenceProfile; {_TRY}"
        )
        return Finding("model", "warn", said, advice)
    if code in _UNKNOWN:
        said = f"{model_id} is not known in {target.region}."
        return Finding("model", "fail", said, *_suggest(client, target, model_id))
    said = f"{model_id} could not be looked up: {code}: {words_of(error)}"
    return Finding("model", "fail", said, "See the credentials above.")


def _suggest(client: Any, target: Target, model_id: str) -> tuple[str, tuple[str, ...]]:
    """Name the profiles that this region has for a model, or say how to list what there is."""
    bare = model_id.rpartition("/")[2].split(".", 1)[-1]
    try:
        answer = ask(client.list_inference_profiles, maxResults=1_000)
    except (ClientError, OutsideError):  # a suggestion less; the finding stands
        answer = {}
    profiles = answer.get("inferenceProfileSummaries", ())
    ids = [str(profile["inferenceProfileId"]) for profile in profiles]
    fitting = [each for each in ids if each.endswith((model_id, f".{bare}"))][:_SUGGESTIONS_MAX]
    if fitting:
        return f"Set {names.ENVIRONMENT_MODEL}=bedrock/{' or bedrock/'.join(fitting)}.", ()
    return "Choose one of those that there are:", tuple(
        f"aws bedrock list-{what} --region {target.region}"
        for what in ("inference-profiles", "foundation-models")
    )


def _check_availability(client: Any, target: Target, model_id: str) -> Iterator[Finding]:
    """Ask whether this account may use the model."""
    try:
        answer = ask(client.get_foundation_model_availability, modelId=model_id)
    except ClientError as error:
        said = f"Whether the account may use it is not known ({code_of(error)})."
        yield Finding("model access", "warn", said, "lambdallm doctor --call finds out.")
        return
    lacking = [
        words
        for field, words in (
            ("regionAvailability", "it is not offered in this region"),
            ("entitlementAvailability", "the account is not entitled to it"),
        )
        if answer.get(field) == "NOT_AVAILABLE"
    ]
    if answer.get("authorizationStatus") == "NOT_AUTHORIZED":
        lacking.append("the account is not authorized")
    agreement = answer.get("agreementAvailability", {})
    if agreement.get("status") not in (None, "AVAILABLE"):
        lacking.append(f"its agreement is {agreement['status'].lower().replace('_', ' ')}")
    if lacking:
        said = f"{model_id} may not be asked yet: {', '.join(lacking)}."
        advice = f"Enable it in the Bedrock console of {target.region} (Model access)."
        yield Finding("model access", "fail", said, advice)
    else:
        yield Finding("model access", "ok", f"The account may ask {model_id}.")


def _call(target: Target, model_id: str) -> Finding:
    """Ask for one token, with this machine's credentials."""
    client = target.client("bedrock-runtime")
    try:
        reply = ask(
            client.converse,
            modelId=model_id,
            messages=[{"role": "user", "content": [{"text": "Hi"}]}],
            inferenceConfig={"maxTokens": 1},
        )
    except ClientError as error:
        advice = _CALL_ADVICE.get(code_of(error), "")
        said = f"{code_of(error)}: {words_of(error)}"
        return Finding("model call", "fail", said, advice)
    usage = reply["usage"]
    said = f"It answered: {usage['inputTokens']} tokens read, {usage['outputTokens']} written."
    return Finding("model call", "ok", said)


_CALL_ADVICE = {
    "AccessDeniedException": (
        "Allow bedrock:InvokeModel to these credentials, and enable the model in the Bedrock "
        "console (Model access)."
    ),
    "ResourceNotFoundException": "Check the id, or choose a current model.",
    "ValidationException": "Check the id; newer models are asked through an inference profile.",
}
