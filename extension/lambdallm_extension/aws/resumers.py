"""Going on with runs by AWS's own services: an invocation, a delayed message, a schedule.

    self       Lambda     POST /2015-03-31/functions/ARN/invocations, asynchronous: 202
    sqs        SQS        SendMessage with DelaySeconds (a FIFO queue has none for one message)
    schedule   Scheduler  CreateSchedule `at(…)`, which deletes itself; UpdateSchedule where there
                          is one; to the second, and up to a minute late

Each may be sent twice: a second delivery finds the run under way, or completed.
Source: API references of Lambda (Invoke), SQS (SendMessage) and EventBridge Scheduler, 2026-11.
"""

from __future__ import annotations

import time

from lambdallm_extension.aws.client import AwsClient
from lambdallm_extension.errors import (
    DeadlineError,
    SettingError,
    StoreUnavailableError,
)
from lambdallm_extension.http_client.failures import AnswerLostError, NotSentError
from lambdallm_wire import plain_json

TYPE_CHECKING = False
if TYPE_CHECKING:
    from typing import Any

    from lambda_runtime_api.http1 import Headers
    from lambdallm_extension.aws.credentials import CredentialSource
    from lambdallm_extension.http_client.client import HttpReply
    from lambdallm_extension.ports import Clock
    from lambdallm_extension.run_ports import Resumption
    from lambdallm_extension.settings import Settings

CONNECT_SECONDS = 1.0
READ_SECONDS = 1.5
"""After a kill there are 2 s for everything."""

DELAY_MAX_SECONDS = 900
"""Of an SQS message. Source: SQS API reference, SendMessage, 2026-11."""

ATTEMPTS_MAX = 3

_FAILED, _TOO_MANY, _SERVER_ERROR = 300, 429, 500
_EXCERPT_MAX = 300

_PERMISSIONS = {
    "lambda": "lambda:InvokeFunction on itself",
    "sqs": "sqs:SendMessage on the queue",
    "scheduler": "scheduler:CreateSchedule, UpdateSchedule and DeleteSchedule, and iam:PassRole "
    "on the role",
}


class AwsResumer:
    """`run_ports.Resumer`. Threads share it; nothing is opened before it is needed."""

    def __init__(self, settings: Settings, credentials: CredentialSource, clock: Clock) -> None:
        """Open nothing yet."""
        self._clients = {
            service: AwsClient(service, settings, credentials, clock) for service in _PERMISSIONS
        }
        self._credentials = credentials
        self._clock = clock

    def resume(self, resumption: Resumption, *, delay_seconds: int, deadline_ms: int) -> None:
        """Let the function be invoked; see `run_ports.Resumer`."""
        if resumption.via == "self":
            path = f"/2015-03-31/functions/{_quoted(resumption.target)}/invocations"
            headers = [("x-amz-invocation-type", "Event"), ("content-type", "application/json")]
            self._send("lambda", "POST", path, headers, resumption.event, deadline_ms)
        elif resumption.via == "sqs":
            self._send_message(resumption, delay_seconds, deadline_ms)
        else:
            at_ms = self._clock.epoch_ms() + delay_seconds * 1_000
            self.watch(resumption, at_epoch_ms=at_ms, deadline_ms=deadline_ms)

    def watch(self, resumption: Resumption, *, at_epoch_ms: int, deadline_ms: int) -> None:
        """Make the run's schedule, or change the one there is."""
        path = f"/schedules/{resumption.name}"
        at = time.strftime("%Y-%m-%dT%H:%M:%S", time.gmtime(at_epoch_ms // 1_000 + 1))
        schedule = {
            "ScheduleExpression": f"at({at})",
            "ScheduleExpressionTimezone": "UTC",
            "FlexibleTimeWindow": {"Mode": "OFF"},
            "ActionAfterCompletion": "DELETE",
            "Target": {
                "Arn": resumption.target,
                "RoleArn": resumption.role_arn,
                "Input": resumption.event,
            },
        }
        body = plain_json.dumps(schedule)
        headers = [("content-type", "application/json")]
        made = self._send(
            "scheduler", "POST", path, headers, body, deadline_ms, allowed="ConflictException"
        )
        if not made:
            self._send("scheduler", "PUT", path, headers, body, deadline_ms)

    def unwatch(self, resumption: Resumption, *, deadline_ms: int) -> None:
        """Delete the run's schedule, if there is one."""
        path = f"/schedules/{resumption.name}"
        self._send(
            "scheduler", "DELETE", path, [], "", deadline_ms, allowed="ResourceNotFoundException"
        )

    def reopen(self) -> None:
        """Drop connections that may have died in a freeze."""
        self.close()  # each is used once in an invocation: nothing is opened ahead

    def close(self) -> None:
        """Let go of every connection."""
        for client in self._clients.values():
            client.close()

    def _send_message(self, resumption: Resumption, delay_seconds: int, deadline_ms: int) -> None:
        message: dict[str, Any] = {
            "QueueUrl": resumption.queue_url,
            "MessageBody": resumption.event,
        }
        if resumption.queue_url.endswith(".fifo"):
            message["MessageGroupId"] = resumption.name
            message["MessageDeduplicationId"] = f"{resumption.name}-{self._clock.epoch_ms()}"
        else:
            message["DelaySeconds"] = min(DELAY_MAX_SECONDS, max(0, delay_seconds))
        headers = [
            ("content-type", "application/x-amz-json-1.0"),
            ("x-amz-target", "AmazonSQS.SendMessage"),
        ]
        self._send("sqs", "POST", "/", headers, plain_json.dumps(message), deadline_ms)

    def _send(  # noqa: PLR0913, PLR0917 - a request's parts, and what is no failure
        self,
        service: str,
        method: str,
        path: str,
        headers: Headers,
        body: str,
        deadline_ms: int,
        allowed: str = "",
    ) -> bool:
        """Send it, again while it fails for reasons that pass.

        Returns:
            Whether it was done; False where the error came that is `allowed`.
        """
        said = ""
        for _ in range(ATTEMPTS_MAX):
            try:
                reply = self._clients[service].send(
                    method,
                    path,
                    headers,
                    body.encode(),
                    deadline_ms=deadline_ms,
                    connect_timeout_seconds=CONNECT_SECONDS,
                    read_timeout_seconds=READ_SECONDS,
                    idempotent=True,
                )
            except (NotSentError, AnswerLostError) as error:
                said = str(error)
                continue
            except DeadlineError:
                said = said or "there was no time left"
                break
            if reply.status < _FAILED:
                return True
            said = f"HTTP {reply.status}: {_excerpt(reply)}"
            if allowed and allowed in said:
                return False
            if "ExpiredToken" in said:
                self._credentials.forget()
            elif reply.status != _TOO_MANY and reply.status < _SERVER_ERROR:
                message = (
                    f"The run cannot be gone on with by {service}: {said}. The function's role "
                    f"needs {_PERMISSIONS[service]}."
                )
                raise SettingError(message)
        message = f"{service} did not take the resumption of a run: {said}."
        raise StoreUnavailableError(message)


def _excerpt(reply: HttpReply) -> str:
    """Return the error's name and its words; some services tell the name in a header alone."""
    name = reply.header("x-amzn-errortype")
    return f"{name} {reply.body[:_EXCERPT_MAX].decode('utf-8', 'replace')}".strip()


def _quoted(arn: str) -> str:
    return arn.replace(":", "%3A").replace("$", "%24")
