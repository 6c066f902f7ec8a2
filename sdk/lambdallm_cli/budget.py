"""`lambdallm budget`: what may be spent, for every function that shares a store."""

from __future__ import annotations

import json
from contextlib import closing
from typing import TYPE_CHECKING, Any

import click

from lambdallm import _errors
from lambdallm_cli import figures, options
from lambdallm_cli.account_store import AccountStore
from lambdallm_cli.redis_reading import without_password
from lambdallm_wire import names

if TYPE_CHECKING:
    from collections.abc import Callable

_SOON = "It holds in every environment that uses {} within a minute."

_SEARCHING = (
    "Budgets with an account for each id are looked for in the whole store: a read unit for each 4 "
    "KB in it, so that 1 GB costs about $0.03 on demand."
)
"""Source: DynamoDB pricing, us-east-1, $0.125 for a million read request units, 2026-11."""

_WINDOWS, _REACTIONS = ("day", "week", "month", "all"), ("block", "downgrade", "warn")

_scope = click.option(
    "--scope", help="organisation, tenant, user, function, model, session or tag:NAME."
)


@click.group()
def budget() -> None:
    """See what may be spent, change it, and stop spending at once.

    Changes lie in the store that functions share (LAMBDALLM_STORE), and win over their
    lambdallm.yaml. Budgets of that file are known here when it is: run this beside it.

    Exit codes: 0 done, 1 the answer is no, 2 used wrongly, 3 something outside failed.
    """


def at_a_store(command: Callable[..., Any]) -> Callable[..., Any]:
    """Give a command the options that say which store is meant, and --json."""
    for option in (options.as_json, options.region, options.function, options.store):
        command = option(command)
    return command


@budget.command(
    "set",
    epilog="Examples: lambdallm budget set all --scope organisation --window month --limit 1000; "
    "lambdallm budget set users --scope user --limit 0.50",
)
@click.argument("name")
@click.option("--limit", callback=figures.pico_usd, metavar="USD", help="For each window.")
@_scope
@click.option("--id", "only", help="The one it is of. Where each id has a limit: its own.")
@click.option("--window", type=click.Choice(_WINDOWS), help="For a new one: day.")
@click.option("--on-exceeded", type=click.Choice(_REACTIONS), help="For a new one: block.")
@click.option("--time-zone", help="Where its windows begin, such as Europe/Berlin; else UTC.")
@at_a_store
def set_budget(  # noqa: PLR0913, PLR0917 - one for each option
    name: str,
    limit: int | None,
    scope: str | None,
    only: str | None,
    window: str | None,
    on_exceeded: str | None,
    time_zone: str | None,
    store: str | None,
    function: str | None,
    region: str | None,
    as_json: bool,
) -> None:
    """Make the budget NAME, or change what is said of it; the rest stays.

    A new one needs --scope and --limit. Without --id it is of each id of its scope: each user, each
    tenant has such a limit. One of them gets another limit by --id and --limit.
    """
    said = {
        "limit_pico_usd": limit,
        "scope": scope,
        "id": only,
        "window": window,
        "on_exceeded": on_exceeded,
        "time_zone": time_zone,
    }
    given = {field: value for field, value in said.items() if value is not None}
    _change((store, function, region), as_json, action="set", name=name, **given)


@budget.command("raise", epilog="Example: lambdallm budget raise users --to 10 --id jwt:ada")
@click.argument("name")
@click.option(
    "--to", "limit", callback=figures.pico_usd, required=True, metavar="USD", help="The new limit."
)
@click.option("--id", "only", help="Of this one alone, where each has a limit of its own.")
@at_a_store
def raise_budget(  # noqa: PLR0913, PLR0917 - one for each option
    name: str,
    limit: int,
    only: str | None,
    store: str | None,
    function: str | None,
    region: str | None,
    as_json: bool,
) -> None:
    """Raise the limit of the budget NAME; what was spent stays spent.

    Exits with 1 when there is no such budget here, or the limit is not below that already.
    """
    given = {} if only is None else {"id": only}
    where = (store, function, region)
    _change(where, as_json, action="raise", name=name, limit_pico_usd=limit, **given)


