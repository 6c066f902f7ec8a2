"""The bucket for large texts: is it there, closed, and does it delete what has expired?"""

from __future__ import annotations

import json
import re
import uuid
from typing import TYPE_CHECKING, Any, NamedTuple
from urllib.parse import parse_qs, urlsplit

from botocore.exceptions import ClientError

from lambdallm_cli.doctor.report import Finding, Statement
from lambdallm_cli.doctor.target import DENIED, ask, code_of, status_of, words_of
from lambdallm_wire import names

if TYPE_CHECKING:
    from collections.abc import Iterator

    from lambdallm_cli.doctor.target import Target

ACTIONS = ("s3:PutObject", "s3:GetObject")
"""All that sessions do; the same stand in template.yaml."""

_URL = re.compile(
    r"s3://[a-z0-9][a-z0-9.-]{1,61}[a-z0-9](/[A-Za-z0-9._/-]*)?(\?region=[a-z0-9-]+)?"
)
_NONE_THERE = ("404", "NoSuchBucket", "NotFound")
_NO_RULES = "NoSuchLifecycleConfiguration"
_NO_BLOCK = "NoSuchPublicAccessBlockConfiguration"
_BLOCKS = ("BlockPublicAcls", "IgnorePublicAcls", "BlockPublicPolicy", "RestrictPublicBuckets")


class Bucket(NamedTuple):
    """What LAMBDALLM_PAYLOADS names; `prefix` is "" or ends with a slash."""

    name: str
    prefix: str
    region: str


def bucket_of(target: Target) -> Bucket | None:
    """Return the bucket that is named, None where none is, or wrongly."""
    text = target.environ.get(names.ENVIRONMENT_PAYLOADS, "").strip()
    if not _URL.fullmatch(text):
        return None
    url = urlsplit(text)
    prefix = url.path.strip("/")
    region = parse_qs(url.query).get("region", [target.region])[0]
    return Bucket(url.netloc, f"{prefix}/" if prefix else "", region)


def check_bucket(target: Target) -> Iterator[Finding]:
    """Look at the bucket, if one is named; this machine also tries it with one object."""
    text = target.environ.get(names.ENVIRONMENT_PAYLOADS, "").strip()
    if not text:
        return
    bucket = bucket_of(target)
    if bucket is None:
        said = f"{names.ENVIRONMENT_PAYLOADS}={text!r} is no place for objects."
        yield Finding("bucket", "fail", said, "Write s3://BUCKET[/PREFIX][?region=REGION].")
        return
    client = target.client("s3", region=bucket.region)
    try:
        head = ask(client.head_bucket, Bucket=bucket.name)
    except ClientError as error:
        yield _unseen(bucket, error)
        if code_of(error) not in DENIED:
            return
    else:
        yield _judge_region(bucket, head.get("BucketRegion") or bucket.region)
    yield from _check_lifecycle(client, bucket)
    yield from _check_block(client, bucket)
    if target.configuration is None:
        yield _try_object(client, target, bucket)


def bucket_statement(target: Target, bucket: Bucket) -> Statement:
    """Return what sessions need of the bucket."""
    arn = f"arn:{target.partition}:s3:::{bucket.name}/{bucket.prefix}*"
    return Statement("LargeTurns", ACTIONS, (arn,))


def lifecycle_command(bucket: Bucket, rules: list[Any]) -> str:
    """Return the command that sets the rules: those there are, and one for each class without."""
    missing = [
        {
            "ID": f"lambdallm-d{days}",
            "Status": "Enabled",
            "Filter": {"Prefix": f"{bucket.prefix}d{days}/"},
            "Expiration": {"Days": days},
        }
        for days in _missing(bucket, rules)
    ]
    configuration = json.dumps({"Rules": [*rules, *missing]}, default=str)
    return (
        f"aws s3api put-bucket-lifecycle-configuration --bucket {bucket.name} "
        f"--lifecycle-configuration '{configuration}'"
    )


def _unseen(bucket: Bucket, error: ClientError) -> Finding:
    code = code_of(error)
    if code in _NONE_THERE:
        said = f"There is no bucket {bucket.name!r}."
        make = f"aws s3 mb s3://{bucket.name} --region {bucket.region}"
        return Finding("bucket", "fail", said, "Make it:", (make,))
    if code in DENIED:
        said = f"You may not look at bucket {bucket.name!r}; whether it is there is not known."
        return Finding("bucket", "warn", said, "Allow yourself s3:ListBucket on it.")
    if status_of(error) in (301, 400):
        headers = error.response.get("ResponseMetadata", {}).get("HTTPHeaders", {})
        return _judge_region(bucket, headers.get("x-amz-bucket-region", "another region"))
    return Finding("bucket", "fail", f"{code}: {words_of(error)}", "See the credentials above.")


def _judge_region(bucket: Bucket, actual: str) -> Finding:
    if actual == bucket.region:
        return Finding("bucket", "ok", f"{bucket.name!r} in {bucket.region}.")
    said = f"{bucket.name!r} is in {actual}; it is asked in {bucket.region}."
    advice = f"Write ?region={actual} behind it, or take a bucket of the function's region."
    return Finding("bucket", "fail", said, advice)


