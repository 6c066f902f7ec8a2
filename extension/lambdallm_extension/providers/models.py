"""What models differ in, whoever serves them: as far as a request must know it.

Names are the makers' own: `claude-haiku-4-5-20251001`, `gpt-5.2-mini`, `o3`.
"""

from __future__ import annotations

TYPE_CHECKING = False
if TYPE_CHECKING:
    from typing import Literal

    Sampling = Literal["both", "one", "none"]
    """Which of `temperature` and `top_p` a model takes."""

_ONE_SINCE = (4, 1)
"""From this Claude on, `temperature` beside `top_p` is a refusal.

Source: aws-samples/bedrock-access-gateway #191, mem0ai/mem0 #4004, BoltAI #399 (Opus 4.1); 2026-11.
"""

_NO_SAMPLING_SINCE = (4, 7)
"""From this Claude on, any sampling parameter is a refusal.

Source: UKGovernmentBEIS/inspect_ai #3855, litellm 1.109 (`supports_sampling_params`); the types
of anthropic 2.11 have none any more; 2026-11.
"""

_SCHEMA_SINCE = (4, 5)
"""From this Claude on, an answer can be made to follow a schema (`output_config.format`).

Source: platform.claude.com/docs, "Structured outputs"; Bedrock User Guide, "Get validated JSON
results from models"; 2026-11.
"""

_DIGITS = 2
"""Of a version's number; more digits are a date."""

_CLAUDE = "claude-"


def claude_sampling(name: str) -> Sampling:
    """Say which sampling parameters a Claude takes, by its maker's name."""
    version = claude_version(name)
    if version is None or version >= _NO_SAMPLING_SINCE:
        return "none"
    return "one" if version >= _ONE_SINCE else "both"


def claude_takes_schema(name: str) -> bool:
    """Say whether a Claude has a grammar for its answers; one that cannot be told has none."""
    version = claude_version(name)
    return version is not None and version >= _SCHEMA_SINCE


def claude_version(name: str) -> tuple[int, int] | None:
    """Return major and minor; None for a Claude of a name without a version (a preview)."""
    parts = name.removeprefix(_CLAUDE).replace(":", "-").replace("@", "-").split("-")
    if parts[0] == "instant" or parts[0].startswith("v"):  # claude-instant-v1, claude-v2:1
        return (1, 0)
    if not parts[0].isdigit():  # claude-haiku-4-5-20251001-v1:0; before it: claude-3-5-haiku-…
        parts = parts[1:]
    numbers = [int(part) if part.isdigit() and len(part) <= _DIGITS else -1 for part in parts[:2]]
    if not numbers or numbers[0] < 0:
        return None
    return (numbers[0], max(0, numbers[1]) if len(numbers) > 1 else 0)


_FIRST_REASONING_GPT = 5


def is_openai_reasoning(name: str) -> bool:
    """Say whether a model of OpenAI reasons: then it takes no sampling and no stop sequences.

    Source: platform.openai.com/docs, "Reasoning models", and the notes at `stop` and `temperature`
    of the API reference; 2026-11.
    """
    name = _openai_name(name)
    if name.startswith("o") and name[1:2].isdigit():
        return True
    return _gpt(name) >= _FIRST_REASONING_GPT and "-chat" not in name


def takes_effort(name: str) -> bool:
    """Say whether a model of OpenAI takes `reasoning_effort`; one that cannot be told does."""
    name = _openai_name(name)
    if name.startswith("chatgpt-"):
        return False
    return not (0 <= _gpt(name) < _FIRST_REASONING_GPT or "-chat" in name)


def _openai_name(name: str) -> str:
    """Return the name without a reseller before it, or what a fine-tuned model adds."""
    return name.rsplit("/", 1)[-1].removeprefix("ft:").lower()


def _gpt(name: str) -> int:
    """Return the generation of `gpt-5.2-mini`; -1 for what is no such name (`gpt-oss-20b`)."""
    if not name.startswith("gpt-"):
        return -1
    digits = name[4:5]
    return int(digits) if digits.isdigit() and digits.isascii() else -1
