"""What the deployed functions run: turns of a conversation, and questions to the environment."""

import functools
import json
import os
import resource
import signal
import socket
import struct
import subprocess
import time
from pathlib import Path

STARTED = time.time()
SIGTERM_LOG = Path("/tmp/sigterm")  # noqa: S108 - the one place that outlives a reset
PROBE_LOG = Path("/tmp/probe.json")  # noqa: S108


def turn(event, context):
    """One turn of a conversation, with lambdallm."""
    from lambdallm import Session, handler

    @handler(session=Session(store="dynamodb", ttl_hours=1))
    def speak(event, context):
        session = context.session
        session.add_message("user", event["message"])
        if event.get("hang"):
            time.sleep(900)
        answer = context.invoke(session.format_history())
        session.add_message("assistant", answer)
        return {"answer": str(answer), "turns": len(session.messages)}

    return json.loads(speak(event, context)["body"])


def twin(event, context):
    """The same turn as people write it with boto3: one item that is read and rewritten."""
    table = _table()
    key = {"pk": f"TWIN#{event['session_id']}", "sk": "HEAD"}
    item = table.get_item(Key=key, ConsistentRead=True).get("Item", {**key, "turns": []})
    item["turns"] = [*item["turns"], event["message"], f"You said: {event['message']}"][-20:]
    table.put_item(Item=item)
    return {"turns": len(item["turns"])}


@functools.cache
def _table():
    import boto3

    return boto3.resource("dynamodb").Table(os.environ["TWIN_TABLE"])


def ask(event, context):
    """Answer what is asked about this environment."""
    return {question: _QUESTIONS[question]() for question in event["questions"]}


def sigterm(event, context):
    """Note how long this process lives after SIGTERM; or say what an earlier one noted."""
    if not event.get("hang"):
        return SIGTERM_LOG.read_text().split() if SIGTERM_LOG.exists() else []

    def note(*_):
        until = time.monotonic() + 5
        while time.monotonic() < until:
            with SIGTERM_LOG.open("a") as log:
                log.write(f"{time.time()}\n")
            time.sleep(0.01)

    SIGTERM_LOG.unlink(missing_ok=True)
    signal.signal(signal.SIGTERM, note)
    while True:
        time.sleep(1)


def _clocks():
    boottime = time.clock_gettime(time.CLOCK_BOOTTIME)
    return {"wall": time.time(), "monotonic": time.monotonic(), "boottime": boottime}


def _peer():
    """Connect to an abstract Unix socket of our own and ask the kernel who is there."""
    name = "\0lambdallm-probe"
    with socket.socket(socket.AF_UNIX) as listener, socket.socket(socket.AF_UNIX) as client:
        listener.bind(name)
        listener.listen()
        client.connect(name)
        connection, _ = listener.accept()
        with connection:
            size = struct.calcsize("3i")
            found = connection.getsockopt(socket.SOL_SOCKET, socket.SO_PEERCRED, size)
    return struct.unpack("3i", found)[0] == os.getpid()


def _processes():
    found = []
    for directory in Path("/proc").glob("[0-9]*"):
        try:
            command = (directory / "cmdline").read_bytes().replace(b"\0", b" ").decode().strip()
            found.append({"command": command, "cwd": str((directory / "cwd").readlink())})
        except OSError:
            continue
    return found


def _bash():
    try:
        text = subprocess.run(["bash", "--version"], capture_output=True, check=True).stdout
    except OSError as error:
        return f"none ({error})"
    return text.split(b"\n", 1)[0].decode()


_QUESTIONS = {
    "clocks": _clocks,
    "peer": _peer,
    "processes": _processes,
    "bash": _bash,
    "mtime": lambda: Path("/opt/extensions/lambdallm").stat().st_mtime,
    "memory_kb": lambda: resource.getrusage(resource.RUSAGE_SELF).ru_maxrss,
    "probe": lambda: json.loads(PROBE_LOG.read_text()) if PROBE_LOG.exists() else {},
    "started": lambda: STARTED,
}
