"""Summaries and vectors of sessions: made beside the handler, never on its way.

    end ─► saved ─► reported ─► is a summary due? are exchanges without a vector?
                                   └─► ask the model ─► write, if nobody was newer

While that goes on it holds `/next`, as long as unwritten state may. Frozen in the middle, it goes
on or fails when the environment runs again: what is written is written in one piece, and whatever
is missing is found missing at the end of the next unit of work. A failure is one line in the log.

What it costs is booked like any call's, under ids that begin with `summary-` and `vectors-`, and
reported in a metric line of its own, outcome `memory`. The question's own vector is its unit's.
"""

from __future__ import annotations

import os
from functools import partial
from threading import Condition, Lock

from lambda_runtime_api.declarations import Protocol, cast
from lambdallm_extension import errors
from lambdallm_extension.domain import keys, memory, summaries, vectors
from lambdallm_extension.ports import PRESENT, Add, Key
from lambdallm_extension.services import memory_items, session_items
from lambdallm_extension.services.memory_items import Made
from lambdallm_extension.services.metering import Totals
from lambdallm_extension.services.recollection import Recollection
from lambdallm_extension.services.tasks import Workers

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Callable

    from lambdallm_extension.domain.memory import StoredTurn
    from lambdallm_extension.domain.vectors import StoredVector
    from lambdallm_extension.ports import Clock, Store, Telemetry
    from lambdallm_extension.services.chat import Chat
    from lambdallm_extension.services.embedding import Embedding
    from lambdallm_extension.services.recollection import Known
    from lambdallm_extension.services.works import Work
    from lambdallm_wire.chat import ChatRequest, ChatResponse, EmbedRequest, EmbedResponse
    from lambdallm_wire.sessions import SessionRule

OUTCOME = "memory"

THREADS_MAX = 4
"""Models are asked for so many sessions at once, beside their handlers."""

WAIT_MS = 1_500
"""How long a question's vector is waited for where the rule does not say it."""

CALL_MS = 60_000
"""For one summary, or for the vectors of one unit of work; a freeze does not end it."""

STORE_MS = 5_000
"""For writing what a model has made, whenever it has made it."""

VECTORS_MAX = 16
"""Exchanges embedded at once: a unit's own, and those that were missed before."""

BACKLOG_MAX = 400
"""Turns read at once of those that were never summed up; the next unit of work goes on."""


class Models(Protocol):
    """The use cases that ask models, each opened at its first use."""

    def chat(self) -> Chat:
        """Return the one for chats."""
        ...

    def embedding(self) -> Embedding:
        """Return the one for vectors."""
        ...


