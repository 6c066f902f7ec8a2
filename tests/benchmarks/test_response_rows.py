"""The rows about answers streamed to a client: their side for real, and how both are measured."""

import time
from collections.abc import Iterator
from pathlib import Path
from types import ModuleType
from typing import Any

import pytest

BENCHMARKS = Path(__file__).resolve().parents[2] / "benchmarks"


@pytest.fixture
def rows(monkeypatch: pytest.MonkeyPatch) -> ModuleType:
    monkeypatch.syspath_prepend(str(BENCHMARKS))
    import response_rows

    return response_rows


@pytest.fixture
def theirs(rows: ModuleType, tmp_path: Path) -> Iterator[Any]:
    """FastAPI before the model that streams."""
    import bench
    import stream_rows

    certificate, _ = bench.make_certificate(tmp_path)
    made = bench.Bench(tmp_path, 0, [], {}, certificate, 1, 1, print)
    with stream_rows.model_served(made) as variables, rows.fastapi(variables) as side:
        yield side


def test_fastapi_gives_the_models_chunks_on(rows: ModuleType, theirs: Any) -> None:
    assert rows.chunk_us(theirs, 30, 0) > 0
    before = time.monotonic_ns()
    first_ms = rows.first_ms(theirs)

    assert 0 < first_ms < (time.monotonic_ns() - before) / 1e6, "part of the whole call"


def test_the_first_chunk_counts_wherever_its_bytes_are_parted(rows: ModuleType) -> None:
    sent = time.monotonic_ns()
    text = b'{"statusCode":200}' + bytes(8) + b"data: %d and so\n\n" % sent

    def ask(model: str) -> Iterator[bytes]:
        yield text[:30]
        yield text[30:]
        came.append(time.monotonic_ns())
        yield b"data: 5 later\n\n"

    came: list[int] = []
    first_ms = rows.first_ms(rows.Side(list, ask, lambda: None))

    assert 0 <= first_ms <= (came[0] - sent) / 1e6


def test_chunks_that_did_not_come_are_no_figure(rows: ModuleType) -> None:
    side = rows.Side(list, lambda model: iter([b"data: 5 a\n\n"]), lambda: None)

    with pytest.raises(RuntimeError, match="Of 2 chunks there came 1"):
        rows.chunk_us(side, 2, 0)
