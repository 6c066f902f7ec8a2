"""How much a request lets a model write, by its body alone.

Each API has a name of its own for it, and leaves out, or refuses, those of others: a name counts
only where the form of the body has it. A limit that cannot be read bounds nothing.
"""

from __future__ import annotations

from lambda_runtime_api.declarations import NamedTuple

TYPE_CHECKING = False
if TYPE_CHECKING:
    from typing import Any

ANSWERS_MAX = 1_000
"""More than any API gives to one text at once."""

_ANSWERS = frozenset({
    "n", "best_of", "num_generations", "candidateCount", "candidate_count", "numResults",
    "num_return_sequences",
})  # fmt: skip

_MESSAGES = ("max_tokens", "max_completion_tokens")
_RESPONSES = ("max_output_tokens",)
_PROMPTS = (
    "max_tokens", "max_completion_tokens", "max_tokens_to_sample", "max_gen_len", "maxTokens",
)  # fmt: skip

_HELD_IN = {
    "inferenceConfig": ("maxTokens", "max_new_tokens"),
    "textGenerationConfig": ("maxTokenCount",),
    "generationConfig": ("maxOutputTokens", "max_output_tokens"),
    "parameters": ("max_new_tokens", "max_tokens"),
}
"""Objects of a request that hold its limit, and under which names."""

_RAISES = ("additionalModelRequestFields", "additional_fields")
"""What goes to the model beside a limit that stays (Converse's), or in its place (that of requests
of `@handler`'s context): it only raises.
"""

_ANY_LIMIT = (
    *_MESSAGES, *_RESPONSES, *_PROMPTS[2:], *{name for held in _HELD_IN.values() for name in held},
)  # fmt: skip

_BUDGETS = frozenset({"budget_tokens", "budgetTokens", "thinking_budget", "thinkingBudget"})
"""What may be thought, which most APIs count within the limit, but not all, nor always.

Source: Anthropic, "Extended thinking" (with interleaved thinking a budget exceeds `max_tokens`);
Google, "Gemini thinking" (a budget beside `maxOutputTokens`), 2026-11.
"""

_BUDGETS_IN = frozenset({
    "thinking", "reasoning_config", "thinkingConfig", "thinking_config", "generationConfig",
    *_RAISES, "extra_body", "google",
})  # fmt: skip


class AnswerBound(NamedTuple):
    """The most that one request lets a model write.

    Attributes:
        tokens: In all of its answers; None: the request does not say.
        answers: How many there are.
        more_tokens: Beside those, of what an API may not count among them.
    """

    tokens: int | None
    answers: int
    more_tokens: int


def answers_of(body: dict[str, Any]) -> AnswerBound:
    """Return the most that a request lets a model write."""
    held = [(body, _names_of(body))]
    held += [(body[name], names) for name, names in _HELD_IN.items() if _has(body, name)]
    outputs = _outputs(held)
    # One that cannot be read may hold all the same, for an API that is not as strict.
    output = max(outputs) if outputs and all(outputs) else 0
    raising = [body[name] for name in _RAISES if _has(body, name)]
    raising += [part[name] for part in raising for name in _HELD_IN if _has(part, name)]
    raised = _outputs([(part, _ANY_LIMIT) for part in raising])
    output = max([output, *raised]) if output and all(raised) else 0
    held += [(part, ()) for part in raising]
    answers = 1
    for part, _ in held:
        for name in _ANSWERS & part.keys():
            answers = max(answers, _count(part[name]))
    answers *= _texts(body)
    more = _thought(body) * answers + sum(map(_predicted, (body, *raising)))
    return AnswerBound(output * answers if output else None, answers, more)


def whole(value: Any) -> int:
    """Return a whole number above 0, 0 for everything else."""
    return value if type(value) is int and value > 0 else 0


def _outputs(held: list[tuple[dict[str, Any], tuple[str, ...]]]) -> list[int]:
    return [
        whole(part[name]) for part, names in held for name in names if part.get(name) is not None
    ]


def _names_of(body: dict[str, Any]) -> tuple[str, ...]:
    """Return the names that a limit has at the top of a body of this form."""
    messages = body.get("messages")
    if isinstance(messages, list):
        return () if _is_converse(body, messages) else _MESSAGES
    if "input" in body:
        return _RESPONSES
    return _PROMPTS


def _is_converse(body: dict[str, Any], messages: list[Any]) -> bool:
    """Whether its content has no types: its limit stands in `inferenceConfig` alone."""
    if "schemaVersion" in body or "inferenceConfig" in body:
        return True
    content = messages[0].get("content") if messages and isinstance(messages[0], dict) else None
    first = content[0] if isinstance(content, list) and content else None
    return isinstance(first, dict) and "type" not in first


def _texts(body: dict[str, Any]) -> int:
    """Return how many texts a body brings that are each answered by itself."""
    for name in ("prompt", "inputs"):
        texts = body.get(name)
        if isinstance(texts, list) and any(isinstance(each, str | list) for each in texts):
            return len(texts)
    return 1


def _thought(body: dict[str, Any]) -> int:
    """Return what a body says of thinking, wherever it stands."""
    waiting = [body]
    budget = 0
    while waiting:
        part = waiting.pop()
        for name in _BUDGETS & part.keys():
            budget = max(budget, whole(part[name]))
        waiting += [part[name] for name in _BUDGETS_IN & part.keys() if _has(part, name)]
    return budget


def _predicted(body: dict[str, Any]) -> int:
    """Return what is billed of a text that was predicted, and not taken (`prediction`)."""
    if not _has(body, "prediction"):
        return 0
    content = body["prediction"].get("content", "")
    texts = content if isinstance(content, list) else [content]
    held = [each.get("text", "") if isinstance(each, dict) else each for each in texts]
    return sum(len(str(text).encode("utf-8", "surrogatepass")) for text in held)


def _has(body: dict[str, Any], name: str) -> bool:
    return isinstance(body.get(name), dict)


def _count(value: Any) -> int:
    """Return a number of answers as the least strict API reads it, 1 for what is none."""
    if isinstance(value, str) and value.strip().isdecimal():
        value = int(value[:10])
    if type(value) is float and 1 <= value < ANSWERS_MAX:
        value = int(value) + 1
    return min(value, ANSWERS_MAX) if type(value) is int and value > 0 else 1
