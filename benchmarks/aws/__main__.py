"""Run the checks, or the comparison, in a real AWS account; without credentials, say what they are.

    ./build.sh smoke --aws      promises and facts that only a real account can show
    ./build.sh bench --aws      cold and warm, with the layer, without, and against boto3

Everything is deployed under one name and removed at the end, whatever happens between.
"""

from __future__ import annotations

import argparse
import json
import sys
from pathlib import Path
from uuid import uuid4

sys.path.insert(0, str(Path(__file__).parent))

import checks
import comparison
from account import Account, AccountError, find_account
from deployment import Deployment, FunctionPlan, build_layer

DONE, NO, FAILED = 0, 1, 3

SCRIPTED = "scripted/echo"
"""Answers without a network, so that no model access is needed."""


def main(arguments: list[str] | None = None) -> int:
    """Run the command line; return its exit code: 0 done, 1 a check failed, 3 AWS did."""
    options = _parse(arguments)
    plans = checks.PLANS if options.what == "smoke" else comparison.PLANS
    try:
        account = None if options.dry_run else find_account(options.region)
    except AccountError as error:
        print(error, file=sys.stderr)
        return FAILED
    if account is None:
        _print_plan(options.what, plans, dry_run=options.dry_run)
        return DONE
    print(f"account {account.account_id}, {account.region}, as {account.arn}", file=sys.stderr)
    return _run(options, account, plans)


def _parse(arguments: list[str] | None) -> argparse.Namespace:
    parser = argparse.ArgumentParser(
        prog="./build.sh smoke --aws",
        description=__doc__.split("\n", 1)[0],
        epilog="example: AWS_PROFILE=sandbox ./build.sh smoke --aws --region eu-central-1",
    )
    parser.add_argument("what", choices=["smoke", "bench"], help="which of the two")
    parser.add_argument("--region", help="where; else the one that boto3 finds")
    parser.add_argument("--model", default=SCRIPTED, help="what is asked (default: %(default)s)")
    parser.add_argument("--dry-run", action="store_true", help="say what would be done")
    parser.add_argument("--json", action="store_true", help="print the results as JSON")
    return parser.parse_args(arguments)


def _print_plan(what: str, plans: list[FunctionPlan], *, dry_run: bool) -> None:
    if not dry_run:
        print("No AWS credentials were found, so nothing is deployed. With some, this happens:\n")
    print("Deployed: a role, a table, the layer, a probe's layer, and these functions:")
    for plan in plans:
        print(f"  {checks.describe(plan)}")
    if what == "smoke":
        print("\nAsked:")
        for check in checks.CHECKS:
            print(f"  {check.kind:8}{check.question}")
    else:
        print(f"\nMeasured: {comparison.COLD_STARTS} cold starts and {comparison.WARM_TURNS} warm")
        print("invocations of each, interleaved; medians of what Lambda reports.")
    print("\nThen everything is removed. It costs a few cents.")


def _run(options: argparse.Namespace, account: Account, plans: list[FunctionPlan]) -> int:
    name = f"lambdallm-run-{uuid4().hex[:8]}"
    _say("building the layer")
    deployment = Deployment(
        account, name, plans, layer=build_layer(), model=options.model, say=_say
    )
    status = FAILED
    try:
        with deployment as run:
            status = _smoke(run, options) if options.what == "smoke" else _bench(run, options)
    except Exception as error:  # noqa: BLE001 - everything has been removed; the reason is told
        print(f"AWS failed: {error}", file=sys.stderr)
    for rest in deployment.left_behind:
        print(f"left behind, remove it by hand: {rest}", file=sys.stderr)
    return FAILED if deployment.left_behind else status


def _smoke(run: Deployment, options: argparse.Namespace) -> int:
    results = []
    for check in checks.CHECKS:
        try:
            outcome = check.run(run)
        except Exception as error:  # noqa: BLE001 - a check that breaks has failed; go on
            outcome = checks.Outcome(passed=False, sentence=f"{type(error).__name__}: {error}")
        results.append(checks.as_json(check, outcome))
        if not options.json:
            verdict = "pass" if outcome.passed else "FAIL"
            print(f"{verdict}  {check.question}: {outcome.sentence}", flush=True)
    if options.json:
        print(json.dumps(results, indent=1))
    return DONE if all(result["passed"] for result in results) else NO


def _bench(run: Deployment, options: argparse.Namespace) -> int:
    rows = comparison.compare(run, _say)
    if options.json:
        print(json.dumps([row._asdict() for row in rows], indent=1))
        return DONE
    print(f"{'':20}{'Init':>10}{'first':>10}{'warm':>10}{'memory':>10}")
    for row in rows:
        figures = (row.init_ms, row.first_ms, row.warm_ms, row.memory_mb)
        print(f"{row.plan:20}" + "".join(f"{figure:10.1f}" for figure in figures))
    print("Medians, in ms and MB.")
    return DONE


def _say(sentence: str) -> None:
    print(f"· {sentence}", file=sys.stderr, flush=True)


if __name__ == "__main__":
    sys.exit(main())
