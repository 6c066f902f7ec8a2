"""What came of a chain, as the earlier package's users read it."""

from lambdallm import ChainResult, StepResult


def test_a_result_is_made_as_before() -> None:
    steps = [
        StepResult("a", "text", 10, 5, 0.5, 12.0),
        StepResult("b", None, skipped=True),
        StepResult("c", 0),
        StepResult("d", None, error="It does not work."),
    ]
    result = ChainResult("c", steps, "failed", {"run_id": "r"}, 0.5, 12.0, "text")

    assert result.outputs == {"a": "text", "c": 0}
    assert result.completed_steps == 2
    assert (result.checkpoint, result.total_cost_usd, result.final_output) == (
        {"run_id": "r"}, 0.5, "text",
    )  # fmt: skip
    assert (steps[0].tokens_in, steps[0].tokens_out, steps[0].cost_usd) == (10, 5, 0.5)


def test_a_result_is_empty_at_first() -> None:
    result = ChainResult("c")

    assert (result.steps, result.status, result.outputs) == ([], "completed", {})
    assert (result.total_cost_usd, result.final_output, result.waits) == (0.0, None, {})


def test_it_shows_what_it_is() -> None:
    assert "status='completed'" in repr(ChainResult("c"))
    assert repr(StepResult("a", 1)) == "StepResult(name='a', output=1, error=None)"
