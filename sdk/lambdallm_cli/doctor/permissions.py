"""What the function's role may do, or this machine's identity: simulated, or tried.

Neither changes anything.

    a function      iam:SimulatePrincipalPolicy on its role, nothing is sent to the table
    this machine    real requests that write nothing: their conditions cannot hold
"""

from __future__ import annotations

import uuid
from typing import TYPE_CHECKING, Any

from botocore.exceptions import ClientError

from lambdallm_cli.doctor import buckets, prices, stores
from lambdallm_cli.doctor.models import split_model
from lambdallm_cli.doctor.report import Finding, Statement
from lambdallm_cli.doctor.target import DENIED, ask, code_of, words_of

if TYPE_CHECKING:
    from collections.abc import Iterator, Mapping

    from lambdallm_cli.doctor.stores import Table
    from lambdallm_cli.doctor.target import Target

TABLE_ACTIONS = (
    "dynamodb:GetItem",
    "dynamodb:Query",
    "dynamodb:PutItem",
    "dynamodb:UpdateItem",
    "dynamodb:ConditionCheckItem",
)
"""All that sessions and call records do; the same stand in template.yaml."""

_HELD = frozenset(("ConditionalCheckFailedException", "TransactionCanceledException"))
"""What a permitted request is refused with, because its condition cannot hold."""


def check_permissions(target: Target) -> Iterator[Finding]:
    """Find out which of the needed permissions are missing."""
    table = stores.table_of(target)
    if target.configuration is None:
        if table is not None:
            yield from _try_table(target, table)
        return
    role = str(target.configuration.get("Role", ""))
    wanted = []
    if table is not None:
        wanted.append(table_statement(target, table))
    bucket = buckets.bucket_of(target)
    if bucket is not None:
        wanted.append(buckets.bucket_statement(target, bucket))
    provider, model_id = split_model(target.model)
    if provider == "bedrock":
        wanted.append(model_statement(target, model_id))
    client = target.client("iam")
    for statement in wanted:
        check = f"{statement.actions[0].partition(':')[0]} access"
        yield from _simulate(client, role, statement, target, check)
    for need in prices.needs_of(target):
        for found in _simulate(client, role, need.statement, target, need.check):
            if found.state == "fail":
                said = f"{found.said} {need.follows}"
                yield found._replace(said=said, state=need.missing)
            else:
                yield found


def table_statement(target: Target, table: Table) -> Statement:
    """Return what the store needs."""
    arn = f"arn:{target.partition}:dynamodb:{table.region}:{_account(target)}:table/{table.name}"
    return Statement("SessionsAndCallRecords", TABLE_ACTIONS, (arn,))


def model_statement(target: Target, model_id: str) -> Statement:
    """Return what asking the model needs; a profile goes to its model in several regions."""
    arns: tuple[str, ...] = (model_id,)
    if not model_id.startswith("arn:"):
        bedrock = f"arn:{target.partition}:bedrock"
        geography, _, bare = model_id.partition(".")
        arns = (f"{bedrock}:*::foundation-model/{model_id}",)
        if geography in GEOGRAPHIES:
            profile = f"{bedrock}:{target.region}:{_account(target)}:inference-profile/{model_id}"
            arns = (profile, f"{bedrock}:*::foundation-model/{bare}")
    return Statement("AskTheModel", ("bedrock:InvokeModel",), arns)


GEOGRAPHIES = ("us", "us-gov", "eu", "apac", "jp", "au", "ca", "in", "global")
"""First words of the ids of cross-region inference profiles."""


def _account(target: Target) -> str:
    arn = str((target.configuration or {}).get("FunctionArn", ""))
    return arn.split(":")[4] if arn else "*"


