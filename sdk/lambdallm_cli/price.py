"""`lambdallm price`: what a call costs, and which row of the price book says so.

`lambdallm price-book sign`: a newer book, ready for the bucket that functions read it from.
"""

from __future__ import annotations

import contextlib
import json
import sys
from datetime import datetime, timezone
from importlib import resources
from pathlib import Path
from typing import Any

import click

from lambdallm import _embedded, _errors, _settings
from lambdallm_cli import options
from lambdallm_wire import money, names, routes, signed_books

WAIT_SECONDS = 30.0

COUNTS = {
    "uncached_input_tokens": ("input", "input"),
    "cache_read_tokens": ("cache read", "cache_read"),
    "cache_write_5m_tokens": ("cache write, 5 min", "cache_write_5m"),
    "cache_write_1h_tokens": ("cache write, 1 h", "cache_write_1h"),
    "output_tokens": ("output", "output"),
}
"""Of a usage: what they are called here, and the kind of token that they count."""

_BEHIND = {
    "prompt-router/": "{} has no price of its own: a prompt router's answer names the model that "
    "it chose, which has one.",
    ":application-inference-profile/": "Nobody has said which model stands behind {}. Name it "
    "under cost.prices in lambdallm.yaml (`like`), or allow bedrock:GetInferenceProfile.",
}
"""ARNs that name no model, and what to do then."""

_TOKENS = click.IntRange(0)
_WIDTH = 20


@click.command(
    epilog="Example: lambdallm price openai/gpt-5-mini --input 5000 --cache-read 3072 "
    "--output 1200 --tier flex"
)
@click.argument("model")
@click.option("--input", "uncached", type=_TOKENS, default=0, help="Tokens that are not cached.")
@click.option("--cache-read", "read", type=_TOKENS, default=0, help="Tokens read from a cache.")
@click.option("--cache-write-5m", "short", type=_TOKENS, default=0, help="Written for 5 minutes.")
@click.option("--cache-write-1h", "long", type=_TOKENS, default=0, help="Written for longer.")
@click.option("--output", "output", type=_TOKENS, default=0, help="Tokens that are generated.")
@click.option("--tier", default="", help="The service tier: flex, priority, batch, fast.")
@click.option("--at", "day", type=click.DateTime(["%Y-%m-%d"]), help="On which day (UTC); today.")
@click.option("--region", default="", help="Where, for models whose price depends on it.")
@options.as_json
def price(  # noqa: PLR0913, PLR0917 - one for each option
    model: str,
    uncached: int,
    read: int,
    short: int,
    long: int,
    output: int,
    tier: str,
    day: datetime | None,
    region: str,
    as_json: bool,
) -> None:
    """Say what a call of MODEL costs, exactly, and which row of the price book says so.

    MODEL is provider/model, an id of Bedrock's or of another vendor's, an ARN, or an alias of
    lambdallm.yaml, whose cost.prices hold here too. The last line is the cost in USD.

    Exits with 1 when nobody knows the price; then it says which models are near.
    """
    usage = dict(zip(COUNTS, (uncached, read, short, long, output), strict=True))
    message: dict[str, Any] = {"model": model, "usage": usage}
    message |= {"service_tier": tier} if tier else {}
    message |= {"region": region} if region else {}
    if day is not None:
        message["epoch_ms"] = int(day.replace(tzinfo=timezone.utc).timestamp()) * 1_000
    reply = _ask(message)
    cost = reply["cost_pico_usd"]
    if as_json:
        usd = None if cost is None else money.usd(cost)
        click.echo(json.dumps({**reply, "usage": usage, "usd": usd}, ensure_ascii=False))
    elif reply["row"] is not None:
        _show(reply, usage)
    if cost is None:
        options.leave(options.NO, _why_unknown(reply, usage, tier))
    if not as_json:
        click.echo(f"{click.style('USD', bold=True)} {money.usd(cost)}")


@click.group("price-book")
def price_book() -> None:
    """Look after the price book that functions read from a bucket."""


