"""What a function needs to know its prices: the model behind a profile, and a newer price book."""

from __future__ import annotations

from typing import TYPE_CHECKING, NamedTuple

from botocore.exceptions import ClientError

from lambdallm_cli.doctor.models import split_model
from lambdallm_cli.doctor.report import Finding, Statement
from lambdallm_cli.doctor.target import DENIED, ask, code_of, status_of, words_of
from lambdallm_wire import names

if TYPE_CHECKING:
    from collections.abc import Iterator

    from lambdallm_cli.doctor.report import State
    from lambdallm_cli.doctor.target import Target

PROFILE = ":application-inference-profile/"

_SECRETS = {"secretsmanager": "secretsmanager:GetSecretValue", "ssm": "ssm:GetParameter"}
"""By the service in an ARN: what reads it."""

_OLD_PRICES = "Without it the layer's own prices hold, and a line in the log says so at each start."
_UNPRICED = (
    "Without it nobody knows which model is behind the profile: its calls are unpriced, and a "
    "budget that blocks refuses them all. cost.prices in lambdallm.yaml can say it instead."
)


class Need(NamedTuple):
    """Permissions, and what follows where they are missing."""

    check: str
    statement: Statement
    follows: str
    missing: State


def needs_of(target: Target) -> Iterator[Need]:
    """Return what the target's variables make necessary."""
    provider, model_id = split_model(target.model)
    if provider == "bedrock" and PROFILE in model_id:
        reading = Statement("PriceTheProfile", ("bedrock:GetInferenceProfile",), (model_id,))
        yield Need("profile's price", reading, _UNPRICED, "fail")
    place = _object_of(target)
    key = target.environ.get(names.ENVIRONMENT_PRICES_KEY, "").strip()
    if place is None or not key:
        return
    arn = f"arn:{target.partition}:s3:::{'/'.join(place)}"
    yield Need(
        "price book", Statement("NewerPrices", ("s3:GetObject",), (arn,)), _OLD_PRICES, "warn"
    )
    service = key.split(":")[2] if key.count(":") > 1 and key.startswith("arn:") else ""
    if service in _SECRETS:
        statement = Statement("KeyOfNewerPrices", (_SECRETS[service],), (key,))
        yield Need("price book's key", statement, _OLD_PRICES, "warn")


def check_prices(target: Target) -> Iterator[Finding]:
    """Look at what LAMBDALLM_PRICES says; this machine also looks whether the object is there."""
    text = target.environ.get(names.ENVIRONMENT_PRICES, "").strip()
    if not text:
        return
    place = _object_of(target)
    if place is None:
        said = f"{names.ENVIRONMENT_PRICES}={text!r} names no object."
        yield Finding("price book", "fail", said, "Write s3://BUCKET/KEY[?region=REGION].")
        return
    if not target.environ.get(names.ENVIRONMENT_PRICES_KEY, "").strip():
        said = f"{names.ENVIRONMENT_PRICES_KEY} is not set: without it no newer book is used."
        advice = "Set it to the key that `lambdallm price-book sign` had, or to its secret's ARN."
        yield Finding("price book", "fail", said, advice)
        return
    if target.configuration is None:
        yield _look(target, *place)


def _look(target: Target, bucket: str, key: str) -> Finding:
    region = target.environ.get(names.ENVIRONMENT_PRICES, "").partition("?region=")[2].strip()
    client = target.client("s3", region=region)
    try:
        ask(client.head_object, Bucket=bucket, Key=key)
    except ClientError as error:
        if code_of(error) not in DENIED:
            there = "is not there" if status_of(error) == _NOT_FOUND else words_of(error)
            said = f"s3://{bucket}/{key}: {there}. {_OLD_PRICES}"
            return Finding("price book", "warn", said, "Put it there: docs/prices.md.")
        (statement,) = [each.statement for each in needs_of(target) if each.check == "price book"]
        said = f"You may not read s3://{bucket}/{key}, or it is not there. {_OLD_PRICES}"
        return Finding("price book", "warn", said, _ALLOW, (), (statement,))
    return Finding("price book", "ok", f"s3://{bucket}/{key} can be read.")


_NOT_FOUND = 404
_ALLOW = "Attach the policy below to these credentials' user or role."


def _object_of(target: Target) -> tuple[str, str] | None:
    """Return bucket and key of the newer book, None where none is named, or wrongly."""
    text = target.environ.get(names.ENVIRONMENT_PRICES, "").strip().partition("?")[0]
    bucket, _, key = text.removeprefix("s3://").partition("/")
    return (bucket, key) if text.startswith("s3://") and bucket and key else None
