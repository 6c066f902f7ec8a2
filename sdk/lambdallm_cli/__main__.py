"""The `lambdallm` command. Exit codes: 0 done, 1 the answer is no, 2 used wrongly, 3 failed."""

from __future__ import annotations

import sys

INSTALL = "The lambdallm command needs its extras: pip install 'lambdallm[cli]'"


def main() -> int:
    """Run the command line and return its exit code."""
    try:
        from lambdallm_cli.commands import lambdallm
    except ModuleNotFoundError as error:
        if error.name != "click":
            raise
        print(INSTALL, file=sys.stderr)
        return 2
    return int(lambdallm(prog_name="lambdallm", standalone_mode=True) or 0)


if __name__ == "__main__":
    sys.exit(main())
