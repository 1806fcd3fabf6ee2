"""The suite on Sealos' own server, over a real socket: on ``tests/http_backend/sealos_double.py``, a double written
from its documentation. What that server cannot do is left out, test by test, and says why."""

from __future__ import annotations

from collections.abc import AsyncIterator
from contextlib import AsyncExitStack
from pathlib import Path

import pytest

from devbox_mcp.backends.base import Backend
from devbox_mcp.backends.http.sealos import SealosBackend
from devbox_mcp.guest.policy import Policy
from devbox_mcp.layers import ReadOnlyLayer
from tests.http_backend.gateway import listening
from tests.http_backend.sealos_double import SealosDouble

from .box import Harness
from .local_inside import LocalInside
from .suite import *  # noqa: F403 - the topics, which pytest collects here

TOKEN = "a-token-of-sealos"
#: Where links lead in circles the server lists for very long; here nothing else has as many directories.
MOST_LISTINGS = 200

LINKS = "listings do not tell links, and the server follows them wherever they lead"
COPIES = "the server has no copy, and a directory that is copied file by file is not there at once"
VERSIONS = "the server cannot compare and replace in one step"
APPEND = "the server has no append"
PLACE = "whether the server keeps an inode is not known"
SPECIAL = "listings do not tell special files"
OWNERS = "a file that is replaced is another one, whose owner and attributes the server does not tell"
HANDLE = "the root is a path there, and no handle"
NAMES = "paths travel as JSON there, which holds UTF-8 text only"
DENY = "deny rules are refused for a devbox behind HTTP"
DEEP = "every level takes a listing of its own, and a deep tree takes minutes"
OPENED = "the double is a process of root, and is opened by a listing"
#: A topic, or one test of it.
LEFT_OUT: dict[str, str] = {
    "TestLinks": LINKS,
    "TestVersions": VERSIONS,
    "TestSpecialFiles": SPECIAL,
    "TestDenied": DENY,
    "TestGone.test_the_root_was_deleted": HANDLE,
    "TestGone.test_another_directory_took_its_name": HANDLE,
    "TestGone.test_moved_away_nothing_happens_at_its_old_name": HANDLE,
    "TestDelete.test_recursion_does_not_follow_links": LINKS,
    "TestDelete.test_the_link_goes_and_its_target_stays": LINKS,
    "TestDelete.test_through_a_link_on_the_way": LINKS,
    "TestList.test_links_are_not_entered": LINKS,
    "TestArchive.test_everything": LINKS,
    "TestArchive.test_links_are_stored_never_followed": LINKS,
    "TestArchive.test_through_a_link_out": LINKS,
    "TestChmod.test_recursive_and_never_through_links": LINKS,
    "TestChmod.test_not_through_a_link_out": LINKS,
    "TestChmod.test_the_path_itself_is_followed": LINKS,
    "TestCancellation.test_a_copy": COPIES,
    "TestCopy.test_directory": COPIES,
    "TestCopy.test_temporaries_are_left_out": COPIES,
    "TestCopy.test_something_is_there": COPIES,
    "TestCopy.test_into_itself": COPIES,
    "TestCopy.test_very_deep": COPIES,
    "TestCopy.test_overwrite_never_merges_or_drops_a_directory_with_entries": COPIES,
    "TestCopy.test_not_through_a_link_out": LINKS,
    "TestNames.test_files": APPEND,
    "TestNames.test_directories": COPIES,
    "TestNames.test_links": LINKS,
    "TestNames.test_lines": NAMES,
    "TestNames.test_search": NAMES,
    "TestNames.test_archive": NAMES,
    "TestNames.test_reserved": LINKS,
    "TestNamesOnly.test_the_same_as_in_a_list": LINKS,
    "TestNamesOnly.test_what_is_denied_is_hidden": DENY,
    "TestOldFiles.test_owner": OWNERS,
    "TestOldFiles.test_attributes": OWNERS,
    "TestOldFiles.test_a_new_file_of_root_belongs_to_the_directory": OWNERS,
    "TestOldFiles.test_setgid_directory_hands_on_its_group": OWNERS,
    "TestOldFiles.test_replacement_breaks_hard_links_and_says_so": OWNERS,
    "TestOldFiles.test_a_link_is_written_through": LINKS,
    "TestOldFiles.test_a_dangling_link_is_written_through": LINKS,
    "TestOldFiles.test_a_link_out_is_not_written_through": LINKS,
    "TestOldFiles.test_in_place_keeps_hard_links": PLACE,
    "TestOldFiles.test_in_place_append": PLACE,
    "TestOldFiles.test_in_place_makes_a_new_file": PLACE,
    "TestWrite.test_directory[append]": APPEND,
    "TestWrite.test_append": APPEND,
    "TestWrite.test_append_makes_the_file": APPEND,
    "TestWrite.test_append_to_a_large_file": APPEND,
    "TestWrite.test_body_that_breaks_leaves_nothing[append]": APPEND,
    "TestCancellation.test_a_streamed_write[0-append]": APPEND,
    "TestCancellation.test_a_streamed_write[1-append]": APPEND,
    "TestCancellation.test_a_streamed_write[3-append]": APPEND,
    "TestCancellation.test_a_streamed_write_to_a_new_place": "what a broken write leaves goes when the server sees it",
    "TestRead.test_changed_in_place_meanwhile": "the server does not tell versions of a file",
    "TestMkdir.test_very_deep": DEEP,
    "TestStat.test_directory": "the sticky bit is not told",
    "TestStat.test_absolute_paths_become_relative": LINKS,
    "TestStat.test_link_is_described_with_what_it_leads_to": LINKS,
    "TestStat.test_link_itself": LINKS,
    "TestStat.test_dangling_link": LINKS,
    "TestStat.test_special_file": SPECIAL,
    "TestStat.test_hard_links_are_counted": OWNERS,
    "TestStat.test_revision_follows_changes": "times are told in whole seconds, and no inode",
    "TestFind.test_entries_are_described": LINKS,
    "TestFind.test_links_and_temporaries": LINKS,
    "TestSearch.test_links_and_temporaries": LINKS,
    "TestLines.test_through_a_link": LINKS,
    "TestList.test_missing": LINKS,
    "TestList.test_types_and_targets": LINKS,
    "TestList.test_details": LINKS,
    "TestList.test_unreadable_directory_is_named": OPENED,
    "TestList.test_no_mode_closes_a_directory_to_root": OPENED,
    "TestMkdir.test_not_through_a_link_out": LINKS,
    "TestCopy.test_a_copy_of_hard_links_is_another_file": COPIES,
    "TestMove.test_links_move_as_they_are": LINKS,
    "TestMove.test_into_itself": LINKS,
    "TestMove.test_onto_itself": LINKS,
    "TestMove.test_not_through_a_link_out": LINKS,
    "TestMove.test_special_file": SPECIAL,
    "TestMove.test_overwrite_an_empty_directory": "whether the server's rename replaces a directory is not known",
    "TestMove.test_overwrite_replaces_a_link_itself": LINKS,
    "TestDelete.test_very_deep": DEEP,
    "TestDelete.test_wide": DEEP,
    "TestList.test_a_deep_tree_is_listed_or_said_to_be_too_deep": DEEP,
    "TestWatch": "times in whole seconds hide changes",
}


class Sealos(Harness):
    def __init__(self, base: Path, stack: AsyncExitStack) -> None:
        self.inside = LocalInside(base)
        self._root = self.inside.root
        self._stack = stack

    async def open(self, policy: Policy) -> Backend:
        double = SealosDouble(self._root, TOKEN)
        url = await self._stack.enter_async_context(listening(double.app))
        backend = await SealosBackend.open(url, TOKEN, self._root, most_listings=MOST_LISTINGS)
        return ReadOnlyLayer(backend) if policy.read_only else backend


@pytest.fixture
async def harness(request: pytest.FixtureRequest, memory: Path) -> AsyncIterator[Harness]:
    topic = request.node.cls.__name__
    reason = LEFT_OUT.get(topic) or LEFT_OUT.get(f"{topic}.{request.node.originalname}")
    reason = reason or LEFT_OUT.get(f"{topic}.{request.node.name}")
    if reason is not None:
        pytest.skip(reason)
    async with AsyncExitStack() as stack:
        yield Sealos(memory, stack)
