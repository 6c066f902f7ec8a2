"""The store: is it there, and of the shape that lambdallm needs?"""

from __future__ import annotations

import os
from pathlib import Path
from typing import TYPE_CHECKING, Any, NamedTuple
from urllib.parse import parse_qs, urlsplit

from botocore.exceptions import ClientError

from lambdallm_cli.doctor.redis_servers import check_redis
from lambdallm_cli.doctor.report import Finding, Statement
from lambdallm_cli.doctor.target import DENIED, ask, code_of, words_of
from lambdallm_cli.redis_reading import is_redis, without_password

if TYPE_CHECKING:
    from collections.abc import Iterator, Mapping

    from lambdallm_cli.doctor.target import Target

DEFAULT_SQLITE = ".lambdallm/lambdallm.db"
"""Outside Lambda, when LAMBDALLM_STORE names none."""

_FORMS = "dynamodb://TABLE[?region=REGION], redis://HOST, sqlite:///PATH or memory:"
_KEYS = (("pk", "HASH"), ("sk", "RANGE"))
_TTL = "expires_at"


class Table(NamedTuple):
    """A DynamoDB table that LAMBDALLM_STORE names."""

    name: str
    region: str


def table_of(target: Target) -> Table | None:
    """Return the table that is named, None for another kind of store."""
    url = urlsplit(target.store_url)
    if url.scheme != "dynamodb" or not url.netloc:
        return None
    region = parse_qs(url.query).get("region", [target.region])[0]
    return Table(url.netloc, region)


def check_store(target: Target) -> Iterator[Finding]:
    """Look at the store of any kind."""
    url, in_lambda = target.store_url, target.configuration is not None
    table = table_of(target)
    if table is not None:
        yield from _check_table(target, table)
    elif is_redis(url):
        yield from check_redis(url, in_lambda=in_lambda)
    elif url.startswith("sqlite:///") and len(url) > len("sqlite:///"):
        yield from _check_file(url[len("sqlite:///") :], in_lambda=in_lambda)
    elif url == "memory:":
        said = "memory: forgets with each execution environment, or process."
        advice = "LAMBDALLM_STORE=dynamodb://TABLE remembers." if in_lambda else ""
        yield Finding("store", "warn" if in_lambda else "ok", said, advice)
    elif url:
        said = f"LAMBDALLM_STORE={without_password(url)!r} is none."
        yield Finding("store", "fail", said, f"Write {_FORMS}.")
    elif in_lambda:
        yield Finding(
            "store",
            "warn",
            "LAMBDALLM_STORE is not set: declared sessions are refused, no call is recorded.",
            "Set LAMBDALLM_STORE=dynamodb://TABLE.",
        )
    else:
        yield from _check_file(DEFAULT_SQLITE, in_lambda=False)


def _check_file(text: str, *, in_lambda: bool) -> Iterator[Finding]:
    if in_lambda:
        said = f"sqlite:///{text} is a file of one environment, which ends with it."
        yield Finding("store", "warn", said, "LAMBDALLM_STORE=dynamodb://TABLE remembers.")
        return
    path = Path(text)
    existing = next(each for each in (path, *path.absolute().parents) if each.exists())
    kind = "file" if existing == path else "directory"
    if path.is_dir() or not os.access(existing, os.W_OK):
        said = f"SQLite cannot write {path}: {existing} is not a {kind} that you may write."
        yield Finding("store", "fail", said, "Set LAMBDALLM_STORE=sqlite:///PATH to one you may.")
    else:
        made = "" if existing == path else ", which is made at the first use"
        yield Finding("store", "ok", f"SQLite, {path.absolute()}{made}.")


def _check_table(target: Target, table: Table) -> Iterator[Finding]:
    if table.region != target.region:
        said = f"The store is in {table.region}, everything else in {target.region}."
        yield Finding("store region", "warn", said, "Each read crosses regions: is that meant?")
    client = target.client("dynamodb", region=table.region)
    try:
        description = ask(client.describe_table, TableName=table.name)["Table"]
    except ClientError as error:
        yield _unseen(target, table, error)
        return
    yield _judge_keys(table, description)
    yield from _check_ttl(client, table)
    yield _judge_billing(table, description)


def _no_such_name(table: Table) -> Finding:
    said = f"A table cannot be named {table.name!r}."
    return Finding("table", "fail", said, "Names have 3 to 255 of: letters, digits, _ - and .")