def _missing(bucket: Bucket, rules: list[Any]) -> list[int]:
    """Return the classes that no rule deletes in time."""
    held: dict[str, int] = {}
    for rule in rules:
        filtered = rule.get("Filter", {})
        prefix = filtered.get("Prefix", rule.get("Prefix", ""))
        days = rule.get("Expiration", {}).get("Days")
        if rule.get("Status") == "Enabled" and days and set(filtered) <= {"Prefix"}:
            held[prefix] = days
    return [
        days for days in names.PAYLOAD_CLASSES_DAYS if held.get(f"{bucket.prefix}d{days}/") != days
    ]


def _check_lifecycle(client: Any, bucket: Bucket) -> Iterator[Finding]:
    try:
        answer = ask(client.get_bucket_lifecycle_configuration, Bucket=bucket.name)
        rules = list(answer.get("Rules", ()))
    except ClientError as error:
        if code_of(error) != _NO_RULES:
            said = f"You may not look at its lifecycle ({code_of(error)})."
            advice = "Allow yourself s3:GetLifecycleConfiguration."
            yield Finding("bucket lifecycle", "warn", said, advice)
            return
        rules = []
    early = _too_early(bucket, rules)
    if early:
        said = f"The rule {early!r} deletes objects that sessions still need."
        advice = "Take it away, or limit it to another prefix."
        yield Finding("bucket lifecycle", "fail", said, advice)
        return
    missing = _missing(bucket, rules)
    if not missing:
        yield Finding("bucket lifecycle", "ok", "Each class has its rule.")
        return
    classes = ", ".join(f"{bucket.prefix}d{days}/" for days in missing)
    yield Finding(
        "bucket lifecycle",
        "warn",
        f"No rule deletes {classes}: what has expired is not read any more, but stays.",
        "Set the rules (the command keeps those that are there):",
        (lifecycle_command(bucket, rules),),
    )


def _too_early(bucket: Bucket, rules: list[Any]) -> str:
    """Return the name of a rule that deletes a class before its time, "" where none does."""
    for rule in rules:
        filtered = rule.get("Filter", {})
        prefix = str(filtered.get("Prefix", rule.get("Prefix", "")))
        deletes_after = rule.get("Expiration", {}).get("Days")
        if rule.get("Status") != "Enabled" or not deletes_after or set(filtered) - {"Prefix"}:
            continue
        for days in names.PAYLOAD_CLASSES_DAYS:
            if f"{bucket.prefix}d{days}/".startswith(prefix) and deletes_after < days:
                return str(rule.get("ID", prefix))
    return ""


def _check_block(client: Any, bucket: Bucket) -> Iterator[Finding]:
    command = (
        f"aws s3api put-public-access-block --bucket {bucket.name} "
        "--public-access-block-configuration " + ",".join(f"{name}=true" for name in _BLOCKS)
    )
    try:
        answer = ask(client.get_public_access_block, Bucket=bucket.name)
        block = answer.get("PublicAccessBlockConfiguration", {})
    except ClientError as error:
        if code_of(error) != _NO_BLOCK:
            said = f"You may not look at its public access ({code_of(error)})."
            advice = "Allow yourself s3:GetBucketPublicAccessBlock."
            yield Finding("bucket access", "warn", said, advice)
            return
        block = {}
    if all(block.get(name) for name in _BLOCKS):
        yield Finding("bucket access", "ok", "Public access is blocked.")
    else:
        said = "Its policy or an object's ACL could make conversations public."
        yield Finding("bucket access", "warn", said, "Block public access:", (command,))


def _try_object(client: Any, target: Target, bucket: Bucket) -> Finding:
    """Put, get and delete one object, which a class would delete within a day all the same."""
    where = {"Bucket": bucket.name, "Key": f"{bucket.prefix}d1/doctor-{uuid.uuid4()}"}
    content = b"lambdallm doctor"
    action = ""
    try:
        action = "s3:PutObject"
        ask(client.put_object, Body=content, **where)
        action = "s3:GetObject"
        read = ask(client.get_object, **where)["Body"].read()
        action = "s3:DeleteObject"
        ask(client.delete_object, **where)
    except ClientError as error:
        if code_of(error) in DENIED:
            statement = bucket_statement(target, bucket)._replace(actions=(action,))
            said = f"These credentials may not: {action}."
            if action == "s3:DeleteObject":
                advice = "Only who deletes sessions needs it: attach the policy below, or not."
                return Finding("s3 access", "warn", said, advice, (), (statement,))
            advice = "Attach the policy below to their user or role."
            return Finding("s3 access", "fail", said, advice, (), (statement,))
        said = f"{action}: {code_of(error)}: {words_of(error)}"
        return Finding("s3 access", "fail", said, "Mend what is wrong above first.")
    if read != content:
        said = "An object did not come back as it was written."
        return Finding("s3 access", "fail", said, "Look at what stands between you and S3.")
    return Finding("s3 access", "ok", "Tried: s3:PutObject, s3:GetObject, s3:DeleteObject.")
