"""What every test may use. Read by the guest's tests on Python 3.8 too, hence nothing newer here."""

import pytest


@pytest.fixture(scope="session")
def anyio_backend():
    """Async tests run on asyncio, the only loop that the server runs on."""
    return "asyncio"
