"""Frozen between invocations, a share of a CPU, a limit of memory: what Lambda does to them all."""

import os
import signal
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from lambda_runtime_api.emulator import Environment, confinement

pytest.importorskip("awslambdaric", reason="AWS's runtime client is built for Linux")

FUNCTION = """
import os, subprocess, sys, threading, time

ticks = []
child = subprocess.Popen(["sleep", "60"])
stranger = subprocess.Popen(["sleep", "60"], start_new_session=True)

def tick():
    while True:
        ticks.append(time.time())
        time.sleep(0.01)

threading.Thread(target=tick, daemon=True).start()

def handler(event, context):
    if event == "hide":
        return subprocess.Popen(["sleep", "60"], start_new_session=True, env={}).pid
    if event == "burn":
        begun = time.process_time()
        while time.process_time() < begun + 0.05:
            pass
    if event == "eat":
        return len(b"x" * 400_000_000)
    seen = len(ticks)
    while len(ticks) == seen:
        time.sleep(0.001)
    gaps = [later - earlier for earlier, later in zip(ticks, ticks[1:])]
    pids = {"pid": os.getpid(), "child": child.pid, "stranger": stranger.pid}
    return {**pids, "gap": max(gaps, default=0)}
"""

Make = Callable[..., Environment]


def state(pid: int) -> str:
    return Path(f"/proc/{pid}/stat").read_text().rpartition(") ")[2][0]


def processes_with(variable: str) -> list[int]:
    found = []
    for folder in Path("/proc").glob("[0-9]*"):
        try:
            if variable.encode() in (folder / "environ").read_bytes():
                found.append(int(folder.name))
        except OSError:
            continue
    return found


def freezer_of(pid: int) -> Path:
    """Tell the control group of a process; `/nowhere` is the one of a machine without them."""
    for line in Path(f"/proc/{pid}/cgroup").read_text().splitlines():
        _, controllers, path = line.split(":", 2)
        if controllers == "freezer" and confinement.PREFIX in path:
            return (confinement._mounted("freezer") or Path("/nowhere")) / Path(path).name
    return Path("/nowhere")


@pytest.fixture
def make(tmp_path: Path) -> Make:
    (tmp_path / "app.py").write_text(FUNCTION)

    def make(**options: Any) -> Environment:
        mark = {"MARK": str(tmp_path)}
        return Environment(tmp_path, "app.handler", variables=mark, **options)

    return make


@pytest.fixture(params=["freezer", "signals"])
def freezing(request: pytest.FixtureRequest, monkeypatch: pytest.MonkeyPatch) -> str:
    if request.param == "signals":
        monkeypatch.setattr(confinement, "_mounted", lambda _: None)
    elif confinement._mounted("freezer") is None:
        pytest.skip("the freezer of control groups (version 1) cannot be written here")
    return str(request.param)


@pytest.mark.usefixtures("freezing")
def test_processes_stand_still_between_invocations(make: Make) -> None:
    with make(freeze=True) as environment:
        seen: Any = environment.invoke("go").json()
        environment.wait_until_idle()
        assert environment.frozen
        time.sleep(0.5)
        later: Any = environment.invoke("go").json()

        assert later["pid"] == seen["pid"]
        assert later["gap"] > 0.4, "its own clock ran on, its threads did not"


@pytest.mark.usefixtures("freezing")
def test_children_stand_still_too(make: Make) -> None:
    with make(freeze=True) as environment:
        seen: Any = environment.invoke("go").json()
        environment.wait_until_idle()
        frozen = {state(seen[name]) for name in ("pid", "child", "stranger")}
        environment.thaw()
        thawed = {state(seen[name]) for name in ("pid", "child", "stranger")}

        assert frozen <= {"D", "T"}, "in the freezer, or stopped"
        assert "T" not in thawed
        assert not environment.frozen


@pytest.mark.usefixtures("freezing")
@pytest.mark.parametrize("end", ["close", "kill", "shutdown"])
def test_a_frozen_environment_ends_without_leaving_a_process(
    make: Make, tmp_path: Path, end: str
) -> None:
    environment = make(freeze=True)
    variable = f"MARK={tmp_path}"
    environment.invoke("go")
    environment.wait_until_idle()
    assert processes_with(variable)

    getattr(environment, end)()
    environment.close()
    assert processes_with(variable) == []


def test_an_environment_is_killed_in_the_middle_and_starts_anew(make: Make) -> None:
    with make() as environment:
        before: Any = environment.invoke("go").json()
        environment.kill()
        assert environment.pids == {}
        after = environment.invoke("go")

        assert after.cold
        assert after.json()["pid"] != before["pid"]  # type: ignore[index]


