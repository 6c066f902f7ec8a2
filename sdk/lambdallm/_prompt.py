"""A prompt that is kept: its text, what goes in, what comes out, and how the model is asked.

summary = Prompt("Sum up in {words} words: {text}", input_schema={"text": str, "words": int})
...
summary.invoke(text=event["body"]["text"], words=20)
"""

from __future__ import annotations

from lambdallm import _errors, _handled, _messages
from lambdallm._models import MAX_TOKENS, TEMPERATURE, Model, ModelConfig, resolve

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence
    from typing import Any

    from lambdallm._output_schema import OutputSchema

_TYPES: dict[str, type] = {
    "str": str,
    "int": int,
    "float": float,
    "bool": bool,
    "list": list,
    "dict": dict,
}
"""Types by the names that they have in a file."""

_FIELDS = (
    "template", "input_schema", "output_schema", "system_prompt", "model", "max_tokens",
    "temperature", "name", "description", "version", "tags", "repair",
)  # fmt: skip


_REPAIRS_MAX = 3
"""See `_structured_answers`, which is not read before a prompt asks."""


class Prompt:
    """One prompt, of one version. Nothing of it changes.

    Attributes:
        versions: Those of the file that it comes from, in its order.
    """

    def __init__(  # noqa: PLR0913, PLR0917 - the earlier package's signature
        self,
        template: str,
        input_schema: Any = None,
        output_schema: Any = None,
        system_prompt: str | None = None,
        model: Model | ModelConfig | str | None = None,
        max_tokens: int = MAX_TOKENS,
        temperature: float = TEMPERATURE,
        name: str | None = None,
        description: str | None = None,
        version: str = "1.0.0",
        tags: Sequence[str] = (),
        *,
        repair: int = 1,
    ) -> None:
        """Declare it.

        Args:
            template: Text with `{name}`, as `context.invoke` takes it.
            input_schema: What has to be given for it: fields with their types, or a JSON schema.
            output_schema: What comes back, as `context.invoke_structured` takes it; else a text.
            system_prompt: Of its own; else the handler's.
            model: As the others: its own, else the handler's.
            max_tokens: Sent only when given.
            temperature: Sent only when given.
            name: For people, as the next one.
            description: What it is for.
            version: Of it.
            tags: For people.
            repair: See `context.invoke_structured`.

        Raises:
            ConfigurationError: A schema or the model is none, or a number is not as it has to be.
        """
        _refuse_number("max_tokens", max_tokens, 1, None)
        _refuse_number("repair", repair, 0, _REPAIRS_MAX)
        self.template = template
        self.input_schema = input_schema
        self.output_schema = output_schema
        self.system_prompt = system_prompt
        self.model = model
        self.max_tokens = max_tokens
        self.temperature = temperature
        self.name = name
        self.description = description
        self.version = version
        self.tags = _tags(tags)
        self.repair = repair
        self.versions: tuple[str, ...] = (version,)
        self._model = None if model is None else resolve(model)
        self._input = None if input_schema is None else _schema_of(input_schema)
        self._output = None if output_schema is None else _schema_of(output_schema)

    def format(self, **variables: Any) -> str:
        """Return the text with its variables in it.

        Raises:
            InvalidRequestError: They are not what `input_schema` says; with every field at fault.
        """
        if self._input is not None:
            faults = self._input.read(variables, "input")[1]
            if faults:
                self._refuse(faults)
        return _messages.substitute(self.template, variables)

    def invoke(self, _context: Any = None, **variables: Any) -> Any:
        """Ask the model; return its text, or what `output_schema` makes of it.

        Args:
            _context: The handler's; without it, that of the event that is being handled.
            **variables: Of the template.

        Raises:
            InvalidRequestError: As `format`. Nothing was asked and nothing was spent.
            ConfigurationError: No event is being handled, or several are.
            OutputError: See `context.invoke_structured`.
        """
        text = self.format(**variables)
        context = _here() if _context is None else _context
        parameters = self._parameters()
        if self._output is None:
            return context.chat(text, **parameters).text
        from lambdallm import _structured_answers

        return _structured_answers.ask(context, text, self._output, self.repair, parameters).value

    async def ainvoke(self, _context: Any = None, **variables: Any) -> Any:
        """Do as `invoke`, while other coroutines run."""
        from lambdallm import _async

        context = _here() if _context is None else _context
        return await _async.in_thread(lambda: self.invoke(context, **variables))

    def _parameters(self) -> dict[str, Any]:
        given: dict[str, Any] = {}
        if self._model is not None:
            given["model"] = self._model
        if self.system_prompt is not None:
            given["system"] = self.system_prompt
        if self.max_tokens is not MAX_TOKENS:
            given["max_tokens"] = self.max_tokens
        if self.temperature is not TEMPERATURE:
            given["temperature"] = self.temperature
        return given

    def _refuse(self, faults: list[dict[str, str]]) -> None:
        from lambdallm._schema_faults import in_full, in_sentence

        message = f"{self!r} was not given what it needs: {in_sentence(faults)}."
        raise _errors.InvalidRequestError(message, errors=in_full(faults))

    def to_dict(self) -> dict[str, Any]:
        """Return it as JSON, without what was not given. A class becomes its JSON schema."""
        fields = {name: getattr(self, name) for name in _FIELDS}
        for name, schema in (("input_schema", self._input), ("output_schema", self._output)):
            if schema is not None:
                fields[name] = _written(fields[name], schema)
        if self._model is not None:
            fields["model"] = self._model.wire_name
        if self.max_tokens is MAX_TOKENS:
            del fields["max_tokens"]
        if self.temperature is TEMPERATURE:
            del fields["temperature"]
        return {name: each for name, each in fields.items() if each is not None}

    @classmethod
    def from_dict(cls, data: Mapping[str, Any]) -> Prompt:
        """Make one of `to_dict`'s result, or of what a file holds.

        Raises:
            ConfigurationError: It has no template, or a field that no prompt has.
        """
        versions = data.get("versions")
        fields = {name: each for name, each in data.items() if name != "versions"}
        unknown = fields.keys() - set(_FIELDS)
        if unknown or not isinstance(fields.get("template"), str):
            wrong = f"knows no {min(unknown)!r}" if unknown else "needs a template"
            message = f"A prompt {wrong}. It has: {', '.join(_FIELDS)}."
            raise _errors.ConfigurationError(message)
        for name in ("input_schema", "output_schema"):
            if name in fields:
                fields[name] = _read(fields[name])
        prompt = cls(**fields)
        if isinstance(versions, (list, tuple)) and versions:
            prompt.versions = tuple(versions)
        return prompt

    @classmethod
    def from_yaml(cls, path: Any, version: str | None = None) -> Prompt:
        """Read one from a file; see docs/structured_output.md for files of several versions.

        Args:
            path: Of the file.
            version: Which; without it, what the file says is `active`.

        Raises:
            ConfigurationError: It cannot be read, or has no such version.
        """
        from lambdallm import _prompt_files

        return cls.from_dict(_prompt_files.read(str(path), version))

    def __repr__(self) -> str:
        return f"Prompt({self.name or self.template[:40]!r}, version={self.version!r})"


