"""What is asked of DynamoDB: the parameters of each operation, without I/O.

Names and values never stand in an expression themselves, so that no reserved word and no
character of theirs matters: `#0` and `:0` do. Source: DynamoDB API Reference, 2012-08-10.
"""

from __future__ import annotations

from lambdallm_extension.ports import ALWAYS, Add, Check, Put
from lambdallm_extension.stores import attribute_values, rules
from lambdallm_wire import plain_json

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Sequence
    from typing import Any

    from lambdallm_extension.ports import Action, Condition, Key, Value

    Parameters = dict[str, Any]

_LAST_CHARACTER = "\U0010ffff"


class _Expression:
    """Collects the names and values that expressions refer to."""

    def __init__(self) -> None:
        self._names: dict[str, str] = {}
        self._values: Parameters = {}

    def name(self, name: str) -> str:
        for place, known in self._names.items():
            if known == name:
                return place
        place = f"#{len(self._names)}"
        self._names[place] = name
        return place

    def value(self, value: Value) -> str:
        place = f":{len(self._values)}"
        self._values[place] = attribute_values.encode(value)
        return place

    def condition(self, condition: Condition) -> str:
        """Return the condition's expression, "" for one that always holds."""
        rules.check_condition(condition)
        parts = []
        if condition.absent is not None:
            parts.append("attribute_not_exists(pk)" if condition.absent else "attribute_exists(pk)")
        for name, value in condition.equals.items():
            parts.append(f"{self.name(name)} = {self.value(value)}")
        for name, limit in condition.at_most.items():
            within = f"{self.name(name)} <= {self.value(limit)}"
            if limit >= 0:  # A missing number counts as 0.
                within = f"(attribute_not_exists({self.name(name)}) OR {within})"
            parts.append(within)
        return " AND ".join(parts)

    def complete(self, parameters: Parameters) -> Parameters:
        """Add what the expressions refer to; empty maps are refused by DynamoDB."""
        if self._names:
            parameters["ExpressionAttributeNames"] = self._names
        if self._values:
            parameters["ExpressionAttributeValues"] = self._values
        return parameters


def get_item(table: str, key: Key) -> Parameters:
    """Read one item, strongly consistent."""
    rules.check_key(key)
    return {
        "TableName": table,
        "Key": attribute_values.encode_key(key),
        "ConsistentRead": True,
    }


def delete_item(table: str, key: Key, condition: Condition = ALWAYS) -> Parameters:
    """Remove one item, whatever it holds."""
    rules.check_key(key)
    parameters = {"TableName": table, "Key": attribute_values.encode_key(key)}
    return _conditioned(parameters, condition, _Expression())


def scan(table: str, prefix: str, sk: str, cursor: str) -> Parameters:
    """Look at the whole table, strongly consistent, for the items under one sort key."""
    rules.check_scan(prefix, sk)
    expression = _Expression()
    parameters: Parameters = {
        "TableName": table,
        "FilterExpression": (
            f"sk = {expression.value(sk)} AND begins_with(pk, {expression.value(prefix)})"
        ),
        "ConsistentRead": True,
    }
    if cursor:
        parameters["ExclusiveStartKey"] = plain_json.loads(cursor)
    return expression.complete(parameters)


def query(table: str, pk: str, prefix: str, *, first: str = "", reverse: bool) -> Parameters:
    """Read a partition's items, strongly consistent; `Limit` and the start are the caller's."""
    rules.check_prefix(pk, prefix)
    expression = _Expression()
    condition = f"pk = {expression.value(pk)}"
    if first:
        last = expression.value(prefix + _LAST_CHARACTER)
        condition += f" AND sk BETWEEN {expression.value(first)} AND {last}"
    elif prefix:
        condition += f" AND begins_with(sk, {expression.value(prefix)})"
    parameters: Parameters = {
        "TableName": table,
        "KeyConditionExpression": condition,
        "ConsistentRead": True,
    }
    if reverse:
        parameters["ScanIndexForward"] = False
    return expression.complete(parameters)


def put_item(table: str, put: Put, put_id: str = "") -> Parameters:
    """Write one item, with a mark of this very write if one is given."""
    parameters = _put(table, put)
    if put_id:
        parameters["Item"][attribute_values.PUT_ID] = {"S": put_id}
    return parameters


def update_item(table: str, add: Add) -> Parameters:
    """Change one item and return it whole."""
    return {**_update(table, add), "ReturnValues": "ALL_NEW"}


def transact_write_items(table: str, actions: Sequence[Action], token: str) -> Parameters:
    """Do all actions or none, once under the token."""
    rules.check_transaction(actions, token)
    items = []
    for action in actions:
        if isinstance(action, Put):
            items.append({"Put": _put(table, action)})
        elif isinstance(action, Check):
            items.append({"ConditionCheck": _check(table, action)})
        else:
            items.append({"Update": _update(table, action)})
    return {"TransactItems": items, "ClientRequestToken": token}


def consumed_milli(answer: Parameters, usual: int) -> int:
    """Return the units that an answer says were consumed, in thousandths.

    Args:
        answer: To a request that has asked for `TOTAL`.
        usual: Units of such a request, for servers that do not say.
    """
    told: Any = answer.get("ConsumedCapacity")
    tables: list[Any] = told if isinstance(told, list) else [told]
    try:
        units = sum([float(table["CapacityUnits"]) for table in tables])
    except (KeyError, TypeError, ValueError):
        units = 0.0
    return round(units * 1_000) or 1_000 * usual


def _put(table: str, put: Put) -> Parameters:
    rules.check_key(put.item.key)
    rules.check_names(put.item.attributes)
    parameters: Parameters = {
        "TableName": table,
        "Item": attribute_values.encode_item(put.item),
    }
    return _conditioned(parameters, put.condition, _Expression())


def _update(table: str, add: Add) -> Parameters:
    rules.check_add(add)
    expression = _Expression()
    adds = [f"{expression.name(name)} {expression.value(n)}" for name, n in add.add.items()]
    sets = [
        f"{expression.name(name)} = {expression.value(value)}" for name, value in add.assign.items()
    ]
    if add.expires_at is not None:
        sets.append(f"{expression.name('expires_at')} = {expression.value(add.expires_at)}")
    clauses = []
    if sets:
        clauses.append("SET " + ", ".join(sets))
    if adds:
        clauses.append("ADD " + ", ".join(adds))
    if not clauses:
        # A transaction takes no update without an expression; this one changes no attribute.
        clauses.append(f"REMOVE {attribute_values.PUT_ID}")
    parameters: Parameters = {
        "TableName": table,
        "Key": attribute_values.encode_key(add.key),
        "UpdateExpression": " ".join(clauses),
    }
    return _conditioned(parameters, add.condition, expression)


def _check(table: str, check: Check) -> Parameters:
    rules.check_key(check.key)
    parameters: Parameters = {
        "TableName": table,
        "Key": attribute_values.encode_key(check.key),
    }
    if check.condition == ALWAYS:
        # A check must have a condition.
        parameters["ConditionExpression"] = "attribute_exists(pk) OR attribute_not_exists(pk)"
        return parameters
    return _conditioned(parameters, check.condition, _Expression())


def _conditioned(
    parameters: Parameters, condition: Condition, expression: _Expression
) -> Parameters:
    """Add the condition, and ask for the item that stands there where it fails."""
    text = expression.condition(condition)
    if text:
        parameters["ConditionExpression"] = text
        parameters["ReturnValuesOnConditionCheckFailure"] = "ALL_OLD"
    return expression.complete(parameters)
