"""devbox-mcp: hands for AI agents on the files of a development sandbox."""

__version__ = "0.1.0"
