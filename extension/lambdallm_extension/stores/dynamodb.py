"""The store that functions use: one DynamoDB table.

When an answer is lost, what was asked decides:

    read                          ask again
    transact                      send it again under its token: done once
    put where nothing must be     send it again with the same `put_id`: at most one of the two can
                                  hold its condition, and the mark tells whose item stands there
    any other put, any addition   `WriteUncertainError`: only the caller can read and decide
"""

from __future__ import annotations

import os
import time

from lambda_runtime_api.declarations import NamedTuple
from lambdallm_extension.aws.client import AwsClient
from lambdallm_extension.aws.endpoints import arn_partition
from lambdallm_extension.domain.overhead import MILLI, Overhead
from lambdallm_extension.errors import (
    ConditionFailedError,
    DeadlineError,
    StoreError,
    StoreRefusedError,
    StoreUnavailableError,
    WriteUncertainError,
)
from lambdallm_extension.http_client.failures import AnswerLostError, NotSentError
from lambdallm_extension.ports import ALWAYS, Check, Page
from lambdallm_extension.settings import SystemRandom
from lambdallm_extension.stores import attribute_values, dynamodb_requests as requests, rules
from lambdallm_extension.stores.dynamodb_refusals import (
    FORBIDDEN,
    Outcome,
    Refusal,
    read_answer,
    read_refusal,
)
from lambdallm_wire import plain_json

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Callable, Sequence
    from typing import Any

    from lambdallm_extension.aws.credentials import CredentialSource
    from lambdallm_extension.ports import Action, Add, Clock, Condition, Item, Key, Put, Random
    from lambdallm_extension.settings import Settings

ATTEMPTS_MAX = 8

FIRST_DELAY_SECONDS = 0.025
"""Upper bound of the first wait, doubled each time: a partition's throttle ends in milliseconds."""

DELAY_MAX_SECONDS = 1.0

CONNECT_TIMEOUT_SECONDS = 2.0
READ_TIMEOUT_SECONDS = 5.0
"""DynamoDB answers in milliseconds; 1 MB of a query, or a transaction of 100, in well under one
second. A peer that is silent for longer is gone."""

TELLING_MS = 50
"""Kept free before the deadline, so that who waits until then hears why DynamoDB did not answer."""

_OK = 200

_TRANSACTED_UNITS = 2
"""Write units of each action of a transaction, of up to 1 KB."""

_THROTTLED = (
    "The table is throttled: ask again a little later; lasting, give it on-demand capacity "
    "(--billing-mode PAY_PER_REQUEST) or more units."
)

_PATIENCE = dict.fromkeys(
    (
        "ProvisionedThroughputExceededException",
        "ProvisionedThroughputExceeded",
        "RequestLimitExceeded",
        "ThrottledException",
        "ThrottlingError",
        "ThrottlingException",
    ),
    _THROTTLED,
)

_NOT_ACCEPTED = (
    "IncompleteSignatureException",
    "InvalidSignatureException",
    "MissingAuthenticationTokenException",
)

_PERMISSIONS = {
    "TransactWriteItems": "dynamodb:PutItem, dynamodb:UpdateItem and dynamodb:ConditionCheckItem"
}


class _Call(NamedTuple):
    """One operation, encoded.

    Attributes:
        writes: Whether losing its answer leaves anything uncertain.
        repeatable: Whether it may be sent again after its answer was lost.
        actions: What it does; their conditions may fail.
        put_id: Mark of a put that is repeatable because of it.
        token: Whether a transaction's token makes it so.
    """

    operation: str
    parameters: dict[str, Any]
    writes: bool = False
    repeatable: bool = True
    actions: Sequence[Action] = ()
    put_id: str = ""
    token: str = ""


def connect(
    table: str,
    settings: Settings,
    clock: Clock,
    credentials: CredentialSource,
    overhead: Overhead | None = None,
) -> DynamoDBStore:
    """Make a store of a table in the settings' region. Nothing is sent yet."""
    client = AwsClient("dynamodb", settings, credentials, clock)
    return DynamoDBStore(client, table, clock, SystemRandom(), time.sleep, overhead)


