"""What all topics share."""

from __future__ import annotations

from typing import ClassVar

import pytest

from devbox_mcp.models import Capability

from ..box import Box


class Topic:
    """One part of the contract. A topic of a capability is passed over for a backend that does not have it;
    ``TestCapabilities`` holds such a backend to saying so."""

    capability: ClassVar[Capability | None] = None

    @pytest.fixture(autouse=True)
    def _of_this_backend(self, box: Box) -> None:
        if self.capability is not None and self.capability not in box.backend.capabilities:
            pytest.skip(f"this backend has no {self.capability.value}")
