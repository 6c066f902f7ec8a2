"""Options that several commands have: which store is meant, how long ago, for whom to print."""

from __future__ import annotations

import re
import sys
from importlib import import_module
from typing import TYPE_CHECKING, Any, NoReturn, TypeVar

import click

from lambdallm import _settings
from lambdallm_cli import calls_read
from lambdallm_wire import names

if TYPE_CHECKING:
    from collections.abc import Callable

T = TypeVar("T")

NO, OUTSIDE = 1, 3
"""Exit codes: the answer is no; something outside failed."""

_UNITS_MS = {"s": 1_000, "m": 60_000, "h": 3_600_000, "d": 86_400_000}


def ago(_context: Any, _parameter: Any, value: str | None) -> int:
    """Return how many milliseconds a text like `90m` is long, 0 for none."""
    if value is None:
        return 0
    given = re.fullmatch(r"(\d+)([smhd])", value)
    if given is None or not int(given[1]):
        message = "write a number above 0 and s, m, h or d: 90m, 1h, 7d."
        raise click.BadParameter(message)
    return int(given[1]) * _UNITS_MS[given[2]]


store = click.option("--store", help="The store's URL; by default LAMBDALLM_STORE.")
function = click.option("--function", metavar="NAME", help="The store of a deployed function.")
region = click.option("--region", help="Where that function is.")
as_json = click.option("--json", "as_json", is_flag=True, help="Print one line for programs.")


def variables_of(
    store_url: str | None, function_name: str | None, region_name: str | None
) -> dict[str, str]:
    """Return the variables that name the store: the option's, the function's, or this machine's."""
    if store_url is not None and function_name is not None:
        message = "Give --store or --function, not both."
        raise click.UsageError(message)
    if function_name is not None:
        return reached(lambda: calls_read.variables_of_function(function_name, region_name))
    here = _settings.environ_with({})
    return {**here, names.ENVIRONMENT_STORE: store_url or here.get(names.ENVIRONMENT_STORE, "")}


def tables(module: str) -> Any:
    """Return a module of this package that prints tables, which needs rich."""
    try:
        return import_module(f"lambdallm_cli.{module}")
    except ModuleNotFoundError as error:
        if error.name != "rich":
            raise
        message = "Tables need rich: pip install 'lambdallm[cli]'"
        raise click.UsageError(message) from error


def reached(call: Callable[[], T]) -> T:
    """Ask something outside, and exit with what its failure means."""
    try:
        return call()
    except calls_read.UsageError as error:
        raise click.UsageError(str(error)) from error
    except calls_read.UnreachableError as error:
        leave(OUTSIDE, str(error))
    except ModuleNotFoundError as error:
        if error.name not in ("boto3", "botocore"):
            raise
        message = f"AWS is asked with {error.name}: pip install 'lambdallm[cli]'"
        raise click.UsageError(message) from error


def leave(code: int, message: str) -> NoReturn:
    """Say why and exit."""
    click.echo(message, err=True)
    sys.exit(code)
