"""Whatever is wrong with the layer or its Python, the function runs."""

import os
import shutil
import signal
import sys
from collections.abc import Callable
from pathlib import Path

import pytest

from lambda_runtime_api.emulator import Environment

pytest.importorskip("awslambdaric", reason="AWS's runtime client is built for Linux")

TIMEOUT_MS = 3_000
FUNCTION = "def handler(event, context):\n    return {'echo': event}\n"


@pytest.fixture
def task(tmp_path: Path) -> Path:
    root = tmp_path / "task"
    root.mkdir()
    (root / "app.py").write_text(FUNCTION)
    return root


@pytest.fixture
def layer(opt: Path, tmp_path: Path) -> Path:
    return shutil.copytree(opt, tmp_path / "opt")


@pytest.fixture
def invoke(task: Path, layer: Path) -> Callable[..., list[str]]:
    """Invoke three times, see that it works, and return what the extension printed."""

    def invoke(**variables: str) -> list[str]:
        with Environment(task, "app.handler", opt=layer, variables=variables) as environment:
            for number in range(3):
                invocation = environment.invoke({"n": number})
                assert (invocation.error_type, invocation.json()) == (None, {"echo": {"n": number}})
                assert invocation.cold == (number == 0)
            environment.shutdown()
            return [line.text for line in environment.logs if line.source == "extension"]

    return invoke


def bin_without_python(tmp_path: Path) -> str:
    folder = tmp_path / "bin"
    folder.mkdir()
    for name in ("bash", "sleep"):
        found = shutil.which(name)
        assert found is not None
        (folder / name).symlink_to(found)
    return str(folder)


def test_the_sidecar_starts_and_says_nothing(invoke: Callable[..., list[str]]) -> None:
    assert invoke(LAMBDALLM_STORE="memory:", AWS_REGION="us-east-1") == []


@pytest.mark.skipif(Path("/var/lang/bin/python3").exists(), reason="this machine is Lambda's image")
def test_without_any_python_the_function_runs(
    invoke: Callable[..., list[str]], tmp_path: Path
) -> None:
    (line,) = invoke(PATH=bin_without_python(tmp_path))

    assert line.startswith("lambdallm: no Python was found")


@pytest.mark.parametrize(
    "content",
    ["#!/bin/sh\nexit 1\n", "#!/bin/sh\nkill -SEGV $$\n", "\x7fELF garbage", "#!/no/such/file\n"],
    ids=["exits", "crashes", "exec-format", "no-interpreter"],
)
def test_with_a_python_that_is_none_the_function_runs(
    invoke: Callable[..., list[str]], tmp_path: Path, content: str
) -> None:
    fake = tmp_path / "python3"
    fake.write_text(content)
    fake.chmod(0o755)

    lines = invoke(LAMBDALLM_PYTHON=str(fake))

    assert "ended with status" in lines[-1]


@pytest.mark.parametrize(
    ("module", "content"),
    [
        ("__main__.py", "this is no Python ("),
        ("__main__.py", "import a_module_that_is_not_there"),
        ("__main__.py", "def main():\n    raise RuntimeError('before register')\n"),
        ("__init__.py", "1 / 0"),
    ],
)
def test_with_a_sidecar_that_cannot_be_imported_the_function_runs(
    invoke: Callable[..., list[str]], layer: Path, module: str, content: str
) -> None:
    package = layer / "lambdallm/lambdallm_extension"
    shutil.rmtree(package / "__pycache__")
    (package / module).write_text(content)

    (line,) = invoke()

    assert "the sidecar cannot start" in line


@pytest.mark.parametrize("module", ["engine.py", "server/http.py", "services/chat.py"])
def test_with_a_sidecar_whose_features_are_broken_the_function_runs(
    invoke: Callable[..., list[str]], layer: Path, module: str
) -> None:
    broken = layer / "lambdallm/lambdallm_extension" / module
    shutil.rmtree(broken.parent / "__pycache__")
    broken.write_text("raise RuntimeError('broken feature')")

    (line,) = invoke(AWS_REGION="us-east-1", LAMBDALLM_STORE="memory:")

    assert "cannot serve" in line
    assert "broken feature" in line


