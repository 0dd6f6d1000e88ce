"""`amda`, and `python -m appliance`."""

from __future__ import annotations

import sys


def main() -> None:
    """The command line; ends the process with its exit status."""
    from appliance.cli.app import run

    sys.exit(run())


if __name__ == "__main__":
    main()
