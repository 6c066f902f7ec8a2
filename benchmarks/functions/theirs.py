"""The function without lambdallm: the same turn with boto3 in its own process."""

import os
import time

_import_started = time.perf_counter(), time.process_time()
import boto3  # noqa: E402 - it is what is measured

CLIENT = boto3.client("dynamodb", endpoint_url=os.environ["AWS_ENDPOINT_URL_DYNAMODB"])
IMPORT_WALL, IMPORT_CPU = (
    now - then
    for now, then in zip((time.perf_counter(), time.process_time()), _import_started, strict=True)
)
KEY = {"pk": {"S": "SESSION#bench"}, "sk": {"S": "HEAD"}}


def now():
    """Return wall clock and CPU, in seconds; there is no sidecar."""
    return time.perf_counter(), time.process_time(), 0.0


def burn(milliseconds):
    """Use CPU, as a handler does with its own work."""
    until = time.process_time() + milliseconds / 1_000
    while time.process_time() < until:
        pass


def one(event):
    """Read, work and save; return what was seen of it, in seconds."""
    started = now()
    answer = CLIENT.get_item(TableName="lambdallm", Key=KEY, ConsistentRead=True)
    read = now()
    turns = answer["Item"]["turns"]["L"]
    if event.get("save"):
        burn(event.get("burn_ms", 0))
        said = now()
        CLIENT.put_item(TableName="lambdallm", Item={**KEY, "turns": {"L": turns}})
    else:
        said = now()
    ended = now()
    return {
        "count": len(turns),
        "read": [b - a for a, b in zip(started, read, strict=True)],
        "save": [b - a for a, b in zip(said, ended, strict=True)],
        "all": [b - a for a, b in zip(started, ended, strict=True)],
    }


def handler(event, context):
    """Run `count` turns with a gap between them."""
    seen = []
    for number in range(event.get("count", 1)):
        if number and event.get("gap_ms"):
            time.sleep(event["gap_ms"] / 1_000)
        seen.append(one(event))
    return {"import": [IMPORT_WALL, IMPORT_CPU], "from": boto3.__file__, "seen": seen}