def _simulate(
    client: Any, role: str, statement: Statement, target: Target, check: str
) -> Iterator[Finding]:
    """Ask IAM what the role may do with each resource."""
    denied: set[str] = set()
    reasons: set[str] = set()
    try:
        for resource in statement.resources:
            answer = ask(
                client.simulate_principal_policy,
                PolicySourceArn=role,
                ActionNames=list(statement.actions),
                ResourceArns=[resource.replace(":*::", f":{target.region}::")],
            )
            for result in answer["EvaluationResults"]:
                if result["EvalDecision"] != "allowed":
                    denied.add(str(result["EvalActionName"]))
                    reasons.add(_reason(result))
    except ClientError as error:
        yield _not_simulated(check, role, statement, error)
        return
    if not denied:
        yield Finding(check, "ok", f"The role may: {', '.join(statement.actions)}.")
        return
    missing = statement._replace(
        actions=tuple(action for action in statement.actions if action in denied)
    )
    said = f"The role {role.rpartition('/')[2]} may not: {', '.join(missing.actions)}"
    yield Finding(
        check, "fail", f"{said} ({', '.join(sorted(reasons))}).", _remedy(reasons), (), (missing,)
    )


_EXPLICIT = "an explicit Deny"
_ORGANIZATION = "a policy of the organization"
_BOUNDARY = "the permissions boundary"
_NOTHING = "nothing allows it"


def _reason(result: Mapping[str, Any]) -> str:
    if not result.get("OrganizationsDecisionDetail", {}).get("AllowedByOrganizations", True):
        return _ORGANIZATION
    boundary = result.get("PermissionsBoundaryDecisionDetail", {})
    if not boundary.get("AllowedByPermissionsBoundary", True):
        return _BOUNDARY
    return _EXPLICIT if result["EvalDecision"] == "explicitDeny" else _NOTHING


def _remedy(reasons: set[str]) -> str:
    if reasons == {_NOTHING}:
        return "Attach the policy below to the role."
    return "The policy below is needed, but not enough: what denies it has to be changed, too."


_COMPARE = "Compare what it has with the policy below."


def _not_simulated(check: str, role: str, statement: Statement, error: ClientError) -> Finding:
    name = role.rpartition("/")[2]
    if code_of(error) in DENIED:
        said = f"What the role {name} may do is not known: you may not simulate it."
        advice = f"Allow yourself iam:SimulatePrincipalPolicy on {role}. {_COMPARE}"
    else:
        said = f"What the role {name} may do is not known: {code_of(error)}: {words_of(error)}"
        advice = _COMPARE
    return Finding(check, "warn", said, advice, (), (statement,))


def _try_table(target: Target, table: Table) -> Iterator[Finding]:
    """Ask the table itself, in ways that write nothing."""
    client = target.client("dynamodb", region=table.region)
    nobody = {"pk": {"S": f"DOCTOR#{uuid.uuid4()}"}, "sk": {"S": "NOBODY"}}
    only_if_there = {"TableName": table.name, "ConditionExpression": "attribute_exists(pk)"}
    attempts: dict[str, tuple[Any, dict[str, Any]]] = {
        "dynamodb:GetItem": (client.get_item, {"TableName": table.name, "Key": nobody}),
        "dynamodb:Query": (
            client.query,
            {
                "TableName": table.name,
                "KeyConditionExpression": "pk = :pk",
                "ExpressionAttributeValues": {":pk": nobody["pk"]},
            },
        ),
        "dynamodb:PutItem": (client.put_item, {**only_if_there, "Item": nobody}),
        "dynamodb:UpdateItem": (client.update_item, {**only_if_there, "Key": nobody}),
        "dynamodb:ConditionCheckItem": (
            client.transact_write_items,
            {"TransactItems": [{"ConditionCheck": {**only_if_there, "Key": nobody}}]},
        ),
    }
    denied = []
    for action, (call, parameters) in attempts.items():
        try:
            ask(call, **parameters)
        except ClientError as error:
            code = code_of(error)
            if code in DENIED:
                denied.append(action)
            elif code not in _HELD:
                said = f"{action}: {code}: {words_of(error)}"
                yield Finding("dynamodb access", "fail", said, "Mend what is wrong above first.")
                return
    if denied:
        statement = table_statement(target, table)._replace(actions=tuple(denied))
        said = f"These credentials may not: {', '.join(denied)}."
        advice = "Attach the policy below to their user or role."
        yield Finding("dynamodb access", "fail", said, advice, (), (statement,))
    else:
        yield Finding("dynamodb access", "ok", f"Tried: {', '.join(TABLE_ACTIONS)}.")
