"""What an import may load: the cold start of every function pays for it."""

import subprocess
import sys

import lambdallm

ALLOWED_STANDARD_MODULES = {
    # What any Python, or awslambdaric, has loaded anyway
    "genericpath", "os", "posixpath", "stat",
    "collections", "contextlib", "copyreg", "enum", "functools", "itertools", "json", "keyword",
    "operator", "re", "reprlib", "sre_compile", "sre_constants", "sre_parse", "types", "warnings",
    # What comes on top
    "atexit", "binascii", "importlib",
}  # fmt: skip


def loaded_by(statement: str) -> set[str]:
    code = f"import sys; before = set(sys.modules); {statement}; print(*set(sys.modules) - before)"
    paths = [path for path in sys.path if path]
    run = subprocess.run(
        [sys.executable, "-I", "-S", "-c", f"import sys; sys.path += {paths!r}; {code}"],
        capture_output=True,
        text=True,
        check=True,
    )
    return set(run.stdout.split())


def test_the_package_loads_nothing_but_itself() -> None:
    assert loaded_by("import lambdallm") == {"lambdallm"}


def test_doing_what_the_wrapper_does_loads_nothing_else() -> None:
    loaded = loaded_by("import os; before = set(sys.modules); import lambdallm.auto")

    assert loaded == {
        "__future__",
        "lambdallm",
        "lambdallm.auto",
        "lambdallm_wire",
        "lambdallm_wire.names",
    }


def test_a_handler_loads_few_standard_modules_and_no_other_package() -> None:
    loaded = loaded_by("from lambdallm import handler, Session")

    top = {name.partition(".")[0] for name in loaded}
    own = {"lambdallm", "lambdallm_wire", "lambda_runtime_api"}
    private = {name for name in top if name.startswith("_")}
    assert top - own - private <= ALLOWED_STANDARD_MODULES
    assert not top & {"asyncio", "inspect", "dataclasses", "logging", "ssl", "socket", "pathlib"}
    assert "typing" not in top  # 3 ms, which awslambdaric does not need either
    for module in ("_schema", "_streaming", "_reply_stream", "_embeddings", "_own_providers",
                   "_own_answers", "_bounded_calls", "_replaced", "_older_engines",
                   "_structured_answers", "_structured_streams", "_output_schema", "_type_hints",
                   "_found_json", "_partial_json", "_prompt", "_prompt_files", "_schema_keywords",
                   "_schema_formats",
                   "_websocket"):  # fmt: skip
        assert f"lambdallm.{module}" not in loaded
    assert not any(name.startswith("lambdallm.middleware") for name in loaded)


def test_every_public_name_loads() -> None:
    for name in lambdallm.__all__:
        assert getattr(lambdallm, name) is not None


def test_public_names_are_sorted_and_listed() -> None:
    assert lambdallm.__all__ == sorted(lambdallm.__all__)
    assert set(lambdallm.__all__) <= set(dir(lambdallm))


def test_an_unknown_name_is_an_attribute_error() -> None:
    assert not hasattr(lambdallm, "no_such_name")
