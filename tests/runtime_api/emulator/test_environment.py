"""What our emulator does beyond AWS's, with real processes: the rest is in tests/e2e."""

from __future__ import annotations

import base64
import json
import os
import sys
import threading
from pathlib import Path
from typing import TYPE_CHECKING, Any

import pytest

from lambda_runtime_api.emulator import Environment, RuntimeNotFoundError

if TYPE_CHECKING:
    pass

pytest.importorskip("awslambdaric")


def alive(pid: int) -> bool:
    try:
        os.kill(pid, 0)
    except ProcessLookupError:
        return False
    return True


def texts(environment: Environment, source: str) -> list[str]:
    return [line.text for line in environment.logs if line.source == source]


def test_the_caller_is_answered_before_extensions_finish(start, opt: Path, tmp_path: Path) -> None:
    gate = tmp_path / "gate"
    with start(opt=opt, variables={"GATE": str(gate)}) as environment:
        result = environment.invoke({"a": 1})
        assert result.json() == {"a": 1}
        assert not any(line.text.startswith("finished") for line in result.logs)

        gate.touch()
        environment.wait_until_idle()
        assert f"finished {result.request_id}" in [line.text for line in result.logs]


def test_the_next_invocation_waits_for_extensions(start, opt: Path, tmp_path: Path) -> None:
    gate = tmp_path / "gate"
    with start(opt=opt, variables={"GATE": str(gate)}) as environment:
        first = environment.invoke(1)
        threading.Timer(0.1, gate.touch).start()
        second = environment.invoke(2)

        printed = texts(environment, "extension")
        assert f"finished {first.request_id}" in printed
        began = next(line for line in second.logs if line.text.startswith("START"))
        lines = environment.logs
        finished = [line.text for line in lines].index(f"finished {first.request_id}")
        assert finished < lines.index(began)


def test_an_extension_that_holds_on_too_long_loses_the_environment(
    start, opt: Path, tmp_path: Path
) -> None:
    """The caller has its answer; the environment times out all the same."""
    gate = tmp_path / "gate"
    with start(opt=opt, variables={"GATE": str(gate)}, timeout_seconds=1.5) as environment:
        first = environment.invoke(1)
        threading.Timer(1.7, gate.touch).start()
        second = environment.invoke(2)

        assert (first.error_type, second.error_type) == (None, None)
        assert second.cold
        assert "shutdown timeout" in texts(environment, "extension")
        assert any("Task timed out after 1.50 seconds" in line.text for line in first.logs)


def test_cold_then_warm(start) -> None:
    with start() as environment:
        cold, warm = environment.invoke({}), environment.invoke({})

    assert (cold.cold, warm.cold) == (True, False)
    assert cold.init_ms is not None
    assert warm.init_ms is None
    assert 0 < warm.duration_ms < 3_000
    assert cold.logs[-1].text.startswith(f"REPORT RequestId: {cold.request_id}\tDuration: ")


def test_a_new_environment_after_a_shutdown(start, opt: Path) -> None:
    with start(opt=opt) as environment:
        assert environment.pids == {}
        environment.invoke({})
        before = environment.pids
        environment.shutdown()
        assert environment.pids == {}
        again = environment.invoke({})
        after = environment.pids

    assert set(before) == set(after) == {"watcher", "runtime"}
    assert not set(before.values()) & set(after.values())
    assert again.init_ms is not None
    assert texts(environment, "extension").count("shutdown spindown") == 2


def test_another_reason_to_shut_down(start, opt: Path) -> None:
    with start(opt=opt) as environment:
        environment.invoke({})
        environment.shutdown("failure")
        assert texts(environment, "extension")[-1] == "shutdown failure"


def test_nothing_is_left_behind(start, opt: Path) -> None:
    with start(opt=opt) as environment:
        child = environment.invoke("child").json()
        pids = list(environment.pids.values())
        directory = environment.directory
        assert all(alive(pid) for pid in [child, *pids])

    assert not any(alive(pid) for pid in pids)
    assert not Path(f"/proc/{child}/cwd").exists()
    assert not directory.exists()