def _tags(given: Sequence[str]) -> list[str]:
    """Return tags, which a file may have in one line."""
    if isinstance(given, str):
        return [each.strip() for each in given.split(",") if each.strip()]
    return [*given]


def _refuse_number(name: str, given: object, least: int, most: int | None) -> None:
    if type(given) is int and given >= least and (most is None or given <= most):
        return
    bounds = f"from {least} on" if most is None else f"from {least} to {most}"
    message = f"A prompt's {name} is a whole number {bounds}, not {given!r:.100}."
    raise _errors.ConfigurationError(message)


def _here() -> Any:
    """Return the context of the event that is being handled."""
    handled = _handled.here()
    if len(handled) == 1:
        return handled[0].context
    why = "several events are being handled" if handled else "no event is being handled"
    message = f"Prompt.invoke() does not know which handler asks: {why}. Give it the context."
    raise _errors.ConfigurationError(message)


def _schema_of(shape: Any) -> OutputSchema:
    from lambdallm import _output_schema

    return _output_schema.of(shape)


def _read(schema: Any) -> Any:
    """Return fields whose types are told by name with the types."""
    if (
        isinstance(schema, dict)
        and schema
        and all(isinstance(each, str) and each in _TYPES for each in schema.values())
    ):
        return {name: _TYPES[each] for name, each in schema.items()}
    return schema


def _written(shape: Any, schema: OutputSchema) -> dict[str, Any]:
    names = {kind: name for name, kind in _TYPES.items()}
    if isinstance(shape, dict) and all(
        isinstance(each, type) and each in names for each in shape.values()
    ):
        return {name: names[each] for name, each in shape.items()}
    return schema.json_schema
