"""The record of every operation: who did what to which path, and what came of it; never content.

With a key the lines are a chain: each carries a keyed hash of itself and of the line before, and what the last one is
stands in a file elsewhere, so that whatever is done to the log shows.
"""

from devbox_mcp.audit.chained import ChainedAudit
from devbox_mcp.audit.followed import Followed
from devbox_mcp.audit.lines import JsonLinesAudit
from devbox_mcp.audit.records import AuditLog, AuditRecord, NoAudit, audited, keep, refusal, witnessed
from devbox_mcp.audit.verify import Trouble, Verdict, verify
from devbox_mcp.keys import Veil

__all__ = [
    "AuditLog",
    "AuditRecord",
    "ChainedAudit",
    "Followed",
    "JsonLinesAudit",
    "NoAudit",
    "Trouble",
    "Verdict",
    "audited",
    "keep",
    "open_audit",
    "refusal",
    "verify",
    "witnessed",
]


def open_audit(
    path: str | None, key: str | None = None, anchor: str | None = None, veil: Veil | None = None
) -> AuditLog:
    """Return the log that is configured; ``veil`` hides what no line may show. Raises ValueError with what is wrong
    and what to do."""
    if path is None:
        if key is not None or anchor is not None:
            raise ValueError("there is an audit key or anchor, but no audit log; set audit_log too")
        return NoAudit()
    if anchor is not None and key is None:
        raise ValueError("an audit anchor needs an audit key; set audit_key too")
    try:
        return JsonLinesAudit(path, veil) if key is None else ChainedAudit(path, key.strip().encode(), anchor, veil)
    except OSError as error:
        raise ValueError(f"cannot write the audit log {path}: {error.strerror}") from None
