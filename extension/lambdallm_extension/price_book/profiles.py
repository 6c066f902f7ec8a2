"""Application inference profiles: which model stands behind the ARN that somebody made up.

    arn:aws:bedrock:REGION:ACCOUNT:application-inference-profile/ID
        ── GetInferenceProfile, once ──► the ARNs of its models, one for each region it may use

Models in one region cost what they cost there; in several what the geography's profile does;
where one ARN names no region, it is the global profile.
Source: Bedrock API reference, "GetInferenceProfile" (`bedrock:GetInferenceProfile`), 2026-11.
"""

from __future__ import annotations

from threading import Lock

from lambdallm_extension import errors
from lambdallm_extension.aws.client import AwsClient
from lambdallm_extension.aws.signing import encode_label
from lambdallm_extension.http_client.failures import AnswerLostError, NotSentError
from lambdallm_wire import plain_json

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Callable

    from lambdallm_extension.aws.client import KeySource
    from lambdallm_extension.ports import Clock
    from lambdallm_extension.services.tasks import Task, Workers
    from lambdallm_extension.settings import Settings

ANSWER_MS = 5_000
"""For one question, which is asked beside the model call that it is about."""

AGAIN_MS = 60_000
"""After a failure, before the next call of that profile asks once more."""

_GEOGRAPHIES = {
    "us-gov-": ("us-gov",), "us-": ("us",), "ca-": ("us", "ca"), "eu-": ("eu",), "in-": ("in",),
    "ap-northeast-": ("jp", "apac"), "ap-southeast-": ("au", "apac"), "ap-": ("apac",),
}  # fmt: skip
"""How a region's name begins, and the prefixes of the profiles it belongs to, the likeliest first.

Source: Bedrock user guide, "Supported Regions and models for inference profiles", 2026-11.
"""

_OK = 200


class InferenceProfiles:
    """Remembers what each ARN stands for, for the life of the environment."""

    def __init__(
        self,
        settings: Settings,
        credentials: Callable[[], KeySource],
        clock: Clock,
        workers: Workers,
        log: Callable[[str], None],
    ) -> None:
        """Ask nothing yet."""
        self._settings = settings
        self._credentials = credentials
        self._clock = clock
        self._workers = workers
        self._log = log
        self._lock = Lock()
        self._tasks: dict[str, Task[tuple[str, ...]]] = {}
        self._failed_at_ms: dict[str, int] = {}
        self._told: set[str] = set()

    def prepare(self, arn: str) -> None:
        """Ask for an ARN beside the caller, unless it is known or was asked for lately."""
        now_ms = self._clock.epoch_ms()
        with self._lock:
            failed_ms = self._failed_at_ms.get(arn)
            if failed_ms is not None and 0 <= now_ms - failed_ms < AGAIN_MS:
                return
            if arn in self._tasks and failed_ms is None:
                return
            self._failed_at_ms.pop(arn, None)
            try:
                self._tasks[arn] = self._workers.start(lambda: self._ask(arn))
            except errors.OverloadedError:
                return  # the next call asks

    def names(self, arn: str, wait_seconds: float) -> tuple[str, ...]:
        """Return the ids that its price may stand under, the likeliest first; () while unknown."""
        with self._lock:
            task = self._tasks.get(arn)
        if task is None:
            return ()
        try:
            return task.wait(wait_seconds)
        except errors.DeadlineError:
            return ()

    def _ask(self, arn: str) -> tuple[str, ...]:
        try:
            return self._asked(arn)
        except (errors.ExtensionError, NotSentError, AnswerLostError, ValueError) as error:
            self._failed(arn, str(error))
            return ()

    def _asked(self, arn: str) -> tuple[str, ...]:
        region = arn.split(":")[3]
        settings = self._settings._replace(region=region)
        client = AwsClient("bedrock", settings, self._credentials(), self._clock)
        try:
            reply = client.send(
                "GET",
                f"/inference-profiles/{encode_label(arn)}",
                [("accept", "application/json")],
                b"",
                deadline_ms=self._clock.epoch_ms() + ANSWER_MS,
                idempotent=True,
            )
        finally:
            client.close()
        if reply.status != _OK:
            said = " ".join(reply.body[:200].decode("utf-8", "replace").split())
            self._failed(arn, f"HTTP status {reply.status}: {said}")
            return ()
        return names_of(plain_json.loads(reply.body.decode()))

    def _failed(self, arn: str, said: str) -> None:
        with self._lock:
            self._failed_at_ms[arn] = self._clock.epoch_ms()
            told = arn in self._told
            self._told.add(arn)
        if not told:
            self._log(
                f"WARN What {arn} costs is unknown: allow bedrock:GetInferenceProfile on it, or "
                f"name its model under cost.prices in lambdallm.yaml (`like`). {said}"
            )


def names_of(profile: object) -> tuple[str, ...]:
    """Return under which ids a profile's price may stand, the likeliest first.

    Raises:
        ValueError: It is no answer of GetInferenceProfile.
    """
    try:
        arns = [model["modelArn"].split(":", 5) for model in profile["models"]]  # type: ignore[index]
        regions = sorted({parts[3] for parts in arns})
        model_id = arns[0][5].partition("/")[2]
    except (KeyError, TypeError, IndexError, AttributeError) as error:
        message = f"no answer of GetInferenceProfile ({type(error).__name__}: {error})"
        raise ValueError(message) from error
    if "" in regions:
        return (f"global.{model_id}",)
    if len(regions) == 1:
        return (f"arn:aws:bedrock:{regions[0]}::foundation-model/{model_id}",)
    found = next((tuple(names) for begin, names in _GEOGRAPHIES.items()
                  if any(region.startswith(begin) for region in regions)), ())  # fmt: skip
    return (*(f"{name}.{model_id}" for name in found), model_id)
