"""What a call has cost, on the answer to an unmodified client that asks for it.

Of a stream nobody knows it when the headers go out: they say `streaming`, and the call's record
says it later, under the id in `lambdallm-call-id`.
"""

from __future__ import annotations

from lambdallm_extension.errors import ProviderError
from lambdallm_extension.services.passing import MeteredStream
from lambdallm_wire import cost_headers as wire, money

TYPE_CHECKING = False
if TYPE_CHECKING:
    from lambda_runtime_api.http1 import Headers, Request
    from lambdallm_extension.errors import ExtensionError
    from lambdallm_extension.services.passing import Passage, Passed

VALUE_MAX = 256
"""Characters of a header that says what an API has called itself."""


def are_wanted(request: Request, setting: str) -> bool:
    """Say whether a client wants them: its request decides, without a word `cost.headers` does."""
    asked = [value for name, value in request.headers if name == wire.ASK]
    if asked:
        return asked[-1].strip().lower() not in wire.REFUSALS
    return setting in wire.TO_CLIENTS


def of_answer(passage: Passage, passed: Passed) -> Headers:
    """Return them for what was passed on, an API's own refusal too."""
    service, _, asked = passage.model.partition("/")
    answer = passed.answer
    answered = asked if answer is None else answer.model or asked
    told: Headers = [(wire.MODEL, _printable(f"{service}/{answered}"))] if answered else []
    if answer is not None and answer.service_tier:
        told.append((wire.TIER, _printable(answer.service_tier)))
    if passed.failure is not None:
        return [*of_failure(passed.failure), *told]
    if passed.pieces is not None:
        return [*_of_pieces(passage, passed), *told]
    cost = None if passed.settled is None else passed.settled.cost_pico_usd
    if cost is None:
        used = answer is not None and (answer.raw_usage is not None or any(answer.usage.values()))
        return [(wire.STATUS, wire.UNPRICED if used else wire.UNKNOWN), *told]
    if passed.settled is not None and passed.settled.estimated:
        told.append((wire.STATUS, wire.ESTIMATED))
    return [(wire.COST, money.usd(cost)), *told]


def of_failure(error: ExtensionError) -> Headers:
    """Return them for an error: what was not sent, or refused, costs nothing."""
    if isinstance(error, ProviderError) and not error.answered_no:
        return [(wire.STATUS, wire.UNKNOWN)]
    return [(wire.COST, money.usd(0))]


def without_others(headers: Headers) -> Headers:
    """Leave out what another gateway behind the API says of the same call."""
    return [header for header in headers if not header[0].lower().startswith(wire.BEGINNING)]


def _of_pieces(passage: Passage, passed: Passed) -> Headers:
    if isinstance(passed.pieces, MeteredStream):
        return [(wire.STATUS, wire.STREAMING)]
    if passage.free:
        return [(wire.COST, money.usd(0))]
    return [(wire.STATUS, wire.UNMETERED)]


def _printable(text: str) -> str:
    """Return what a header may hold: others have said it."""
    return "".join(each if " " <= each <= "~" else "?" for each in text[:VALUE_MAX])
