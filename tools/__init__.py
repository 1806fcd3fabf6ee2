"""Programs for the people who maintain devbox-mcp; none of them is installed."""