class DynamoDBStore:
    """`ports.Store` over one table. Threads share it."""

    def __init__(
        self,
        client: AwsClient,
        table: str,
        clock: Clock,
        random: Random,
        sleep: Callable[[float], None],
        overhead: Overhead | None = None,
    ) -> None:
        self._overhead = Overhead() if overhead is None else overhead
        self._client = client
        self._table = table
        self._clock = clock
        self._random = random
        self._sleep = sleep

    def get(self, key: Key, *, deadline_ms: int) -> Item | None:
        """Return the item, or None when there is none."""
        call = _Call("GetItem", requests.get_item(self._table, key))
        answer = self._send(call, deadline_ms)
        return attribute_values.decode_item(answer["Item"]) if "Item" in answer else None

    def query(
        self,
        pk: str,
        prefix: str,
        *,
        first: str = "",
        reverse: bool = False,
        limit: int | None = None,
        deadline_ms: int,
    ) -> list[Item]:
        """Return the partition's items whose sort key begins with `prefix`, page by page."""
        parameters = requests.query(self._table, pk, prefix, first=first, reverse=reverse)
        items: list[Item] = []
        while limit is None or len(items) < limit:
            if limit is not None:
                parameters["Limit"] = limit - len(items)
            answer = self._send(_Call("Query", parameters), deadline_ms)
            items += [attribute_values.decode_item(item) for item in answer.get("Items", ())]
            start = answer.get("LastEvaluatedKey")
            if not start:
                break
            parameters["ExclusiveStartKey"] = start
        return items

    def outline(self, pk: str, *, deadline_ms: int) -> list[Item]:
        """Return all items of a partition."""
        return self.query(pk, "", deadline_ms=deadline_ms)

    def put_if(self, put: Put, *, deadline_ms: int) -> None:
        """Write one item if its condition holds."""
        put_id = os.urandom(8).hex() if put.condition.absent else ""
        self._send(
            _Call(
                "PutItem",
                requests.put_item(self._table, put, put_id),
                writes=True,
                repeatable=bool(put_id),
                actions=(put,),
                put_id=put_id,
            ),
            deadline_ms,
        )

    def add_if(self, add: Add, *, deadline_ms: int) -> Item:
        """Change one item if its condition holds, and return it as it is then."""
        call = _Call(
            "UpdateItem",
            requests.update_item(self._table, add),
            writes=True,
            repeatable=False,
            actions=(add,),
        )
        return attribute_values.decode_item(self._send(call, deadline_ms)["Attributes"])

    def transact(self, actions: Sequence[Action], *, token: str, deadline_ms: int) -> None:
        """Do all of it or nothing."""
        call = _Call(
            "TransactWriteItems",
            requests.transact_write_items(self._table, actions, token),
            writes=True,
            actions=actions,
            token=token,
        )
        self._send(call, deadline_ms)

    def delete(self, key: Key, *, deadline_ms: int, condition: Condition = ALWAYS) -> None:
        """Remove an item, if there is one; twice does no harm."""
        call = _Call(
            "DeleteItem",
            requests.delete_item(self._table, key, condition),
            writes=True,
            actions=(Check(key, condition),),
        )
        self._send(call, deadline_ms)

    def scan(self, prefix: str, sk: str, *, cursor: str = "", deadline_ms: int) -> Page:
        """Return what one request finds: DynamoDB reads 1 MB for it."""
        parameters = requests.scan(self._table, prefix, sk, cursor)
        answer = self._send(_Call("Scan", parameters), deadline_ms)
        items = [attribute_values.decode_item(item) for item in answer.get("Items", ())]
        start = answer.get("LastEvaluatedKey")
        return Page(items, plain_json.dumps(start) if start else "")

    def reopen(self) -> None:
        """Drop connections that a freeze may have killed, and open one beside the caller."""
        self._client.reopen()

    def close(self) -> None:
        """Close the connections."""
        self._client.close()

    def _send(self, call: _Call, deadline_ms: int) -> dict[str, Any]:
        """Send it as often as it takes and as is safe, and return the answer."""
        deadline_ms -= TELLING_MS
        body = self._encode({**call.parameters, "ReturnConsumedCapacity": "TOTAL"})
        lost = renewed = False
        attempt = 0
        while True:
            answer = self._try(call, body, deadline_ms)
            if isinstance(answer, dict):
                return answer
            outcome = answer.outcome
            if outcome == Outcome.CONDITION:
                if lost and _is_own(call, answer):
                    return {}
                lost = lost and not call.token  # The token proves that nothing was done before.
            lost = lost or outcome == Outcome.LOST
            if outcome == Outcome.EXPIRED and not renewed:
                renewed = True
                self._client.renew_credentials()
                continue
            wait = self._delay(call, answer, attempt, deadline_ms)
            if wait is None:
                raise self._error(call, answer, lost=lost)
            attempt += 1
            self._sleep(wait)

    def _encode(self, parameters: dict[str, Any]) -> bytes:
        try:
            return plain_json.dumps(parameters).encode()
        except UnicodeEncodeError:
            message = "Text with half a character (a lone surrogate) cannot be stored."
            raise StoreRefusedError(message) from None

    def _try(self, call: _Call, body: bytes, deadline_ms: int) -> dict[str, Any] | Refusal:
        headers = [
            ("content-type", "application/x-amz-json-1.0"),
            ("x-amz-target", f"DynamoDB_20120810.{call.operation}"),
        ]
        try:
            reply = self._client.post(
                "/",
                headers,
                body,
                deadline_ms=deadline_ms,
                connect_timeout_seconds=CONNECT_TIMEOUT_SECONDS,
                read_timeout_seconds=READ_TIMEOUT_SECONDS,
                idempotent=not call.writes or bool(call.token),
            )
        except AnswerLostError as error:
            return Refusal(Outcome.LOST, "no answer", error.detail)
        except (NotSentError, DeadlineError) as error:
            return Refusal(Outcome.AGAIN, "not sent", error.detail)
        answer = read_answer(reply) if reply.status == _OK else read_refusal(reply)
        self._count(call, answer)
        return answer

    def _count(self, call: _Call, answer: dict[str, Any] | Refusal) -> None:
        """Count the units that a request has cost; a write that is refused costs them, too."""
        usual = max(1, len(call.actions)) * (_TRANSACTED_UNITS if call.token else 1)
        if isinstance(answer, dict):
            units = requests.consumed_milli(answer, usual)
            (self._overhead.write if call.writes else self._overhead.read)(units)
        elif answer.outcome == Outcome.CONDITION:
            self._overhead.write(MILLI * usual)

    def _delay(self, call: _Call, refusal: Refusal, attempt: int, deadline_ms: int) -> float | None:
        """Return how long to wait before the next attempt (full jitter), None for no more."""
        if refusal.outcome == Outcome.LOST and not call.repeatable:
            return None
        if refusal.outcome not in (Outcome.AGAIN, Outcome.LOST) or attempt + 1 >= ATTEMPTS_MAX:
            return None
        bound = min(DELAY_MAX_SECONDS, FIRST_DELAY_SECONDS * 2**attempt)
        wait = self._random.uniform(0, bound)
        left_seconds = (deadline_ms - self._clock.epoch_ms()) / 1000
        return wait if wait < left_seconds else None

    def _error(self, call: _Call, refusal: Refusal, *, lost: bool) -> StoreError:
        """Make the error that says what is true now."""
        said = f"{call.operation} on {self._where()}: {refusal.kind}: {refusal.message}"
        if call.writes and lost:
            return WriteUncertainError(f"It may have been written. {said}")
        if refusal.outcome == Outcome.CONDITION:
            return _condition_failed(call, refusal)
        if refusal.outcome in (Outcome.AGAIN, Outcome.LOST):
            return StoreUnavailableError(f"{said} {_PATIENCE.get(refusal.kind, '')}".rstrip())
        return self._refused(call, refusal, said)

    def _refused(self, call: _Call, refusal: Refusal, said: str) -> StoreRefusedError:
        """Say what has to be changed."""
        table, region = self._table, self._client.region
        if refusal.kind == "ResourceNotFoundException":
            return StoreRefusedError(
                f"There is no table {table!r} in {region} (LAMBDALLM_STORE, AWS_REGION). Make it: "
                f"aws dynamodb create-table --region {region} --table-name {table} "
                "--billing-mode PAY_PER_REQUEST --attribute-definitions "
                "AttributeName=pk,AttributeType=S AttributeName=sk,AttributeType=S "
                "--key-schema AttributeName=pk,KeyType=HASH AttributeName=sk,KeyType=RANGE "
                "(and TTL on the attribute expires_at)."
            )
        if refusal.kind in ("AccessDeniedException", "AccessDenied", FORBIDDEN):
            permission = _PERMISSIONS.get(call.operation, f"dynamodb:{call.operation}")
            return StoreRefusedError(
                f"Not allowed. Give the function's role {permission} on "
                f"arn:{arn_partition(region)}:dynamodb:{region}:*:table/{table} "
                f"(`lambdallm doctor` lists what else is missing). {said}"
            )
        if refusal.outcome == Outcome.EXPIRED or refusal.kind in _NOT_ACCEPTED:
            return StoreRefusedError(
                f"The credentials are not accepted: in Lambda a new execution environment gets "
                f"new ones (deploy, or change a variable); elsewhere sign in again, and check the "
                f"clock. {said}"
            )
        if "item size" in refusal.message.lower() and call.actions:
            return StoreRefusedError(f"{rules.too_large(rules.key_of(call.actions[0]))} {said}")
        return StoreRefusedError(said)

    def _where(self) -> str:
        return f"table {self._table!r} ({self._client.url.host})"


def _is_own(call: _Call, refusal: Refusal) -> bool:
    """Whether the item that stands in the way is the one this very call has put there."""
    item = refusal.items[0] if refusal.items else None
    mark = {"S": call.put_id}
    return bool(call.put_id) and item is not None and item.get(attribute_values.PUT_ID) == mark


def _condition_failed(call: _Call, refusal: Refusal) -> ConditionFailedError:
    current = [
        None if item is None else attribute_values.decode_item(item) for item in refusal.items
    ]
    return rules.condition_failed(call.actions, current, refusal.failed.index(True))