def _unseen(target: Target, table: Table, error: ClientError) -> Finding:
    code = code_of(error)
    if code == "ResourceNotFoundException":
        said = f"There is no table {table.name!r} in {table.region}."
        return Finding("table", "fail", said, "Make it:", create_commands(table))
    if code in ("ValidationException", "ParamValidationError"):
        return _no_such_name(table)
    if code in DENIED:
        arn = f"arn:{target.partition}:dynamodb:{table.region}:*:table/{table.name}"
        statement = Statement("LookAtTheTable", ("dynamodb:DescribeTable",), (arn,))
        said = f"You may not look at table {table.name!r}; whether it is right is not known."
        advice = f"Allow yourself {statement.actions[0]} on {arn}."
        return Finding("table", "warn", said, advice)
    return Finding("table", "fail", f"{code}: {words_of(error)}", "See the credentials above.")


def create_commands(table: Table) -> tuple[str, ...]:
    """Return the commands that make the table."""
    where = f"--region {table.region} --table-name {table.name}"
    return (
        f"aws dynamodb create-table {where} --billing-mode PAY_PER_REQUEST "
        "--attribute-definitions AttributeName=pk,AttributeType=S AttributeName=sk,AttributeType=S "
        "--key-schema AttributeName=pk,KeyType=HASH AttributeName=sk,KeyType=RANGE",
        f"aws dynamodb wait table-exists {where}",
        _ttl_command(table),
    )


def _ttl_command(table: Table) -> str:
    return (
        f"aws dynamodb update-time-to-live --region {table.region} --table-name {table.name} "
        f"--time-to-live-specification Enabled=true,AttributeName={_TTL}"
    )


def _judge_keys(table: Table, description: Mapping[str, Any]) -> Finding:
    status = description.get("TableStatus", "ACTIVE")
    definitions = description["AttributeDefinitions"]
    kinds = {each["AttributeName"]: each["AttributeType"] for each in definitions}
    keys = tuple((each["AttributeName"], each["KeyType"]) for each in description["KeySchema"])
    if keys != _KEYS or any(kinds.get(name) != "S" for name, _ in _KEYS):
        found = ", ".join(f"{name} ({kinds.get(name)}, {kind})" for name, kind in keys)
        said = f"{table.name!r} has the keys {found}; it needs pk (S, HASH) and sk (S, RANGE)."
        advice = "Keys cannot be changed: name another table in LAMBDALLM_STORE, and make it so:"
        return Finding("table", "fail", said, advice, create_commands(table._replace(name="NAME")))
    if status not in ("ACTIVE", "UPDATING"):
        said = f"{table.name!r} is {status.lower()}."
        return Finding("table", "fail", said, "Look again when it is active.")
    return Finding("table", "ok", f"{table.name!r} in {table.region} has the keys it needs.")


def _check_ttl(client: Any, table: Table) -> Iterator[Finding]:
    try:
        answer = ask(client.describe_time_to_live, TableName=table.name)
    except ClientError as error:
        said = f"You may not look at it ({code_of(error)})."
        yield Finding("ttl", "warn", said, "Allow yourself dynamodb:DescribeTimeToLive.")
        return
    ttl = answer.get("TimeToLiveDescription", {})
    if ttl.get("TimeToLiveStatus") in ("ENABLED", "ENABLING") and ttl.get("AttributeName") == _TTL:
        yield Finding("ttl", "ok", f"On {_TTL}.")
        return
    attribute = ttl.get("AttributeName")
    said = f"It is on {attribute!r}." if attribute else "It is off."
    yield Finding(
        "ttl",
        "warn",
        f"{said} What has expired is not read any more, but stays in the table, and is paid for.",
        "Turn it on:",
        (_ttl_command(table),),
    )


def _judge_billing(table: Table, description: Mapping[str, Any]) -> Finding:
    mode = (description.get("BillingModeSummary") or {}).get("BillingMode", "PROVISIONED")
    if mode == "PAY_PER_REQUEST":
        return Finding("billing", "ok", "On demand.")
    throughput = description.get("ProvisionedThroughput") or {}
    reads, writes = throughput.get("ReadCapacityUnits"), throughput.get("WriteCapacityUnits")
    return Finding(
        "billing",
        "warn",
        f"Provisioned ({reads} read, {writes} write units): a busy moment is throttled, and waits.",
        "Unless the load is even and known:",
        (
            f"aws dynamodb update-table --region {table.region} --table-name {table.name} "
            "--billing-mode PAY_PER_REQUEST",
        ),
    )
