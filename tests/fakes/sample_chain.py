"""A chain with a part of each kind that nobody has to be waited for."""

from __future__ import annotations

from typing import Any

from lambdallm import Chain, Loop, Map, Parallel, Step


def words(values: dict[str, Any]) -> list[str]:
    return str(values["outline"]).split()


def never(values: dict[str, Any]) -> bool:
    return not values["outline"]


def is_long(text: str) -> bool:
    return text.count("Polish") == 3


def join(values: dict[str, Any]) -> dict[str, Any]:
    names = ("outline", "both", "left-out", "sections", "polish", "none")
    return {name: values[name] for name in names}


def make_chain() -> Chain:
    draft = Chain(
        "section",
        [
            Step("draft", prompt="Draft {item} as {index}"),
            Step("fix", prompt="Fix {draft.output} of {input}"),
        ],
    )
    return Chain(
        "report",
        [
            Step("outline", prompt="Outline {input}"),
            Parallel(
                "both",
                [
                    Step("left", prompt="Left of {outline.output}"),
                    Step("right-side", func=lambda values: len(values["outline"])),
                ],
            ),
            Step("left-out", prompt="Never asked", condition=never),
            Map("sections", over=words, step=draft, concurrency=2),
            Loop(
                "polish",
                Step("round", prompt="Polish {last} the {iteration}"),
                until=is_long,
                max_iterations=5,
            ),
            Parallel("none", [Step("inner", prompt="Never asked")], condition=never),
            Step("join", func=join),
        ],
    )