def test_with_a_loop_that_is_broken_the_function_runs(
    invoke: Callable[..., list[str]], layer: Path
) -> None:
    package = layer / "lambdallm/lambdallm_extension"
    shutil.rmtree(package / "__pycache__")
    (package / "lifecycle.py").write_text("raise RuntimeError('broken loop')")

    (line,) = invoke(AWS_REGION="us-east-1", LAMBDALLM_STORE="memory:")

    assert "gives up" in line
    assert "broken loop" in line


def test_an_older_python_is_told_and_the_function_runs(
    invoke: Callable[..., list[str]], layer: Path
) -> None:
    main = layer / "lambdallm/main.py"
    main.write_text(main.read_text().replace("(3, 10)", "(99, 0)"))

    (line,) = invoke()

    assert "Python 3.10 or newer is needed" in line


def test_a_port_that_is_taken_is_told_and_the_function_runs(
    invoke: Callable[..., list[str]], free_port: int
) -> None:
    import socket

    with socket.socket() as other:
        other.bind(("127.0.0.1", free_port))
        other.listen()
        lines = invoke(
            LAMBDALLM_PORT=str(free_port), AWS_REGION="us-east-1", LAMBDALLM_STORE="memory:"
        )

    assert lines
    assert f"Port {free_port} cannot be listened on" in lines[0]


def test_a_folder_that_cannot_be_written_is_told_and_the_function_runs(
    invoke: Callable[..., list[str]], tmp_path: Path
) -> None:
    blocked = tmp_path / "a-file"
    blocked.write_text("")

    lines = invoke(
        LAMBDALLM_DIRECTORY=str(blocked), AWS_REGION="us-east-1", LAMBDALLM_STORE="memory:"
    )

    assert any("cannot be written" in line or "cannot serve" in line for line in lines)


def test_wrong_settings_are_told_and_the_function_runs(invoke: Callable[..., list[str]]) -> None:
    lines = invoke(
        LAMBDALLM_PORT="many", LAMBDALLM_STORE="floppy:", LAMBDALLM_MODEL="nobody/nothing"
    )

    said = "\n".join(lines)
    assert "LAMBDALLM_PORT" in said
    assert "nobody" in said


def test_no_process_of_the_launcher_outlives_its_environment(
    task: Path, layer: Path, tmp_path: Path
) -> None:
    with Environment(
        task, "app.handler", opt=layer, variables={"LAMBDALLM_PYTHON": "/bin/false"}
    ) as environment:
        environment.invoke({})
        pids = list(environment.pids.values())
        assert len(pids) == 2
    for pid in pids:
        with pytest.raises(ProcessLookupError):
            os.kill(pid, 0)


@pytest.mark.skipif(sys.platform != "linux", reason="children are found in /proc")
def test_a_sidecar_that_is_killed_later_comes_back_with_the_next_environment(
    task: Path, layer: Path
) -> None:
    variables = {
        "AWS_REGION": "us-east-1",
        "LAMBDALLM_PYTHON": sys.executable,
        "LAMBDALLM_STORE": "memory:",
    }
    with Environment(task, "app.handler", opt=layer, variables=variables) as environment:
        environment.invoke({})
        environment.wait_until_idle()
        launcher = environment.pids["lambdallm"]
        children = Path(f"/proc/{launcher}/task/{launcher}/children").read_text().split()
        os.kill(int(children[0]), signal.SIGKILL)
        answers = [environment.invoke({}) for _ in range(3)]

    assert [answer.error_type for answer in answers[1:]] == [None, None]
    assert all(answer.duration_ms < TIMEOUT_MS for answer in answers)
