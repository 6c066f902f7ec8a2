"""Who is asked, in which order: aliases become models, and each brings its fallbacks behind it."""

from __future__ import annotations

from lambda_runtime_api.declarations import NamedTuple
from lambdallm_wire.model_names import SHORT_NAMES, qualified

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Iterable, Mapping
    from typing import Any

    from lambdallm_extension.configuration import ModelAlias
    from lambdallm_wire.chat import ChatRequest

CANDIDATES_MAX = 16
"""Of one call; a longer list is a mistake, and would outlast any deadline."""


class Wanted(NamedTuple):
    """One model that may be asked.

    Attributes:
        model: `provider/model`.
        region: Where, "" for the environment's own.
        parameters: What its alias says of requests that do not say it themselves.
    """

    model: str
    region: str = ""
    parameters: Mapping[str, Any] = {}


def plan(request: ChatRequest, model: str, aliases: Mapping[str, ModelAlias]) -> list[Wanted]:
    """Return the models to ask, first choice first, each once.

    Fallbacks that the request names take the place of those that its model's alias has.

    Args:
        request: With the fallbacks and the region of this call.
        model: What it asks for, with the default in place of nothing.
        aliases: By name.
    """
    named = [request["fallback_model"]] if request.get("fallback_model") else []
    named += request.get("fallback_models") or []
    region = request.get("region") or ""
    if not named:
        return list(_expand([model], aliases, region, set()))
    first = _wanted(model, aliases, region)
    return [first, *_expand(named, aliases, "", {(first.model, first.region)})][:CANDIDATES_MAX]


def _expand(
    names: Iterable[str],
    aliases: Mapping[str, ModelAlias],
    region: str,
    seen: set[tuple[str, str]],
) -> Iterable[Wanted]:
    """Go through names and the fallbacks behind them; a circle ends where it closes."""
    waiting = list(names)
    while waiting and len(seen) < CANDIDATES_MAX:
        name = waiting.pop(0)
        wanted = _wanted(name, aliases, region)
        if (wanted.model, wanted.region) not in seen:
            seen.add((wanted.model, wanted.region))
            yield wanted
            alias = aliases.get(name)
            waiting += alias.fallbacks if alias is not None else ()
        region = ""


def _wanted(name: str, aliases: Mapping[str, ModelAlias], region: str) -> Wanted:
    alias = aliases.get(name)
    if alias is None:
        return Wanted(_in_full(name), region)
    given = {
        "max_tokens": alias.max_tokens,
        "temperature": alias.temperature,
        "top_p": alias.top_p,
    }
    parameters = {key: value for key, value in given.items() if value is not None}
    return Wanted(_in_full(alias.model), region or alias.region, parameters)


def _in_full(name: str) -> str:
    """Put Bedrock's name before its ids, ARNs and short names, as records and errors show them.

    Another single word is a misspelt alias mostly, and is called by what was written.
    """
    word = "/" not in name and "." not in name and ":" not in name and name not in SHORT_NAMES
    return name if word else qualified(name)
