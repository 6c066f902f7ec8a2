"""Which messages of a conversation a model's API takes, for both sides of the wire.

The rules are those of Bedrock's Converse, which are the narrowest: a conversation begins with a
user who asks; a tool's call is followed by its results, all of them and at once, and a result
stands behind its call. Neighbours of one role become one message where a request is made, so that
they need not alternate here.

Sources: Bedrock API reference, "Converse", "ToolUseBlock", "ToolResultBlock"; Anthropic, "Handle
tool calls" (results come first in their message), 2026-11.
"""

from __future__ import annotations

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Iterator, Sequence
    from typing import Any

    Said = tuple[str, Any]
    """Role and content of one message."""


def acceptable(said: Sequence[Said], *, open_end: bool) -> list[int]:
    """Return the places of the messages that can be sent together, in their order.

    Left out are messages before the first question, calls of tools without their results, and
    results without their calls; messages of the system all stay.

    Args:
        said: Oldest first.
        open_end: Whether calls at the very end stay, because their results may come next.
    """
    if all(type(content) is str for _, content in said):
        return _behind_first_question(said)
    kept = [place for place, (role, _) in enumerate(said) if role == "system"]
    calls: list[int] = []
    asked = False
    for role, run in _runs(said):
        if role == "user":
            run = _answering(said, calls, run)  # noqa: PLW2901 - without what answers nothing
            if calls and not (run and results_of(said[run[0]][1])):
                kept = [place for place in kept if place not in calls]
            asked = asked or bool(run)
        elif asked:
            run = [place for place in run if not results_of(said[place][1])]  # noqa: PLW2901
        else:
            continue
        if run:
            kept += run
        calls = [place for place in run if role == "assistant" and calls_of(said[place][1])]
    if calls and not (open_end and _are_ids(_asked(said, calls))):
        kept = [place for place in kept if place not in calls]
    return sorted(kept)


def is_read_at_once(rule: Any) -> bool:
    """Say whether a session can be read before its handler has said a word.

    What a memory recalls depends on the question.
    """
    return bool(rule) and rule["memory"].get("strategy") != "semantic"


def round_of(said: Sequence[Said], place: int) -> set[int]:
    """Return a message's place with those of its question, and of all that was answered to it."""
    spoken = [each for each, (role, _) in enumerate(said) if role in ("user", "assistant")]
    begins = [
        each
        for before, each in zip([None, *spoken], spoken)  # noqa: B905 - the last one begins none
        if is_question(*said[each]) and (before is None or said[before][0] == "assistant")
    ]
    first = max((each for each in begins if each <= place), default=place)
    end = min((each for each in begins if each > place), default=len(said))
    return {each for each in spoken if first <= each < end}


def is_question(role: str, content: Any) -> bool:
    """Say whether a window can begin here: a user speaks, and answers no tool's call."""
    return role == "user" and not results_of(content) and not calls_of(content)


def calls_of(content: Any) -> list[Any]:
    """Return the ids of the tools' calls in a message, None for one without an id."""
    return _ids(content, "toolUse")


def results_of(content: Any) -> list[Any]:
    """Return the ids of the calls whose results a message holds."""
    return _ids(content, "toolResult")


def _behind_first_question(said: Sequence[Said]) -> list[int]:
    """Return the places of texts that can be sent: most conversations have nothing else."""
    roles = [role for role, _ in said]
    first = roles.index("user") if "user" in roles else len(roles)
    return [
        place
        for place, role in enumerate(roles)
        if role == "system" or (place >= first and role in ("user", "assistant"))
    ]


def _answering(said: Sequence[Said], calls: list[int], run: list[int]) -> list[int]:
    """Return what stays of a user's messages: all, or only those without results."""
    plain = [place for place in run if is_question(*said[place])]
    if not calls:
        return plain
    asked = _asked(said, calls)
    blocks = [block for place in run for block in _blocks(said[place][1])]
    results = [each for place in run for each in results_of(said[place][1])]
    first = blocks[: len(results)]
    whole = (
        _are_ids(asked)
        and sorted(map(str, results)) == sorted(map(str, asked))
        and all("toolResult" in block for block in first)
        and not any(calls_of(said[place][1]) for place in run)
    )
    return run if whole else plain


def _asked(said: Sequence[Said], calls: list[int]) -> list[Any]:
    return [each for place in calls for each in calls_of(said[place][1])]


def _are_ids(ids: list[Any]) -> bool:
    """Say whether calls can be told apart by their ids."""
    return all(isinstance(each, str) for each in ids) and len({*ids}) == len(ids)


def _runs(said: Sequence[Said]) -> Iterator[tuple[str, list[int]]]:
    """Return neighbours of one role together; whatever is no user and no assistant is passed."""
    role = ""
    run: list[int] = []
    for place, (speaker, _) in enumerate(said):
        if speaker not in ("user", "assistant"):
            continue
        if run and speaker != role:
            yield role, run
            run = []
        role = speaker
        run.append(place)
    if run:
        yield role, run


def _ids(content: Any, kind: str) -> list[Any]:
    return [
        block[kind].get("toolUseId") if isinstance(block[kind], dict) else None
        for block in _blocks(content)
        if kind in block
    ]


def _blocks(content: Any) -> list[dict[str, Any]]:
    """Return a content's blocks; a text is one."""
    if not isinstance(content, (list, tuple)):
        return [{"text": content}]
    return [block if isinstance(block, dict) else {} for block in content]
