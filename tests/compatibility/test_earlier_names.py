"""The earlier package's public names: every one is there, or listed as not yet there."""

import inspect
from typing import Any

import pytest

from compatibility import listing

REQUIRED = {
    "lambdallm": {
        "handler", "Session", "MemoryStrategy", "Middleware", "Model", "ModelConfig",
        "ModelResponse", "LambdaLLMError", "ModelInvocationError", "TimeoutError",
        "BudgetExceededError", "ConfigurationError", "__version__",
    },
    "lambdallm.core.context": {"LambdaLLMContext", "Metrics"},
    "lambdallm.core.exceptions": {"ProviderError", "StateError"},
    "lambdallm.core.handler": {"handler"},
    "lambdallm.core.models": {"Model", "ModelConfig", "ModelResponse"},
    "lambdallm.middleware": {"Middleware", "LoggingMiddleware", "CostTrackingMiddleware"},
    "lambdallm.providers": {"get_provider", "BaseProvider"},
    "lambdallm.state": {"Session", "MemoryStrategy"},
    "lambdallm.state.session": {"Session", "MemoryStrategy", "Message"},
    "lambdallm.testing": {"MockProvider", "mock_model", "MockLambdaContext"},
}  # fmt: skip
"""Names that may never go missing again, whatever the page says."""

ENTRIES = [
    pytest.param(module, name, facts, id=f"{module}.{name}")
    for module, entries in listing.names().items()
    for name, facts in entries.items()
]


@pytest.mark.parametrize(("module", "name", "facts"), ENTRIES)
def test_a_name_is_there_or_listed_as_not_yet(
    module: str, name: str, facts: dict[str, list[str]]
) -> None:
    found = listing.find(module, name)
    if found is None:
        assert name not in REQUIRED.get(module, set())
        _, _, absent = listing.PAGE.read_text().partition("## Not yet there")
        assert f"`{name}`" in next(line for line in absent.splitlines() if f"`{module}`" in line)
        return
    if facts["parameters"]:
        kept = parameters_of(found)
        assert kept[: len(facts["parameters"])] == facts["parameters"]


def parameters_of(found: Any) -> list[str]:
    """Return the names of what it can be called with, in order."""
    implementation = inspect.unwrap(found)
    return list(inspect.signature(implementation).parameters)


def test_the_page_is_up_to_date() -> None:
    assert listing.PAGE.read_text() == listing.render(), (
        "run: python tests/compatibility/listing.py"
    )
