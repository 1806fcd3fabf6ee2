"""The tools, a room for each toolset."""

from devbox_mcp.servers.mcp.registry import Tool
from devbox_mcp.servers.mcp.tools import files, lending, local, reading, searching, transfer, watching, writing

TOOLS: tuple[Tool, ...] = (
    reading.read_file,
    reading.list_dir,
    reading.stat,
    writing.write_file,
    writing.edit_file,
    files.make_dir,
    files.delete,
    files.move,
    files.copy,
    files.chmod,
    searching.find_files,
    searching.search_text,
    transfer.upload_batch,
    transfer.download_zip,
    lending.signed_url,
    local.upload_file,
    local.download_file,
    watching.watch,
)
