"""python -m nolr, and the script nolr: an interrupt while it loads is no traceback, either."""

from __future__ import annotations

import sys

__all__ = ["main"]


def main() -> None:
    """Load the command line and run it."""
    try:
        from nolr.cli import main as run

        run()
    except KeyboardInterrupt:
        print("nolr: error: interrupted", file=sys.stderr)
        sys.exit(130)  # as every command that is interrupted


if __name__ == "__main__":
    main()