@budget.command(
    "stop",
    epilog="Examples: lambdallm budget stop --scope tenant --id acme; "
    "lambdallm budget stop --scope organisation; lambdallm budget stop users",
)
@click.argument("name", required=False)
@_scope
@click.option("--id", "only", help="Of the scope, all but the organisation's.")
@at_a_store
def stop(  # noqa: PLR0913, PLR0917 - one for each option
    name: str | None,
    scope: str | None,
    only: str | None,
    store: str | None,
    function: str | None,
    region: str | None,
    as_json: bool,
) -> None:
    """Let nothing more be spent of the budget NAME, or by one tenant, user, model, and so on.

    No budget is needed for the latter. Calls that are under way are finished.
    """
    _switch("stop", (name, scope, only), (store, function, region), as_json=as_json)


@budget.command("go", epilog="Example: lambdallm budget go --scope tenant --id acme")
@click.argument("name", required=False)
@_scope
@click.option("--id", "only", help="Of the scope, all but the organisation's.")
@at_a_store
def go(  # noqa: PLR0913, PLR0917 - one for each option
    name: str | None,
    scope: str | None,
    only: str | None,
    store: str | None,
    function: str | None,
    region: str | None,
    as_json: bool,
) -> None:
    """Take a stop back."""
    _switch("go", (name, scope, only), (store, function, region), as_json=as_json)


@budget.command("show", epilog="Examples: lambdallm budget show; lambdallm budget show users")
@click.argument("name", required=False)
@click.option("--limit", "most", type=click.IntRange(1), default=50, show_default=True,
              help="Accounts to show, the fullest first.")  # fmt: skip
@at_a_store
def show(
    name: str | None,
    most: int,
    store: str | None,
    function: str | None,
    region: str | None,
    as_json: bool,
) -> None:
    """Show how the budgets stand in the windows of now, or the one called NAME.

    Leased counts against the limit: what is spent, and what environments hold to spend next.
    Stranded is the part of it that nobody is known to hold. Unknown was reserved for calls whose
    answers were lost, and counts as spent.

    Exits with 1 when there is none.
    """
    report = options.tables("budget_report")
    rules: list[dict[str, Any]] = []
    accounts: list[dict[str, Any]] = []
    with closing(_open((store, function, region))) as opened:
        pages = opened.budgets(name or "", lambda: _warn(opened))
        for page in options.reached(lambda: [*pages]):
            rules += page["rules"]
            accounts += page["accounts"]
    accounts.sort(key=lambda account: (-account["percent"], account["name"], account["id"]))
    if as_json:
        click.echo(json.dumps({"rules": rules, "accounts": accounts}, ensure_ascii=False))
    if not rules:
        which = f"There is no budget {name!r}" if name else "There are no budgets"
        options.leave(options.NO, f"{which} in this store, nor in a lambdallm.yaml here.")
    if not as_json:
        report.show(rules, accounts[:most], len(accounts))


def _warn(opened: AccountStore) -> None:
    if opened.is_read_whole:
        click.echo(_SEARCHING, err=True)


def _switch(
    action: str,
    what: tuple[str | None, str | None, str | None],
    where: tuple[str | None, str | None, str | None],
    *,
    as_json: bool,
) -> None:
    fields = ("name", "scope", "id")
    given = {field: said for field, said in zip(fields, what, strict=True) if said is not None}
    _change(where, as_json, action=action, **given)


def _change(where: tuple[str | None, str | None, str | None], as_json: bool, **change: Any) -> None:
    report = options.tables("budget_report")
    with closing(_open(where, may_be_new=True)) as opened:
        try:
            reply = options.reached(lambda: opened.change(**change))
        except _errors.InvalidRequestError as error:
            raise click.UsageError(error.detail) from error
    if as_json:
        click.echo(json.dumps(reply, ensure_ascii=False))
    if not reply["changed"]:
        options.leave(options.NO, reply["why"])
    if not as_json:
        shown = without_password(opened.url)
        click.echo(f"{report.told(change, reply['rule'])} {_SOON.format(shown)}")


def _open(
    where: tuple[str | None, str | None, str | None], *, may_be_new: bool = False
) -> AccountStore:
    variables = options.variables_of(*where)
    named = bool(variables.get(names.ENVIRONMENT_STORE))
    may_be_new = may_be_new and named  # who forgot to name the store has stopped nothing
    return options.reached(lambda: AccountStore(variables, may_be_new=may_be_new))
