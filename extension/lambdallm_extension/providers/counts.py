"""Token counts as APIs report them: read so that nothing is taken for what it is not."""

from __future__ import annotations

from lambdallm_wire.tokens import NO_USAGE

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Mapping

    from lambdallm_wire.chat import Usage

COUNT_MAX = 10**15
"""Of tokens: more than any model will read, and less than what stores and metrics keep exactly."""


def count(counts: Mapping[str, object], *names: str) -> int:
    """Return the first of these counts that is given, 0 where none is; an explicit 0 is given.

    Raises:
        ValueError: What stands there is no count.
    """
    for name in names:
        value = counts.get(name)
        if value is None:
            continue
        if not isinstance(value, int) or isinstance(value, bool) or not 0 <= value <= COUNT_MAX:
            message = f"{name} is {value!r:.80}, which is no count"
            raise ValueError(message)
        return value
    return 0


def nested(counts: Mapping[str, object], name: str) -> Mapping[str, object]:
    """Return the object under a name; an empty one where there is none.

    Raises:
        TypeError: Something else stands there.
    """
    value = counts.get(name)
    if value is None:
        return {}
    if not isinstance(value, dict):
        message = f"{name} is {value!r:.80}, which is no object"
        raise TypeError(message)
    return value


def two_counts(counts: Mapping[str, object], read: str, generated: str) -> Usage:
    """Return the usage that two counts say, of an API that tells no others.

    Raises:
        ValueError: One of them is none.
    """
    usage: Usage = dict(NO_USAGE)  # type: ignore[assignment]  # the same keys
    usage["uncached_input_tokens"] = count(counts, read)
    usage["output_tokens"] = count(counts, generated)
    return usage
