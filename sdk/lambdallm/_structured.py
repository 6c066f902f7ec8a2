"""Answers in a shape that was asked for; docs/structured_output.md shows them."""

from __future__ import annotations

TYPE_CHECKING = False
if TYPE_CHECKING:
    from typing import Any

    from lambdallm._structured_streams import AsyncStructuredStream, StructuredStream

REPAIRS = 1
"""Rounds after an answer that is wrong: what a model mends, it mends in the first, mostly."""


class AsksStructured:
    """What a context can ask for in a shape."""

    def invoke_structured(
        self, prompt: Any, output_schema: Any, *, repair: int = REPAIRS, **variables: Any
    ) -> Any:
        """Ask the model for an answer in a shape, and return it.

            book = context.invoke_structured("The best book of {author}?", Book, author="Le Guin")

        Args:
            prompt: What `invoke` takes.
            output_schema: A dict of fields with their types, a JSON schema, a TypedDict (a dict is
                returned), a dataclass or a pydantic model (an instance is returned).
            repair: So often an answer that is wrong is asked for again; 0 for never, 3 at most.
            **variables: For `{name}` in the prompt; and parameters of `chat`, such as `model` and
                `max_tokens`, where the prompt has no place for a variable of that name.

        Raises:
            OutputError: The answer was refused, or cut, or wrong in the end; `raw_text` has it.
            ConfigurationError: Nothing can be made of the schema. Nothing was asked.
            TypeError: A name is neither a variable of the prompt nor a parameter.
            DeadlineExceededError, ModelInvocationError: As `invoke`.
        """
        from lambdallm._structured_answers import Question

        question = Question(self, prompt, output_schema, repair, variables)
        response = self.chat(question.prompt, **question.parameters)  # type: ignore[attr-defined]  # the context's
        return question.settle(response).value

    async def ainvoke_structured(
        self, prompt: Any, output_schema: Any, *, repair: int = REPAIRS, **variables: Any
    ) -> Any:
        """Do as `invoke_structured`, while other coroutines run; 64 at once, the others wait."""
        from lambdallm import _async

        return await _async.in_thread(
            lambda: self.invoke_structured(prompt, output_schema, repair=repair, **variables)
        )

    def stream_structured(
        self, prompt: Any, output_schema: Any, *, repair: int = REPAIRS, **variables: Any
    ) -> StructuredStream:
        """Ask for an answer in a shape, and return it as it grows.

            plan = context.stream_structured("Plan a week in {town}.", Plan, town="Oslo")
            for partial in plan:
                show(partial.get("days", []))
            return plan.result

        Args:
            prompt: This and the others are those of `invoke_structured`.
            output_schema: What grows is the dict or list that it is made of.
            repair: A repair is not streamed.
            **variables: As there.

        Raises:
            OutputError, ModelInvocationError: As `invoke_structured`; at the end, too.
        """
        from lambdallm._structured_answers import Question
        from lambdallm._structured_streams import StructuredStream

        question = Question(self, prompt, output_schema, repair, variables)
        stream = self.stream(question.prompt, **question.parameters)  # type: ignore[attr-defined]  # the context's
        return StructuredStream(stream, question)

    def astream_structured(
        self, prompt: Any, output_schema: Any, *, repair: int = REPAIRS, **variables: Any
    ) -> AsyncStructuredStream:
        """Do as `stream_structured`, for `async for`; the result is `await stream.result()`."""
        from lambdallm._structured_answers import Question
        from lambdallm._structured_streams import AsyncStructuredStream

        question = Question(self, prompt, output_schema, repair, variables)
        stream = self.astream(question.prompt, **question.parameters)  # type: ignore[attr-defined]  # the context's
        return AsyncStructuredStream(stream, question)
