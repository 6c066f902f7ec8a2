"""The error tree: what a problem becomes, and what the earlier package's code relies on."""

import pytest

import lambdallm
from lambdallm import _errors
from lambdallm_wire import errors as wire_errors


@pytest.mark.parametrize("code", wire_errors.STATUS)
def test_every_problem_of_the_wire_has_a_class(code: str) -> None:
    problem = wire_errors.problem(
        code, "what happened", retryable=True, retry_after_seconds=1.5, request_id="r", source="s"
    )

    error = _errors.from_problem(problem)

    assert code in _errors.CLASSES
    assert type(error) is _errors.CLASSES[code]
    assert (error.detail, str(error)) == ("what happened", "what happened")
    assert (error.retryable, error.retry_after_seconds) == (True, 1.5)
    assert (error.request_id, error.source) == ("r", "s")


def test_an_unknown_problem_is_the_sidecars() -> None:
    assert type(_errors.from_problem({"code": "from the future"})) is lambdallm.SidecarError


def test_a_refusal_of_the_sdk_never_becomes_a_refusal_of_the_functions_caller() -> None:
    for code in ("unauthorized", "forbidden", "not_found"):
        assert _errors.from_problem(wire_errors.problem(code, "no")).status == 500


def test_the_earlier_packages_constructors_work() -> None:
    assert lambdallm.ModelInvocationError("x").retryable is True
    assert lambdallm.ModelInvocationError("x", False).retryable is False
    assert lambdallm.TimeoutError is lambdallm.DeadlineExceededError
    for name in ("BudgetExceededError", "ConfigurationError", "ProviderError", "StateError"):
        assert str(getattr(lambdallm, name)("why")) == "why"


def test_one_except_catches_the_tree() -> None:
    for kind in _errors.CLASSES.values():
        assert issubclass(kind, lambdallm.LambdaLLMError)
