"""The shell dialect: files by way of a POSIX ``sh``, for containers without Python."""

from devbox_mcp.backends.shell.backend import ShellBackend

__all__ = ["ShellBackend"]