@pytest.mark.skipif(bool(confinement.why_no_cpu_share()), reason=confinement.why_no_cpu_share())
def test_a_small_function_has_a_small_share_of_a_cpu(make: Make) -> None:
    with make(cpu_share=True, memory_mb=128, timeout_seconds=20) as environment:
        environment.invoke("go")
        small_ms = environment.invoke("burn").duration_ms
    with make(timeout_seconds=20) as environment:
        environment.invoke("go")
        # The fastest of some: what else runs on this machine slows one of them down, not all.
        whole_ms = min(environment.invoke("burn").duration_ms for _ in range(5))

    assert small_ms > 3 * whole_ms, "50 ms of work at 7 % of a CPU"


BURNS_IN_INIT = """
import os, time
begun, end = time.monotonic(), time.process_time() + 0.05
while time.process_time() < end:
    pass
times_slower = (time.monotonic() - begun) / 0.05

def handler(event, context):
    if event == "exit":
        os._exit(1)
    return times_slower
"""


@pytest.mark.skipif(bool(confinement.why_no_cpu_share()), reason=confinement.why_no_cpu_share())
def test_a_first_init_has_a_whole_cpu_and_one_after_a_reset_has_not(tmp_path: Path) -> None:
    (tmp_path / "burns.py").write_text(BURNS_IN_INIT)
    with Environment(
        tmp_path, "burns.handler", cpu_share=True, memory_mb=128, timeout_seconds=30
    ) as environment:
        first: Any = environment.invoke("go").json()
        environment.invoke("exit")
        again: Any = environment.invoke("go").json()

    assert again > 8, "7 % of a CPU"
    assert first < again / 2


@pytest.mark.skipif(bool(confinement.why_no_cpu_share()), reason=confinement.why_no_cpu_share())
def test_too_much_memory_ends_a_process(make: Make) -> None:
    with make(memory_limit=True, memory_mb=128, timeout_seconds=20) as environment:
        environment.invoke("go")
        assert environment.invoke("eat").error_type == "Runtime.ExitError"
        assert environment.invoke("go").error_type is None


@pytest.mark.parametrize("how", ["ends", "is killed"])
@pytest.mark.usefixtures("freezing")
def test_an_emulator_that_dies_leaves_nothing_behind(make: Make, tmp_path: Path, how: str) -> None:
    told = tmp_path / "group"
    child = os.fork()
    if not child:  # an emulator that dies with a frozen environment
        environment = make(freeze=True)
        environment.invoke("go")
        environment.wait_until_idle()
        told.write_text(str(freezer_of(environment.pids["runtime"])))
        if how == "ends":
            os._exit(0)
        os.kill(os.getpid(), signal.SIGKILL)
    os.waitpid(child, 0)

    give_up = time.monotonic() + 10
    group = Path(told.read_text())
    while processes_with(f"MARK={tmp_path}") or group.exists():
        assert time.monotonic() < give_up, "processes or control groups are left"
        time.sleep(0.01)


def test_a_child_of_another_session_ends_with_the_environment(make: Make, tmp_path: Path) -> None:
    with make() as environment:
        environment.invoke("go")
        assert len(processes_with(f"MARK={tmp_path}")) >= 3
        environment.shutdown()
        assert processes_with(f"MARK={tmp_path}") == []


@pytest.mark.skipif(confinement._mounted("freezer") is None, reason="signals cannot find it")
def test_a_child_that_hides_ends_with_its_control_group(make: Make) -> None:
    """In a session and an environment of its own it cannot be told from others without a group."""
    with make(freeze=True) as environment:
        hidden: Any = environment.invoke("hide").json()
        assert Path(f"/proc/{hidden}/cwd").exists()

    assert not Path(f"/proc/{hidden}/cwd").exists()


def test_control_groups_are_given_back(make: Make, freezing: str) -> None:
    with make(freeze=True) as environment:
        environment.invoke("go")
        group = freezer_of(environment.pids["runtime"])
        assert group.exists() == (freezing == "freezer")
    assert not group.exists()


def test_a_machine_without_control_groups_says_so(
    make: Make, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(confinement, "_mounted", lambda _: None)

    with pytest.raises(confinement.CpuShareUnavailableError, match="cpu controller"):
        make(cpu_share=True)
    with pytest.raises(confinement.MemoryLimitUnavailableError, match="memory controller"):
        make(memory_limit=True)
