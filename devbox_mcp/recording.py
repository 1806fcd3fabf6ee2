"""What one caller does in a devbox: allowed by its scopes, and on record."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from contextlib import AbstractContextManager, contextmanager

from devbox_mcp.audit import AuditLog, AuditRecord, audited, keep, refusal
from devbox_mcp.callers import OPERATOR, Caller, Scope
from devbox_mcp.errors import DevboxError, Forbidden
from devbox_mcp.models import BatchItem, BatchOutcome


class Recorder:
    """Records a caller's operations in one devbox."""

    def __init__(self, audit: AuditLog, devbox: str, caller: Caller = OPERATOR) -> None:
        self._audit = audit
        self._devbox = devbox
        self._caller = caller

    def called_by(self, caller: Caller) -> Recorder:
        """Return the same log for another caller."""
        return Recorder(self._audit, self._devbox, caller)

    @contextmanager
    def doing(self, op: str, path: str, scope: Scope = Scope.READ) -> Iterator[AuditRecord]:
        """Record what happens in the block, which needs a right. Raises Forbidden, and Unavailable before the block
        where nothing can be recorded."""
        self._audit.check(op, path)
        try:
            with self.done(op, path) as record:
                if scope not in self._caller.scopes:
                    raise Forbidden(op, path, f"this needs the scope {scope.value!r}, which these credentials lack")
                yield record
        except DevboxError as error:
            error.recorded = True
            raise

    def done(self, op: str, path: str) -> AbstractContextManager[AuditRecord]:
        """Record what happens in the block, whether it was allowed or not."""
        return audited(self._audit, self._caller, self._devbox, op, path)

    def require(self, op: str, path: str, scope: Scope) -> None:
        """Refuse, on record, what the caller has no right to, before anything else is done for it; what is allowed is
        recorded when it happens. Raises Forbidden, Unavailable where nothing can be recorded."""
        if scope not in self._caller.scopes:
            with self.doing(op, path, scope):
                pass
        self._audit.check(op, path)

    def refused(self, op: str, name: str, error: DevboxError) -> None:
        """Put on record what is refused before it becomes an operation, under the name that the caller has for it.
        Raises Unavailable where that cannot be done."""
        self._audit.check(op, name)
        keep(self._audit, refusal(self._caller, self._devbox, op, name, error.code))
        error.recorded = True

    def written(self, items: Sequence[BatchItem], outcomes: Sequence[BatchOutcome]) -> None:
        """Record what became of every file of a batch."""
        for item, outcome in zip(items, outcomes, strict=True):
            try:
                with self.done("write", item.path.text) as record:
                    if outcome.error is not None:
                        raise outcome.error
                    record.bytes = len(item.data)
                    record.sha256 = outcome.written.info.sha256 if outcome.written is not None else None
            except DevboxError:
                continue
