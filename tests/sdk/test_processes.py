"""Processes: forked, killed, and without an engine where it is looked for."""

import os
import signal
import subprocess
import sys
import textwrap
from pathlib import Path
from typing import Any

import lambdallm
from fakes.waiting import until
from lambdallm import _settings
from lambdallm._work import Work


def make_work(name: str) -> Work:
    return Work(name, name, _settings.epoch_ms() + 60_000)


def test_a_forked_child_has_connections_of_its_own(sidecar: Any) -> None:
    work = make_work("parent")
    work.begin(lambdallm.Session().rule("s", "identity"))
    work.window()
    known = {connection for _, connection in sidecar.requests}
    child = os.fork()
    if child == 0:
        status = 1
        try:
            mine = make_work("child")
            mine.begin()
            mine.end("ok", "", 1.0)
            status = 0
        finally:
            os._exit(status)
    _, status = os.waitpid(child, 0)

    assert status == 0
    child_connections = {connection for _, connection in sidecar.requests} - known
    assert len(child_connections) == 1
    until(lambda: bool(child_connections & set(sidecar.disconnections)))
    assert not known & set(sidecar.disconnections)
    work.window()
    work.end("ok", "", 1.0)


def test_a_forked_child_of_an_embedded_engine_gets_its_own() -> None:
    work = make_work("parent")
    work.begin()
    child = os.fork()
    if child == 0:
        status = 1
        try:
            mine = make_work("child")
            mine.begin(lambdallm.Session().rule("s", "identity"))
            status = 0 if mine.window()["turns"] == [] else 2
        finally:
            os._exit(status)
    _, status = os.waitpid(child, 0)

    assert status == 0
    work.end("ok", "", 1.0)


def run_python(code: str, **options: Any) -> subprocess.Popen[str]:
    environ = {**os.environ, "PYTHONPATH": os.pathsep.join(path for path in sys.path if path)}
    return subprocess.Popen(
        [sys.executable, "-c", textwrap.dedent(code)],
        env=environ,
        text=True,
        stdout=subprocess.PIPE,
        **options,
    )


def test_the_death_of_the_process_is_seen_by_its_control_connection(sidecar: Any) -> None:
    process = run_python(
        """
        import sys, time
        from lambdallm import handler

        @handler
        def hang(event, context):
            print("begun", flush=True)
            time.sleep(60)

        hang({}, None)
        """
    )
    assert process.stdout is not None
    with process:
        assert process.stdout.readline() == "begun\n"
        assert len(sidecar.engine.invocations._works) == 1
        process.send_signal(signal.SIGKILL)
        until(lambda: not sidecar.engine.invocations._works)


def test_the_engine_is_found_in_the_layers_own_folder(tmp_path: Path) -> None:
    """In the layer the SDK stands in /opt/python, the sidecar's packages in /opt/lambdallm."""
    root = Path(lambdallm.__file__).parents[2]
    opt = tmp_path / "opt"
    (opt / "python").mkdir(parents=True)
    (opt / "lambdallm").mkdir()
    (opt / "python" / "lambdallm").symlink_to(root / "sdk" / "lambdallm")
    for package in ("lambdallm_wire", "lambda_runtime_api"):
        (opt / "python" / package).symlink_to(root / "runtime_api" / package)
    (opt / "lambdallm" / "lambdallm_extension").symlink_to(
        root / "extension" / "lambdallm_extension"
    )
    code = """
        from lambdallm import handler
        import sys
        import lambdallm
        assert "lambdallm_extension" not in sys.modules
        print(handler(lambda event, context: "ok")({"body": "{}"}, None)["body"])
        print(sys.path[-1])
    """
    run = subprocess.run(
        [sys.executable, "-S", "-c", textwrap.dedent(code)],
        env={**os.environ, "PYTHONPATH": str(opt / "python")},
        capture_output=True,
        text=True,
        check=True,
    )
    assert run.stdout.split() == ["ok", str(opt / "lambdallm")]


def test_without_any_engine_the_error_says_what_to_attach(tmp_path: Path) -> None:
    root = Path(lambdallm.__file__).parents[2]
    for package in (
        "sdk/lambdallm",
        "runtime_api/lambdallm_wire",
        "runtime_api/lambda_runtime_api",
    ):
        (tmp_path / Path(package).name).symlink_to(root / package)
    run = subprocess.run(
        [
            sys.executable,
            "-S",
            "-c",
            "from lambdallm import handler; handler(lambda event, context: 1)({'name': 1}, None)",
        ],
        env={**os.environ, "PYTHONPATH": str(tmp_path)},
        capture_output=True,
        text=True,
        check=False,
    )
    assert run.returncode == 1
    assert "attach the layer" in run.stderr
