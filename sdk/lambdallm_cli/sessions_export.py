"""`lambdallm sessions export`."""

from __future__ import annotations

import json
import os
import shutil
import sys
import tempfile
from contextlib import closing, contextmanager
from functools import partial
from pathlib import Path
from typing import TYPE_CHECKING, Any, BinaryIO, NamedTuple

import click

from lambdallm_cli import options, sessions_asked, sessions_files, sessions_report
from lambdallm_cli.sessions_store import READINGS_MAX, ChangedError, RefusedError

if TYPE_CHECKING:
    from collections.abc import Iterator

    from lambdallm_cli.sessions_store import SessionStore

_STDOUT = Path("-")


class _Counts(NamedTuple):
    written: int = 0
    before: int = 0
    faulty: int = 0


@click.command(
    "export",
    epilog="Examples: lambdallm sessions export sessions.jsonl --function chat; "
    "lambdallm sessions export - --owner lambda:user-7 | gzip > sessions.jsonl.gz",
)
@click.argument(
    "path", metavar="FILE", type=click.Path(dir_okay=False, allow_dash=True, path_type=Path)
)
@sessions_asked.only_owner
@sessions_asked.older
@click.option("--resume", is_flag=True, help="Go on with a file that was not finished.")
@click.option("--overwrite", is_flag=True, help="Begin a file anew that is there.")
@sessions_asked.at_a_store
@options.as_json
def export_sessions(  # noqa: PLR0913, PLR0917 - one for each option
    path: Path,
    owner: str | None,
    older_ms: int,
    resume: bool,
    overwrite: bool,
    store: str | None,
    function: str | None,
    region: str | None,
    as_json: bool,
) -> None:
    """Write sessions into FILE, one line of JSON each; `import` reads it.

    With - to standard output. Everything of a session is in its line. FILE is as secret as what
    was said; it is FILE.part until it is whole. Exits with 1 when a session cannot be read: the
    others are in FILE.part then, and --resume tries that one again.
    """
    _check(path, resume=resume, overwrite=overwrite)
    part = sessions_files.part_of(path)
    part = path if resume and not part.exists() else part
    done = options.reached(lambda: sessions_files.written_before(part)) if resume else set()
    with closing(sessions_asked.open_store(store, function, region)) as opened:
        chosen = options.reached(lambda: sessions_asked.select(opened, owner, older_ms))
        waiting = [each for each in chosen if (each["session_id"], each["owner"]) not in done]
        with _written_to(path, part, begins=not resume) as file:
            counts = _export(opened, waiting, file, spooled=path == _STDOUT)
    counts = counts._replace(before=len(done))
    if not counts.faulty and path != _STDOUT:
        part.replace(path)
    _tell(counts, path if counts.faulty == 0 else part, as_json=as_json)
    sys.exit(options.NO if counts.faulty else 0)


def _check(path: Path, *, resume: bool, overwrite: bool) -> None:
    if path == _STDOUT:
        if resume or overwrite:
            message = "Standard output is neither gone on with nor begun anew."
            raise click.UsageError(message)
        return
    if not path.parent.is_dir():
        message = f"There is no folder {path.parent.absolute()}."
        raise click.UsageError(message)
    if path.exists() and not path.is_file():
        message = f"{path} is no file."
        raise click.UsageError(message)
    there = path.exists() or sessions_files.part_of(path).exists()
    if there and resume == overwrite:
        message = f"{path} is there: --resume goes on with it, --overwrite begins it anew."
        raise click.UsageError(message)
    if resume and not there:
        message = f"There is no {path} to go on with."
        raise click.UsageError(message)


@contextmanager
def _written_to(path: Path, part: Path, *, begins: bool) -> Iterator[BinaryIO]:
    """Open what is written to; what the disk refuses exits."""
    if path == _STDOUT:
        with tempfile.TemporaryFile() as file:
            yield file
        return
    try:
        if begins:
            sessions_files.begin(part)
        with part.open("r+b") as file:
            file.seek(0, os.SEEK_END)
            yield file
            os.fsync(file.fileno())
    except OSError as error:
        options.leave(options.OUTSIDE, f"{part}: {error.strerror}")


def _export(
    opened: SessionStore, chosen: list[dict[str, Any]], file: BinaryIO, *, spooled: bool
) -> _Counts:
    counts = _Counts()
    for number, session in enumerate(chosen, start=1):
        sessions_asked.progress(number, len(chosen))
        written = sessions_asked.unless_refused(partial(_append, opened, session, file))
        if isinstance(written, RefusedError):
            click.echo(f"{sessions_report.named(session)}: {written}", err=True)
            counts = counts._replace(faulty=counts.faulty + 1)
            continue
        counts = counts._replace(written=counts.written + written)
        if spooled:
            _hand_on(file)
    sessions_asked.progress_ends()
    return counts


def _append(opened: SessionStore, session: dict[str, Any], file: BinaryIO) -> bool:
    """Write a session whole; False where it was deleted since it was listed."""
    for _ in range(READINGS_MAX):
        pages = opened.pages(session["session_id"], session["owner"])
        first = next(pages)
        if first["session"] is None:
            return False
        try:
            sessions_files.append(file, _and(first, pages))
        except ChangedError:
            continue
        return True
    message = "It is written anew all the time: export it when less is said in it."
    raise RefusedError(message)


def _and(first: dict[str, Any], pages: Iterator[dict[str, Any]]) -> Iterator[dict[str, Any]]:
    yield first
    yield from pages


def _hand_on(file: BinaryIO) -> None:
    """Copy a session to standard output, and forget it."""
    file.seek(0)
    output = sys.stdout.buffer
    shutil.copyfileobj(file, output)
    output.flush()
    file.seek(0)
    file.truncate()


def _tell(counts: _Counts, path: Path, *, as_json: bool) -> None:
    to_stdout = path == _STDOUT
    if as_json:
        click.echo(json.dumps({"written": counts.written, "before": counts.before}), err=to_stdout)
        return
    before = f", {counts.before:,} were there before" if counts.before else ""
    where = "" if to_stdout else f" to {path}"
    faulty = f"; {counts.faulty:,} could not be read" if counts.faulty else ""
    written = sessions_report.counted(counts.written, "session")
    click.echo(f"{written} written{where}{before}{faulty}.", err=to_stdout)