def test_a_folder_that_is_given_stays(start, tmp_path: Path) -> None:
    with start(directory=tmp_path / "own") as environment:
        environ = environment.invoke("environ").json()

    assert environ["TMPDIR"] == str(tmp_path / "own")
    assert (tmp_path / "own").is_dir()


def test_what_an_extension_may_see(start, opt: Path) -> None:
    with start(opt=opt, variables={"MINE": "1", "_MINE": "2"}, memory_mb=512) as environment:
        function = environment.invoke("environ").json()
        registration, extension = json.loads(texts(environment, "extension")[0])

    assert registration == {
        "functionName": "function",
        "functionVersion": "$LATEST",
        "handler": "app.handler",
        "accountId": "123456789012",
    }
    hidden = set(function) - set(extension)
    assert hidden == {
        "AWS_EXECUTION_ENV",
        "AWS_LAMBDA_LOG_GROUP_NAME",
        "AWS_LAMBDA_LOG_STREAM_NAME",
        "AWS_XRAY_CONTEXT_MISSING",
        "AWS_XRAY_DAEMON_ADDRESS",
        "LAMBDA_RUNTIME_DIR",
        "LAMBDA_TASK_ROOT",
        "PYTHONDONTWRITEBYTECODE",
        "PYTHONPATH",
        "_HANDLER",
        "_MINE",
        "_X_AMZN_TRACE_ID",
    }
    assert extension["MINE"] == "1"
    assert extension["AWS_LAMBDA_FUNCTION_MEMORY_SIZE"] == "512"
    assert "HOME" not in function


def test_the_function_sees_a_managed_runtime_and_not_our_libraries(start) -> None:
    with start() as environment:
        executable, *path = environment.invoke("path").json()

    assert sys.prefix == sys.base_prefix or not executable.startswith(sys.prefix)
    assert not any(entry.startswith(sys.prefix) for entry in path) or sys.prefix == sys.base_prefix
    assert Path(path[0]).name == "task"


def test_what_the_caller_sends_along(start) -> None:
    client = base64.b64encode(b'{"custom": {"a": "b"}}').decode()
    with start(function_name="chat", memory_mb=128) as environment:
        result = environment.invoke(
            "context",
            headers={
                "X-Amzn-Trace-Id": "Root=1-5759e988-bd862e3fe1be46a994272793",
                "x-amz-tenant-id": "blue",
                "X-Amz-Client-Context": json.dumps(json.loads(base64.b64decode(client))),
            },
        )

    assert result.json() == {
        "tenant": "blue",
        "client": {"a": "b"},
        "trace": "Root=1-5759e988-bd862e3fe1be46a994272793",
        "memory": "128",
        "name": "chat",
        "arn": "arn:aws:lambda:us-east-1:123456789012:function:chat",
    }


def test_bytes_are_the_event_as_it_is(start) -> None:
    with start() as environment:
        assert environment.invoke(b'"\\u00e9"').json() == "é"
        assert environment.invoke(b"{not JSON").error_type == "Runtime.UnmarshalError"


