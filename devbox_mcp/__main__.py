"""``python -m devbox_mcp`` is the ``devbox-mcp`` command."""

from devbox_mcp.cli import main

main()
