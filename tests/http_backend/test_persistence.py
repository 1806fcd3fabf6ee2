"""What is tried again says nothing to anybody, and is not tried for ever."""

from __future__ import annotations

import logging

import pytest

from devbox_mcp.backends.http.persistence import Again, persistently

pytestmark = pytest.mark.anyio


class Server:
    """Fails the first ``failures`` times."""

    def __init__(self, failures: int, after: float | None = None) -> None:
        self.asked = 0
        self._failures = failures
        self._after = after

    async def answer(self) -> str:
        self.asked += 1
        if self.asked <= self._failures:
            raise Again(LookupError(f"failure {self.asked}"), self._after)
        return "answer"


async def test_what_works_in_the_end_is_an_answer_and_nobody_hears_of_it(
    caplog: pytest.LogCaptureFixture, capfd: pytest.CaptureFixture[str]
) -> None:
    caplog.set_level(logging.DEBUG)
    server = Server(2)
    assert await persistently(server.answer) == "answer"
    assert server.asked == 3
    assert capfd.readouterr() == ("", "")
    assert [record for record in caplog.records if record.name != "asyncio"] == []


async def test_it_is_given_up_with_the_last_error() -> None:
    server = Server(100, 0.0)
    with pytest.raises(LookupError, match="failure 4"):
        await persistently(server.answer)
    assert server.asked == 4


async def test_a_longer_pause_than_anybody_waits_is_not_waited_for() -> None:
    server = Server(100, 61.0)
    with pytest.raises(LookupError, match="failure 1"):
        await persistently(server.answer)


async def test_other_errors_are_not_tried_again() -> None:
    async def fail() -> None:
        calls.append(1)
        raise ValueError

    calls: list[int] = []
    with pytest.raises(ValueError):
        await persistently(fail)
    assert calls == [1]