def test_several_at_once(start, opt: Path) -> None:
    results: dict[int, Any] = {}

    def one(number: int) -> None:
        with start(opt=opt) as environment:
            environ = environment.invoke("environ").json()
            names = ("LAMBDALLM_PORT", "LAMBDALLM_DIRECTORY", "AWS_LAMBDA_RUNTIME_API")
            results[number] = [*map(environ.get, names), environment.invoke(number).json()]

    threads = [threading.Thread(target=one, args=(number,)) for number in range(3)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()

    assert [results[number][3] for number in range(3)] == [0, 1, 2]
    assert all(len({result[place] for result in results.values()}) == 3 for place in range(3))


def test_one_environment_takes_one_invocation_at_a_time(start) -> None:
    results: list[Any] = []
    with start() as environment:
        threads = [
            threading.Thread(target=lambda: results.append(environment.invoke("x").request_id))
            for _ in range(4)
        ]
        for thread in threads:
            thread.start()
        for thread in threads:
            thread.join()
        environment.wait_until_idle()
        lines = [line.text.split()[0] for line in environment.logs if "RequestId" in line.text]

    assert len(set(results)) == 4
    assert lines == ["START", "END", "REPORT"] * 4


def test_an_exec_wrapper(start, tmp_path: Path) -> None:
    wrapper = tmp_path / "opt" / "wrapper"
    (wrapper.parent / "python").mkdir(parents=True)
    wrapper.write_text('#!/bin/sh\nexport WRAPPED="$#" _HANDLER=other.handler\nexec "$@"\n')
    wrapper.chmod(0o755)
    (wrapper.parent / "python/other.py").write_text("from app import handler\n")
    variables = {"AWS_LAMBDA_EXEC_WRAPPER": "/opt/wrapper"}
    with start(opt=wrapper.parent, variables=variables) as environment:
        environ = environment.invoke("environ").json()

    assert (environ["WRAPPED"], environ["_HANDLER"]) == ("4", "other.handler")


SLOW_FIRST = """
import os, time
marker = os.path.join(os.environ["TMPDIR"], "again")
if not os.path.exists(marker):
    open(marker, "w").close()
    time.sleep(30)

def handler(event, context):
    return "up"
"""


def test_an_init_that_takes_too_long_is_repeated_inside_the_invocation(
    start, opt: Path, tmp_path: Path
) -> None:
    (tmp_path / "task" / "slow.py").write_text(SLOW_FIRST)
    with start("slow.handler", opt=opt, init_seconds=1.5, timeout_seconds=20) as environment:
        result = environment.invoke({})

        assert result.json() == "up"
        assert (result.cold, result.init_ms) == (True, None)
        assert "shutdown timeout" in texts(environment, "extension")
        assert any("Status: timeout" in text for text in texts(environment, "platform"))


BASH_BOOTSTRAP = r"""#!/bin/bash
api=$AWS_LAMBDA_RUNTIME_API path=/2018-06-01/runtime/invocation
type -P python3 python3.11 > /dev/null && echo "a Python is here"

ask() { # ask METHOD PATH BODY: the answer can be read from 3
    exec 3<> "/dev/tcp/${api%:*}/${api##*:}"
    printf '%s %s HTTP/1.1\r\nHost: api\r\nConnection: close\r\nContent-Length: %d\r\n\r\n%s' \
        "$1" "$path/$2" "${#3}" "$3" >&3
}

while :; do
    ask GET next ''
    while IFS= read -r line <&3 && line=${line%$'\r'} && [ -n "$line" ]; do
        case "$line" in Lambda-Runtime-Aws-Request-Id:*) id=${line#*: } ;; esac
    done
    ask POST "$id/response" '"bash"'
    read -r line <&3
done
"""


@pytest.mark.skipif(not Path("/bin/bash").exists(), reason="no bash")
def test_a_function_without_python(tmp_path: Path) -> None:
    bootstrap = tmp_path / "bootstrap"
    bootstrap.write_text(BASH_BOOTSTRAP)
    bootstrap.chmod(0o755)
    with Environment(tmp_path, "unused", python=None) as environment:
        results = [environment.invoke({}).json() for _ in range(2)]

        assert results == ["bash", "bash"]
        assert texts(environment, "function") == []


def test_a_bootstrap_that_cannot_be_started(tmp_path: Path) -> None:
    with Environment(tmp_path, "unused", python=None) as environment:
        assert environment.invoke({}).error_type == "Runtime.InvalidEntrypoint"


@pytest.mark.parametrize("python", ["/bin/false", "/nowhere/python3"])
def test_a_python_that_cannot_run_functions(tmp_path: Path, python: str) -> None:
    with pytest.raises(RuntimeNotFoundError, match=python):
        Environment(tmp_path, "app.handler", python=python)


def test_lines_of_the_function_are_whole(tmp_path: Path) -> None:
    (tmp_path / "app.py").write_text(
        "import os\n"
        "def handler(event, context):\n"
        "    os.write(1, b'half')\n"
        "    os.write(1, 'and half é\\nno end'.encode())\n"
        "    os._exit(0)\n"
    )
    with Environment(tmp_path, "app.handler") as environment:
        result = environment.invoke({})
        environment.wait_until_idle()

    assert result.error_type == "Runtime.ExitError"
    printed = [line.text for line in result.logs if line.source == "function"]
    assert printed == ["halfand half é", "no end"]