class Remembering:
    """Asks models for summaries and vectors. Threads share it."""

    def __init__(
        self,
        models: Models,
        clock: Clock,
        telemetry: Telemetry,
        *,
        environment_id: Callable[[], str],
        summary_model: str,
        embedding_model: str,
    ) -> None:
        """Stand on these.

        Args:
            models: Open the use cases that write summaries and embed.
            clock: Time.
            telemetry: Gets a line for each failure, and what was spent.
            environment_id: This environment's.
            summary_model: Of rules that name none; "" for the function's own model.
            embedding_model: The same for vectors.
        """
        self._models = models
        self._clock = clock
        self._telemetry = telemetry
        self._environment_id = environment_id
        self._summary_model = summary_model
        self._embedding_model = embedding_model
        self._workers = Workers(THREADS_MAX)
        self._askers = Workers()
        self._changed = Condition(Lock())
        self._busy: dict[str, Work | None] = {}

    def recollection(
        self, work: Work, rule: SessionRule, workers: Workers, store: Store
    ) -> Recollection:
        """Begin to read what a unit's session remembers."""
        return Recollection(
            rule,
            store=store,
            workers=workers,
            clock=self._clock,
            deadline_ms=work.store_deadline_ms,
            embed=partial(self._embed_question, work, rule),
        )

    def remember(self, work: Work) -> None:
        """Make what a unit's session lacks now, beside the caller. It has been saved."""
        rule = work.begin.get("session")
        if work.session is None or rule is None:
            return
        pk = keys.session_pk(rule["session_id"], rule.get("principal", ""))
        with self._changed:
            busy = pk in self._busy
            self._busy[pk] = work if busy else None
        if busy:
            return  # one at a time: each finds what the ones before have missed
        try:
            self._workers.start(partial(self._run, work, pk))
        except errors.OverloadedError as error:
            self._next(pk)
            self._fail(work, error)

    def wait(self, seconds: float) -> bool:
        """Wait until nothing is being made; False when something still is."""
        with self._changed:
            return self._changed.wait_for(lambda: not self._busy, seconds)

    def _run(self, work: Work, pk: str) -> None:
        """Bring a session's memory up to date, for the latest unit of work that has ended."""
        following: Work | None = work
        while following is not None:
            self._bring_up_to_date(following)
            following = self._next(pk)

    def _next(self, pk: str) -> Work | None:
        """Return the unit of work that has ended meanwhile; without one, that was all."""
        with self._changed:
            following = self._busy.pop(pk)
            if following is not None:
                self._busy[pk] = None
            self._changed.notify_all()
        return following

    def _bring_up_to_date(self, work: Work) -> None:
        totals = Totals()
        try:
            known = None if work.session is None else work.session.remembered()
            if known is not None:
                self._extend(known)
                if known.rule["memory"].get("strategy") == "summary":
                    self._sum_up(work, known, totals)
                else:
                    self._embed_exchanges(work, known, totals)
        except Exception as error:  # noqa: BLE001 - nobody waits for it, and the log is told
            self._fail(work, error)
        finally:
            self._report(work, totals)

    def _extend(self, known: Known) -> None:
        """Let what was made before live as long as its session, at most once in a period."""
        now, ttl = self._clock.epoch_ms() // 1_000, known.rule["ttl_seconds"]
        for key in known.expiring(now + ttl):
            add = Add(key, expires_at=now + 2 * ttl, condition=PRESENT)
            try:
                known.store.add_if(add, deadline_ms=self._clock.epoch_ms() + STORE_MS)
            except errors.ConditionFailedError:
                continue  # the store has deleted it since

    # Summaries

    def _sum_up(self, work: Work, known: Known, totals: Totals) -> None:
        rule = known.rule["memory"]
        before = known.beside.summary
        covered = before.covers if before else known.first_exchange - 1
        due = summaries.due(
            self._uncovered(known, covered),
            rule,
            covered=covered,
            now_ms=self._clock.epoch_ms(),
        )
        if not due:
            return
        call_id = f"summary-{os.urandom(16).hex()}"
        request = cast(
            "ChatRequest",
            {
                "work_id": work.work_id,
                "call_id": call_id,
                "model": rule.get("model") or self._summary_model,
                "system": summaries.SYSTEM,
                "messages": [
                    {
                        "role": "user",
                        "content": summaries.transcript(due, before.text if before else ""),
                    }
                ],
                "max_tokens": rule.get("max_tokens", summaries.MAX_TOKENS),
            },
        )
        reply = self._models.chat().ask(
            request, totals, deadline_ms=self._clock.epoch_ms() + CALL_MS
        )
        if "perform" in reply:
            raise errors.SettingError(_OWN)
        answer = cast("ChatResponse", reply)
        text = answer["text"].strip()
        if not text or answer["finish_reason"] not in ("stop", "length"):
            message = f"{answer['model']} has written no summary ({answer['finish_reason']})."
            raise errors.SettingError(message)
        summary = summaries.Summary(text, due[-1].exchange, known.first_exchange)
        self._write_summary(known, summary, answer)

    def _uncovered(self, known: Known, covered: int) -> list[StoredTurn]:
        """Return the turns behind a summary; those that no window reads any more are read now."""
        if not known.answered or known.answered[0].exchange <= covered + 1:
            return known.answered
        items = known.store.query(
            known.pk,
            keys.turn_sk(known.answered[0].exchange, 0),
            first=keys.turn_sk(covered + 1, 0),
            limit=BACKLOG_MAX,
            deadline_ms=self._clock.epoch_ms() + STORE_MS,
        )
        older = [session_items.read_turn(item) for item in items if not session_items.is_void(item)]
        end = known.answered[0].exchange
        older = memory.visible([each for each in older if each.exchange < end], own_identity="")
        return older if len(items) >= BACKLOG_MAX else [*older, *known.answered]

    def _write_summary(
        self, known: Known, summary: summaries.Summary, answer: ChatResponse
    ) -> None:
        now_ms = self._clock.epoch_ms()
        put = memory_items.digest_put(
            known.pk,
            summary,
            Made(
                answer["model"],
                answer["call_id"],
                known.life,
                answer["usage"]["output_tokens"],
                answer["cost_pico_usd"],
            ),
            known.beside.digest,
            expires_at=now_ms // 1_000 + 2 * known.rule["ttl_seconds"],
        )
        try:
            known.store.transact(
                [memory_items.not_forgotten(known.pk, known.first_exchange), put],
                token=session_items.token("summary", known.pk, answer["call_id"]),
                deadline_ms=now_ms + STORE_MS,
            )
        except errors.ConditionFailedError:
            return  # another environment was first, or the session was cleared or deleted meanwhile

    # Vectors

    def _embed_exchanges(self, work: Work, known: Known, totals: Totals) -> None:
        exchanges: dict[int, list[StoredTurn]] = {}
        for entry in known.answered:
            exchanges.setdefault(entry.exchange, []).append(entry)
        missing = [
            number
            for number in sorted(exchanges, reverse=True)
            if number == known.own_exchange or number not in known.beside.vectors
        ][:VECTORS_MAX]
        texts = {
            number: summaries.exchange_text([each.turn for each in exchanges[number]])
            for number in missing
        }
        texts = {number: text for number, text in texts.items() if text.strip()}
        if not texts:
            return
        deadline_ms = self._clock.epoch_ms() + CALL_MS
        asked = [*texts.values()]
        call_id, made = self._embed(work, known.rule, asked, totals, deadline_ms=deadline_ms)
        expires_at = self._clock.epoch_ms() // 1_000 + 2 * known.rule["ttl_seconds"]
        for number, vector in zip(texts, made, strict=True):
            put = memory_items.vector_put(
                Key(known.pk, keys.vector_sk(number)),
                vector,
                Made(vector.model, call_id, known.life),
                turns=len(exchanges[number]),
                expires_at=expires_at,
            )
            known.store.put_if(put, deadline_ms=self._clock.epoch_ms() + STORE_MS)

    def _embed_question(self, work: Work, rule: SessionRule, question: str) -> StoredVector | None:
        """Return a question's vector; None where it is late or fails, which the log is told."""
        wait_ms = rule["memory"].get("wait_ms", WAIT_MS)
        deadline_ms = min(self._clock.epoch_ms() + wait_ms, work.store_deadline_ms())
        try:
            task = self._askers.start(
                partial(self._question_vector, work, rule, question, deadline_ms)
            )
            return task.wait((deadline_ms - self._clock.epoch_ms()) / 1_000)
        except (errors.ExtensionError, ValueError) as error:
            self._telemetry.log(
                f"Nothing was recalled for {work.work_id}, which sees its newest messages alone: "
                f"{_words(error)}"
            )
            return None

    def _question_vector(
        self, work: Work, rule: SessionRule, question: str, deadline_ms: int
    ) -> StoredVector:
        with work.calling():
            try:
                text = question[-summaries.TEXT_MAX_CHARACTERS :]
                made = self._embed(work, rule, [text], work.totals, deadline_ms=deadline_ms)
                return made[1][0]
            finally:
                late = work.late_report()
                if late is not None:
                    self._telemetry.emit(late)

    def _embed(
        self,
        work: Work,
        rule: SessionRule,
        texts: list[str],
        totals: Totals,
        *,
        deadline_ms: int,
    ) -> tuple[str, list[StoredVector]]:
        """Return the id of the call, and a vector for each text."""
        model = rule["memory"].get("model") or self._embedding_model
        request = cast(
            "EmbedRequest",
            {
                "work_id": work.work_id,
                "call_id": f"vectors-{os.urandom(16).hex()}",
                "model": model,
                "texts": texts,
            },
        )
        reply = self._models.embedding().embed(request, totals, deadline_ms=deadline_ms)
        if "perform" in reply:
            raise errors.SettingError(_OWN)
        answer = cast("EmbedResponse", reply)
        return answer["call_id"], [
            vectors.StoredVector(vectors.quantize(vector), answer["model"])
            for vector in answer["vectors"]
        ]

    # Telling

    def _fail(self, work: Work, error: Exception) -> None:
        self._telemetry.log(
            f"The memory of the session of {work.work_id} was not brought up to date, its turns "
            f"are all there: {_words(error)}"
        )

    def _report(self, work: Work, totals: Totals) -> None:
        counts = totals.take_unreported()
        if counts.calls or counts.errors:
            self._telemetry.emit(
                counts.report(
                    work_id=work.work_id,
                    request_id=work.request_id,
                    environment_id=self._environment_id(),
                    outcome=OUTCOME,
                    epoch_ms=self._clock.epoch_ms(),
                )
            )


_OWN = (
    "A provider of the function's own can only be asked while its handler runs: name another model "
    "for this memory."
)


def _words(error: Exception) -> str:
    return (
        error.detail
        if isinstance(error, errors.ExtensionError)
        else f"{type(error).__name__}: {error}"
    )
