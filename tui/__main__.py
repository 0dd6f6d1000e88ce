"""Entry point of `amda-tui`, so that the name is there from the first release on and answers honestly.

The terminal interface is not part of this release; until it is, this program names the commands that show the same.
"""

from __future__ import annotations

import sys
from typing import Final

UNAVAILABLE: Final = 2
"""Exit status, the one of a wrong command line: what was asked for is not here."""

MESSAGE: Final = """\
amda-tui: the terminal interface is not part of this release.
  what to do: amda events --follow   what happens, as it happens
              amda status            the appliance at a glance
              amda session list      every session and its state
"""


def main() -> int:
    """Say which commands to use meanwhile; the exit status tells scripts that nothing ran."""
    sys.stderr.write(MESSAGE)
    return UNAVAILABLE


if __name__ == "__main__":
    sys.exit(main())
