"""The bundle's entry point: the devbox-mcp command, from the package beside this file."""

from devbox_mcp.cli import main

main()