@price_book.command(
    "sign", epilog="Example: lambdallm price-book sign | aws s3 cp - s3://my-bucket/prices.json"
)
@click.argument(
    "file", type=click.Path(exists=True, dir_okay=False, path_type=Path), required=False
)
def sign(file: Path | None) -> None:
    """Write a price book with its signature to standard output.

    FILE is a book without one; by default that of this installation, which may be newer than the
    functions' layer. It is signed with the key in LAMBDALLM_PRICES_KEY (HMAC-SHA256). Functions
    whose LAMBDALLM_PRICES names the object, and that have the same key, use it when its version
    is higher than that of their own.
    """
    key = _settings.environ_with({}).get(names.ENVIRONMENT_PRICES_KEY, "").strip()
    if key.startswith("env:"):
        key = _settings.environ_with({}).get(key[4:], "").strip()
    if not key or key.startswith("arn:"):
        message = f"{names.ENVIRONMENT_PRICES_KEY} must hold the key itself here."
        raise click.UsageError(message)
    shipped = resources.files("lambdallm_extension.price_book") / "prices.json"
    book = shipped.read_bytes() if file is None else file.read_bytes()
    try:
        version = json.loads(book)["version"]
        signed = signed_books.sign(book, key.encode())
    except (ValueError, KeyError, TypeError) as error:
        options.leave(options.NO, f"{file or 'The book'} cannot be signed: {error}.")
    sys.stdout.buffer.write(signed)
    click.echo(f"Version {version}, {len(signed)} bytes.", err=True)


def _ask(message: dict[str, Any]) -> dict[str, Any]:
    environ = {
        **_settings.environ_with({}),
        names.ENVIRONMENT_STORE: "memory:",
        "LAMBDALLM_TELEMETRY": "off",
    }
    with contextlib.redirect_stdout(sys.stderr):  # what the engine says is not the answer
        transport = _embedded.EmbeddedTransport.start(environ)
        try:
            return transport.request(routes.PRICE, message, timeout_seconds=WAIT_SECONDS)
        except (_errors.ConfigurationError, _errors.SidecarError) as error:
            raise click.UsageError(error.detail) from error
        finally:
            transport.close()


def _show(reply: dict[str, Any], usage: dict[str, int]) -> None:
    row = reply["row"]
    held = f"since {row['begins']}" if row["begins"] else "since ever"
    _line("row", f"{row['key']}, {row['tier']}, {held}")
    if row["rule"]:
        _line("rule", row["rule"])
    _line("source", row["source"] + (f" (read {row['as_of']})" if row["as_of"] else ""))
    _line("price book", f"version {reply['version']}")
    if row["disputed"]:
        _line("disputed", "yes: its two catalogues disagree; the higher price counts", "yellow")
    else:
        _line("disputed", "no")
    if row["above_tokens"] is not None:
        side = "more than" if row["is_above"] else "not more than"
        _line("long context", f"{side} {row['above_tokens']:,} tokens of input")
    limits = [(name, row[f"{kind}_limit"]) for name, kind in (("reads", "input"),
                                                              ("writes", "output"))]  # fmt: skip
    told = [f"{name} {limit:,} tokens at most" for name, limit in limits if limit is not None]
    if told:
        _line("its model", ", ".join(told))
    click.echo(f"\n{'':<{_WIDTH}}{'tokens':>12}{'USD a million':>16}{'USD':>20}")
    for count, (name, kind) in COUNTS.items():
        rate = row["pico_usd_per_token"].get(kind)
        if usage[count] or rate is not None:
            million = "unknown" if rate is None else money.usd(rate * 1_000_000)
            part = "unknown" if rate is None else money.usd(rate * usage[count])
            part = part if usage[count] else "–"
            click.echo(f"{name:<{_WIDTH}}{usage[count]:>12,}{million:>16}{part:>20}")
    click.echo()


def _line(name: str, said: str, colour: str | None = None) -> None:
    click.echo(f"{click.style(f'{name:<{_WIDTH}}', bold=True)}{click.style(said, fg=colour)}")


def _why_unknown(reply: dict[str, Any], usage: dict[str, int], tier: str) -> str:
    model = reply["model"]
    if reply["row"] is not None:
        priced = reply["row"]["pico_usd_per_token"]
        missing = [
            name for count, (name, kind) in COUNTS.items() if usage[count] and kind not in priced
        ]
        return f"The cost is unknown: {model} has no price for {' and '.join(missing)}."
    if reply["tiers"]:
        return f"{model} has no price on the tier {tier!r}; it has {', '.join(reply['tiers'])}."
    for kind, said in _BEHIND.items():
        if kind in model:
            return said.format(model)
    if reply["near"]:
        return f"Nobody knows the price of {model}. Near: {', '.join(reply['near'])}."
    return f"Nobody knows the price of {model}, and none of the price book's models is near."
