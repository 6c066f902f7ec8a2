"""One model call of a run, from its intent to its answer.

answered before? ──► the stored answer, and nobody is asked
intend ──► settle     the answer waits here for its step to be stored; a death writes it down
       └─► progress   of a stream: what has come so far is written while it runs
"""

from __future__ import annotations

from threading import Lock

from lambda_runtime_api.declarations import cast
from lambdallm_extension import errors
from lambdallm_extension.domain import fingerprints, prefill
from lambdallm_extension.services import run_books
from lambdallm_extension.services.run_items import Generation
from lambdallm_wire import plain_json

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence

    from lambdallm_extension.domain.answers import AnswerSoFar
    from lambdallm_extension.ports import Item
    from lambdallm_extension.services.run_books import Place
    from lambdallm_extension.services.run_work import RunWork
    from lambdallm_extension.services.tasks import Workers
    from lambdallm_wire.chat import ChatRequest, ChatResponse
    from lambdallm_wire.runs import FinishedStep

PARTIAL_MS = 250
"""Between two writings of what has come of a stream: a second write unit for each KB of text."""

PARTIAL_CHARACTERS = 4_096
"""So much more text is written sooner."""

PARTIAL_WRITE_MS = 2_000
"""For one of these writes, which nobody waits for."""


class RunCall:
    """A call as its run sees it. Threads share it."""

    def __init__(
        self,
        run: RunWork,
        place: Place,
        finished: Sequence[FinishedStep],
        request: ChatRequest,
        workers: Workers,
    ) -> None:
        """Describe it; nothing is written yet.

        Args:
            run: That asks.
            place: Step, attempt and number of the call.
            finished: Steps to be stored with its intent.
            request: The question.
            workers: For writes that nobody waits for.
        """
        self.run = run
        self.call_id = fingerprints.call_id(run.terms.pk, run.terms.life, *place)
        self._beginning = ""
        self._place = place
        self._request = request
        self._finished = finished
        self._asked = fingerprints.of_request(cast("Mapping[str, object]", request))
        self._workers = workers
        self._lock = Lock()
        self._generation: Generation | None = None
        self._at_ms = 0
        self._characters = 0
        self._writing = False

    @property
    def run_id(self) -> str:
        """Of its run."""
        return self.run.terms.run_id

    def stored_answer(self) -> ChatResponse | None:
        """Return what an earlier attempt has been answered to the same question, if it was.

        The steps before are stored then, as they would have been with the intent.

        Raises:
            RunLostError, StoreError: As `RunWork.store_steps`.
        """
        generation = self.run.books.take_answer(self._place, self._asked)
        if generation is None:
            return None
        self.run.store_steps(self._finished)
        return cast("ChatResponse", run_books.answer_of(generation))

    def continue_partial(self) -> str:
        """Return the beginning of an answer that an earlier attempt was cut in, "" without one."""
        generation = self.run.books.take_partial(self._place, self._asked)
        if generation is not None:
            self._beginning = str(run_books.answer_of(generation).get("text", "")).rstrip()
        return self._beginning

    def intend(self, model: str, most_pico_usd: int | None, record: Item) -> None:
        """Write down that a model is about to be asked, at its first attempt.

        Args:
            model: `provider/model`.
            most_pico_usd: What it can cost; None: nobody knows.
            record: The call's own.

        Raises:
            BudgetExceededError: The run may not cost so much.
            RunLostError, StoreError: As `RunWork.intend`.
        """
        again = self._generation is not None
        if again:  # after a refusal, which cost nothing
            self._keep(run_books.FAILED, 0, {})
            self.run.refuse_unless_held()
        goes_on = self._beginning and prefill.goes_on(model, self._request)
        generation = self._admit(
            Generation(
                self.call_id,
                model,
                run_books.INTENT,
                self._asked,
                most_pico_usd or 0,
                again=again and self._generation is not None and self._generation.again,
                written=0 if self._generation is None else self._generation.written,
                before=self._beginning if goes_on else "",
            ),
            most_pico_usd,
        )
        if not again:
            self.run.intend(self._place, generation, self._finished, record)
        self._generation = generation
        self._at_ms, self._characters = self.run.clock.epoch_ms(), 0

    def _admit(self, generation: Generation, most_pico_usd: int | None) -> Generation:
        limit = self.run.terms.max_cost_pico_usd
        if limit is not None and most_pico_usd is None:
            detail = _UNPRICED.format(generation.model, self.run_id)
            raise errors.BudgetExceededError(detail, source="run")
        most = generation.reserved_pico_usd
        generation, spent = self.run.books.admit(self._place, generation, limit)
        if limit is not None and spent + most > limit:
            from lambdallm_wire import money

            detail = (
                f"Run {self.run_id!r} may cost ${money.usd(limit)}; ${money.usd(spent)} are spent, "
                f"and asking {generation.model} can cost ${money.usd(most)} (max_tokens and the "
                "prompt bound it). The model was not asked."
            )
            raise errors.BudgetExceededError(detail, source="run")
        return generation

    def settle(self, cost_pico_usd: int | None, answer: Mapping[str, object]) -> None:
        """Keep a whole answer until its step is stored.

        Args:
            cost_pico_usd: None where nobody knows the price: then it is the most it can be.
            answer: A `ChatResponse`.
        """
        self._keep(run_books.ANSWERED, cost_pico_usd, answer)
        self._write_late()

    def cut(self, cost_pico_usd: int | None, text: str) -> None:
        """Keep the beginning of an answer that was cut."""
        self._keep_beginning(cost_pico_usd, text)
        self._write_late()

    def fail(self, *, lost: bool) -> None:
        """Know that no answer came: it cost nothing, or nobody knows what."""
        if not lost:
            self._keep(run_books.FAILED, 0, {})
            self._write_late()

    def progress(self, answer: AnswerSoFar) -> None:
        """Write what has come of a stream so far, beside its reader, from time to time."""
        now_ms = self.run.clock.epoch_ms()
        characters = answer.generated_characters
        due = now_ms - self._at_ms >= PARTIAL_MS and characters > self._characters
        if not due and characters - self._characters < PARTIAL_CHARACTERS:
            return
        with self._lock:
            if self._writing or self._generation is None:
                return
            self._writing = True
            self._at_ms, self._characters = now_ms, characters
        self._keep_beginning(None, answer.text)
        try:
            self._workers.start(self._write)
        except errors.OverloadedError:
            self._writing = False  # the next piece tries again

    def _write(self) -> None:
        generation = self._generation
        try:
            if generation is not None and generation.state == run_books.PARTIAL:
                deadline_ms = self.run.clock.epoch_ms() + PARTIAL_WRITE_MS
                self.run.keep(self._place, generation, deadline_ms=deadline_ms)
        except errors.ExtensionError:
            pass  # the next piece, or the end, writes more of it
        finally:
            self._writing = False

    def _write_late(self) -> None:
        """Write what has become of a call whose attempt has ended: the next one need not ask."""
        if not self.run.closed:
            return
        try:
            self.run.keep_unwritten(deadline_ms=self.run.clock.epoch_ms() + PARTIAL_WRITE_MS)
        except errors.StoreError:
            return  # it stays an intent, of which nobody knows what became: that is counted

    def _keep_beginning(self, cost_pico_usd: int | None, text: str) -> None:
        before = "" if self._generation is None else self._generation.before
        self._keep(run_books.PARTIAL, cost_pico_usd, {"text": before + text})

    def _keep(self, state: str, cost_pico_usd: int | None, answer: Mapping[str, object]) -> None:
        with self._lock:
            if self._generation is None:
                return
            text = plain_json.dumps_whole(answer) if answer else ""
            generation = self._generation._replace(
                state=state, cost_pico_usd=cost_pico_usd, answer=text
            )
            self._generation = self.run.books.keep(self._place, generation)


_UNPRICED = (
    "Nobody knows what {} costs, and run {!r} has a limit. Say its price under cost.prices in "
    "lambdallm.yaml, or leave max_total_cost out."
)
