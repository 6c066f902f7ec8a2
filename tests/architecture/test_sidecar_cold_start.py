"""Which modules the sidecar loads: before it registers, and before its first `/next`."""

import hashlib
import socket
import subprocess
import sys
import threading
from collections.abc import Iterator
from pathlib import Path

import pytest

BEFORE_REGISTER = {"__future__", "_socket"}
"""On top of a bare interpreter: what loads here delays the start of the function itself."""

HEAVY = {
    "asyncio", "base64", "concurrent", "contextlib", "dataclasses", "email", "enum", "http",
    "inspect", "json", "logging", "multiprocessing", "pathlib", "queue", "random", "re",
    "selectors", "socket", "ssl", "subprocess", "tempfile", "typing", "urllib", "uuid", "xml",
    "boto3", "botocore", "requests", "urllib3",
}  # fmt: skip
"""Each costs milliseconds on a small function, and the engine has something lighter."""

LATER = {
    f"lambdallm_extension.{name}"
    for name in (
        "domain.compute_prices",
        "aws.roles", "aws.s3", "aws.secrets", "configuration_file", "price_book.profiles",
        "price_book.quotation", "price_book.refresh", "server.price_route",
        "providers.anthropic.api",
        "providers.anthropic.messages", "providers.bedrock.claude", "providers.bedrock.embeddings",
        "providers.openai", "providers.sagemaker", "providers.scripted", "raw_forwarding",
        "server.dropin", "services.embedding", "services.passing",
        "services.recollection", "services.remembering", "services.memory_items",
        "domain.vectors", "domain.summaries", "stores.redis", "stores.redis_urls", "stores.sqlite",
    )
}  # fmt: skip
"""Loaded at its first use: most functions never come to it."""

OURS = {"lambdallm_extension", "lambda_runtime_api", "lambdallm_wire"}


def loaded_by(code: str) -> set[str]:
    """Run `code` in a new interpreter without site-packages; return what it has loaded on top."""
    paths = [path for path in sys.path if path]
    whole = (
        f"import sys; sys.path += {paths!r}; before = set(sys.modules)\n"
        f"{code}\n"
        "print(*set(sys.modules) - before)"
    )
    run = subprocess.run(
        [sys.executable, "-I", "-S", "-c", whole], capture_output=True, text=True, check=True
    )
    return set(run.stdout.splitlines()[-1].split())  # the sidecar may have said something first


def packages(modules: set[str]) -> set[str]:
    return {module.partition(".")[0] for module in modules}


@pytest.fixture
def extensions_api() -> Iterator[str]:
    """Answer one registration, and say where."""
    with socket.create_server(("127.0.0.1", 0)) as listener:

        def answer() -> None:
            connection, _ = listener.accept()
            with connection:
                connection.recv(65_536)
                connection.sendall(
                    b"HTTP/1.1 200 OK\r\nLambda-Extension-Identifier: one\r\n"
                    b"Content-Length: 2\r\n\r\n{}"
                )
                connection.recv(1)

        thread = threading.Thread(target=answer, daemon=True)
        thread.start()
        yield f"127.0.0.1:{listener.getsockname()[1]}"
        thread.join(5)


def test_what_loads_until_it_is_registered(extensions_api: str) -> None:
    loaded = loaded_by(
        "from lambdallm_extension import __main__ as program\n"
        f"client = program.ExtensionClient({extensions_api!r})\n"
        "client.register(program.EXTENSION_NAME, ('INVOKE', 'SHUTDOWN'))"
    )

    assert packages(loaded) == OURS | BEFORE_REGISTER


@pytest.mark.parametrize("store", ["memory:", "dynamodb://table"])
def test_what_loads_before_the_first_event(store: str) -> None:
    opened = f"""
from lambdallm_extension import engine
environ = {{
    "LAMBDALLM_STORE": {store!r}, "AWS_LAMBDA_FUNCTION_NAME": "chat", "AWS_REGION": "eu-north-1",
    "AWS_ACCESS_KEY_ID": "id", "AWS_SECRET_ACCESS_KEY": "secret",
    "AWS_ENDPOINT_URL": "http://127.0.0.1:1",
}}
from lambdallm_extension import lifecycle
from lambdallm_extension.http_client.tls import tls_context
from lambdallm_extension.server import http
from lambdallm_extension.telemetry import platform
engine.build(engine.Settings.from_environ(environ)).open()
tls_context({{}})
"""
    modules = loaded_by(opened)
    loaded = packages(modules)

    assert not modules & LATER
    assert loaded >= OURS
    assert not loaded & HEAVY
    assert loaded - OURS <= sys.stdlib_module_names


@pytest.mark.parametrize("compiled", [True, False])
def test_what_a_configuration_loads(tmp_path: Path, compiled: bool) -> None:
    body = '{"":{"models":{"fast":{"model":"openai/x"}}}}'
    made_of, digest = (hashlib.sha256(text).hexdigest() for text in (b"", body.encode()))
    if compiled:
        (tmp_path / "lambdallm.json").write_text(
            f'{{"lambdallm":1,"source":"{made_of}","digest":"{digest}","environments":{body}}}'
        )
    else:
        (tmp_path / "lambdallm.yaml").write_text("models: {fast: {model: openai/x}}")

    loaded = loaded_by(
        "from lambdallm_extension.settings import Settings\n"
        f"settings = Settings.from_environ({{'LAMBDA_TASK_ROOT': {str(tmp_path)!r}}})\n"
        "assert list(settings.configuration.models) == ['fast'], settings.problems"
    )

    assert not packages(loaded) & HEAVY
    checking = {"lambdallm_wire.configuration", "lambdallm_wire.plain_yaml"}
    assert checking & loaded == (set() if compiled else checking), "it was checked when it was made"


def test_what_loads_for_apis_that_are_asked_with_a_key() -> None:
    loaded = loaded_by("""
from lambdallm_extension.aws.credentials import CredentialSource
from lambdallm_extension.aws.secrets import Secrets
from lambdallm_extension.providers import find_dialect, open_provider
from lambdallm_extension.settings import Settings, SystemClock

settings = Settings.from_environ({"OPENAI_API_KEY": "k", "ANTHROPIC_API_KEY": "k"})
clock = SystemClock()
credentials = CredentialSource(settings, clock)
for name in ("openai", "openai-responses", "anthropic"):
    secrets = Secrets(settings, credentials, clock)
    open_provider(name, settings, credentials, secrets, clock)
for name in ("openai.chat", "openai.responses", "openai.embeddings", "anthropic.messages"):
    find_dialect(name, "m").read_stream("m", [("content-type", "text/event-stream")])
""")

    assert packages(loaded) & HEAVY == set()
