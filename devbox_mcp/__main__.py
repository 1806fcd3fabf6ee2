"""``python -m devbox_mcp`` is the ``devbox-mcp`` command."""

import sys

# From a checkout no installer has looked at the version; so this is written in what older ones can read.
if sys.version_info < (3, 11):  # noqa: UP036  it is what the message is for
    found = ".".join(map(str, sys.version_info[:2]))
    sys.exit(f"devbox-mcp: this is Python {found}, and it needs 3.11 or newer; run it with python3.11, say")

from devbox_mcp.cli import main

main()
