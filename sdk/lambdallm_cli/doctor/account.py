"""Who asks, from where, and at what time: region, credentials, clock."""

from __future__ import annotations

from email.utils import parsedate_to_datetime
from typing import TYPE_CHECKING, Any

from botocore.exceptions import BotoCoreError, ClientError, NoCredentialsError

from lambdallm_cli.doctor.report import Finding
from lambdallm_cli.doctor.target import EXPIRED, SKEWED, ask, code_of, words_of

if TYPE_CHECKING:
    from collections.abc import Iterator, Mapping

    from lambdallm_cli.doctor.target import Target

SKEW_MAX_SECONDS = 300
"""Signatures of another age are refused. Source: IAM user guide, "Signature Version 4"; 2026-10."""

SKEW_ADVISED_SECONDS = 60

_READ_BY_THE_ENGINE = frozenset(
    ("env", "shared-credentials-file", "config-file", "container-role", "explicit")
)
"""Sources, by botocore's names, that lambdallm reads itself; others need AWS's own tools."""


def check_region(target: Target) -> Iterator[Finding]:
    """Look at where everything is asked."""
    environ = target.environ
    if target.configuration is not None:
        yield Finding("region", "ok", f"The function runs in {target.region}.")
        return
    region, default = environ.get("AWS_REGION", ""), environ.get("AWS_DEFAULT_REGION", "")
    if not target.region:
        yield Finding(
            "region", "fail", "No region is set.", "Set AWS_REGION, such as AWS_REGION=us-east-1."
        )
    elif not (region or default):
        yield Finding(
            "region",
            "fail",
            f"{target.region} stands in ~/.aws or --region, which lambdallm does not read.",
            f"Set AWS_REGION={target.region}.",
        )
    elif region and default and region != default:
        yield Finding(
            "region",
            "warn",
            f"AWS_REGION={region}, AWS_DEFAULT_REGION={default}: lambdallm takes the first, "
            "boto3 the second.",
            "Set both alike.",
        )
    elif target.region != (region or default):
        yield Finding(
            "region",
            "warn",
            f"--region {target.region} is examined; lambdallm here asks {region or default}.",
        )
    else:
        yield Finding("region", "ok", f"{target.region}.")


def check_credentials(target: Target) -> Iterator[Finding]:
    """Ask AWS who we are, and hold its clock against ours."""
    try:
        credentials = target.session.get_credentials()
    except BotoCoreError as error:  # a profile that is not there, or cannot be read
        yield Finding("credentials", "fail", str(error), _SIGN_IN)
        return
    if credentials is None:
        yield _no_credentials()
        return
    source = str(credentials.method)
    try:
        identity = ask(target.client("sts").get_caller_identity)
    except ClientError as error:
        yield from _refused(error, source, target)
        return
    except NoCredentialsError:
        yield _no_credentials()
        return
    said = f"{identity['Arn']} ({source})."
    if target.configuration is None and source not in _READ_BY_THE_ENGINE:
        yield Finding(
            "credentials",
            "warn",
            f"{said} lambdallm itself reads no {source}, only variables and keys in ~/.aws.",
            "Hand them over:",
            ('eval "$(aws configure export-credentials --format env)"',),
        )
    else:
        yield Finding("credentials", "ok", said)
    yield from _check_clock(identity, target)


_SIGN_IN = (
    "Sign in (aws login, aws sso login), name a profile (AWS_PROFILE), or set AWS_ACCESS_KEY_ID "
    "and AWS_SECRET_ACCESS_KEY (with AWS_SESSION_TOKEN)."
)


def _no_credentials() -> Finding:
    return Finding("credentials", "fail", "There are none on this machine.", _SIGN_IN)


def _refused(error: ClientError, source: str, target: Target) -> Iterator[Finding]:
    code = code_of(error)
    if code in EXPIRED:
        said = f"Those from {source} have expired."
        yield Finding("credentials", "fail", said, f"Renew them. {_SIGN_IN}")
        return
    said = f"AWS does not accept those from {source}: {code}: {words_of(error)}"
    advice = "Check the keys"
    if code in SKEWED:
        advice += ", above all the secret one, and the clock"
    yield Finding("credentials", "fail", said, f"{advice}. {_SIGN_IN}")
    if "ResponseMetadata" in error.response:
        yield from _check_clock(error.response, target)


def _check_clock(reply: Mapping[str, Any], target: Target) -> Iterator[Finding]:
    """Compare this machine's clock with the `Date` of a reply."""
    date = reply.get("ResponseMetadata", {}).get("HTTPHeaders", {}).get("date")
    if not date:
        yield Finding("clock", "warn", "The reply carried no date to compare with.")
        return
    skew = target.epoch_seconds() - parsedate_to_datetime(date).timestamp()
    said = (
        f"This machine's clock is {abs(skew):.0f} s {'ahead of' if skew > 0 else 'behind'} AWS's."
    )
    if abs(skew) > SKEW_MAX_SECONDS:
        advice = "Set it (NTP): signatures more than 5 minutes off are refused."
        yield Finding("clock", "fail", said, advice)
    elif abs(skew) > SKEW_ADVISED_SECONDS:
        yield Finding("clock", "warn", said, "Set it (NTP), before it is 5 minutes off.")
    else:
        yield Finding("clock", "ok", "It agrees with AWS's.")
