"""The layers around a backend: nothing slips past them."""

from __future__ import annotations

import inspect
import os
from collections.abc import AsyncIterator
from pathlib import Path
from typing import Any

import pytest

from devbox_mcp.backends.base import Backend
from devbox_mcp.backends.local import LocalBackend
from devbox_mcp.errors import NotFound, ReadOnly, TooLarge
from devbox_mcp.layers import FileSizeLayer, Layer, ReadOnlyLayer
from devbox_mcp.models import BatchItem, Capability
from devbox_mcp.paths import SandboxPath

at = SandboxPath
METHODS = sorted(name for name, member in vars(Backend).items() if inspect.iscoroutinefunction(member))
CHANGES = {"write", "mkdir", "delete", "move", "copy", "chmod", "write_batch"}
CHANGES |= {"upload_begin", "upload_add", "upload_finish", "upload_abandon"}


@pytest.fixture
async def inner(tmp_path: Path) -> AsyncIterator[Backend]:
    backend = LocalBackend(str(tmp_path))
    yield backend
    await backend.aclose()


# -- Layer forwards


class Recorder(Backend):
    """Remembers what it is called with, and answers so too."""

    capabilities = frozenset({Capability.SEARCH})

    def __init__(self) -> None:
        self.call: tuple[str, tuple[Any, ...], dict[str, Any]] | None = None


def _recording(name: str) -> Any:
    async def method(self: Recorder, *args: Any, **kwargs: Any) -> Any:
        self.call = name, args, kwargs
        return None if name == "aclose" else self.call

    return method


for _name in METHODS:
    setattr(Recorder, _name, _recording(_name))
Recorder.__abstractmethods__ = frozenset()  # type: ignore[attr-defined]


def test_the_contract_has_methods() -> None:
    assert {"stat", "list", "read", "write", "watch", "archive", "aclose"} | CHANGES <= set(METHODS)


@pytest.mark.parametrize("layer", [Layer, ReadOnlyLayer, FileSizeLayer])
@pytest.mark.parametrize("name", METHODS)
def test_every_method_has_the_signature_of_the_contract(layer: type[Layer], name: str) -> None:
    method = getattr(layer, name)
    assert method is not getattr(Backend, name), "inherited from the contract, so not forwarded"
    assert inspect.signature(method) == inspect.signature(getattr(Backend, name))


@pytest.mark.parametrize("name", METHODS)
async def test_every_argument_is_forwarded_as_it_came(name: str) -> None:
    parameters = list(inspect.signature(getattr(Backend, name)).parameters.values())[1:]
    positional = tuple(object() for one in parameters if one.kind is one.POSITIONAL_OR_KEYWORD)
    named = {one.name: object() for one in parameters if one.kind is one.KEYWORD_ONLY}
    assert len(positional) + len(named) == len(parameters)
    recorder = Recorder()
    answer = await getattr(Layer(recorder), name)(*positional, **named)
    assert recorder.call == (name, positional, named)
    assert answer is (None if name == "aclose" else recorder.call)


@pytest.mark.parametrize("name", METHODS)
async def test_defaults_are_those_of_the_contract(name: str) -> None:
    parameters = list(inspect.signature(getattr(Backend, name)).parameters.values())[1:]
    positional = tuple(object() for one in parameters if one.kind is one.POSITIONAL_OR_KEYWORD)
    required = {one.name: object() for one in parameters if one.kind is one.KEYWORD_ONLY and one.default is one.empty}
    defaults = {one.name: one.default for one in parameters if one.kind is one.KEYWORD_ONLY}
    recorder = Recorder()
    await getattr(Layer(recorder), name)(*positional, **required)
    assert recorder.call == (name, positional, {**defaults, **required})


def test_the_capabilities_are_those_of_the_backend_inside() -> None:
    assert Layer(Recorder()).capabilities == {Capability.SEARCH}


# -- ReadOnlyLayer


@pytest.mark.parametrize("name", sorted(CHANGES))
async def test_every_change_is_refused_before_it_reaches_the_backend(name: str) -> None:
    arguments: dict[str, tuple[Any, ...]] = {
        "write": (at("a.txt"), b"x"),
        "move": (at("a.txt"), at("b.txt")),
        "copy": (at("a.txt"), at("b.txt")),
        "chmod": (at("a.txt"), 0o600),
        "write_batch": ([BatchItem(at("a.txt"), b"x")],),
        "upload_begin": (at("a.txt"), "0" * 16),
        "upload_add": (at("a.txt"), "0" * 16, 0, b"x"),
        "upload_finish": (at("a.txt"), "0" * 16, 0),
        "upload_abandon": (at("a.txt"), "0" * 16),
    }
    with pytest.raises(ReadOnly) as caught:
        await getattr(ReadOnlyLayer(Recorder()), name)(*arguments.get(name, (at("a.txt"),)))
    assert "read-only" in str(caught.value)


@pytest.mark.parametrize("name", sorted(set(METHODS) - CHANGES))
def test_what_reads_is_only_forwarded(name: str) -> None:
    assert getattr(ReadOnlyLayer, name) is getattr(Layer, name)


# -- FileSizeLayer


async def _chunks(*pieces: bytes) -> AsyncIterator[bytes]:
    for piece in pieces:
        yield piece


@pytest.mark.parametrize("streamed", [False, True])
@pytest.mark.parametrize("in_place", [False, True])
async def test_a_file_up_to_the_limit_is_written_and_no_more(
    inner: Backend, tmp_path: Path, streamed: bool, in_place: bool
) -> None:
    layer = FileSizeLayer(inner, 10)
    old, new = b"0123456789", b"0123456789x"
    await layer.write(at("a.txt"), _chunks(old[:4], old[4:]) if streamed else old, in_place=in_place)
    assert (tmp_path / "a.txt").read_bytes() == old
    if in_place and streamed:
        return  # writing in place is documented as not atomic: a stream that fails midway has begun
    with pytest.raises(TooLarge) as caught:
        await layer.write(at("a.txt"), _chunks(new[:4], new[4:]) if streamed else new, in_place=in_place)
    assert caught.value.data["limit"] == 10
    assert (tmp_path / "a.txt").read_bytes() == old
    assert os.listdir(tmp_path) == ["a.txt"]


@pytest.mark.parametrize("streamed", [False, True])
async def test_appending_counts_what_is_there(inner: Backend, tmp_path: Path, streamed: bool) -> None:
    layer = FileSizeLayer(inner, 10)
    await layer.write(at("a.txt"), b"01234567", mode="append")
    more = b"89x"
    with pytest.raises(TooLarge):
        await layer.write(at("a.txt"), _chunks(more[:2], more[2:]) if streamed else more, mode="append")
    assert (tmp_path / "a.txt").read_bytes() == b"01234567"
    await layer.write(at("a.txt"), _chunks(b"8", b"9") if streamed else b"89", mode="append")
    assert (tmp_path / "a.txt").read_bytes() == b"0123456789"


@pytest.mark.parametrize("streamed", [False, True])
async def test_what_arrives_of_an_upload_counts(inner: Backend, tmp_path: Path, streamed: bool) -> None:
    layer = FileSizeLayer(inner, 10)
    token = "0" * 16
    await layer.upload_begin(at("a.txt"), token)
    await layer.upload_add(at("a.txt"), token, 0, b"01234567")
    with pytest.raises(TooLarge):
        await layer.upload_add(at("a.txt"), token, 8, _chunks(b"8", b"9x") if streamed else b"89x")
    size = await layer.upload_size(at("a.txt"), token)
    assert size == 9 if streamed else 8  # of a stream that breaks, what had come stays
    await layer.upload_add(at("a.txt"), token, size, b"89"[size - 8 :])
    await layer.upload_finish(at("a.txt"), token, 10)
    assert (tmp_path / "a.txt").read_bytes() == b"0123456789"
    await layer.upload_begin(at("a.txt"), token)
    await layer.upload_add(at("a.txt"), token, 0, b"x")
    with pytest.raises(TooLarge):
        await layer.upload_finish(at("a.txt"), token, 1, mode="append")
    assert (tmp_path / "a.txt").read_bytes() == b"0123456789"


async def test_of_a_batch_only_the_large_ones_fail_in_their_places(inner: Backend, tmp_path: Path) -> None:
    layer = FileSizeLayer(inner, 3)
    items = [BatchItem(at(f"{size}.txt"), b"x" * size) for size in (4, 1, 5, 3)]
    outcomes = await layer.write_batch(items)
    assert [outcome.path for outcome in outcomes] == [item.path for item in items]
    assert [outcome.written is not None for outcome in outcomes] == [False, True, False, True]
    assert [type(outcome.error) for outcome in outcomes] == [TooLarge, type(None), TooLarge, type(None)]
    assert sorted(os.listdir(tmp_path)) == ["1.txt", "3.txt"]


async def test_of_an_atomic_batch_none_is_written_when_one_is_large(inner: Backend, tmp_path: Path) -> None:
    layer = FileSizeLayer(inner, 3)
    with pytest.raises(TooLarge):
        await layer.write_batch([BatchItem(at("a.txt"), b"x"), BatchItem(at("b.txt"), b"xxxx")], atomic=True)
    assert os.listdir(tmp_path) == []


async def test_a_batch_of_large_ones_alone_does_not_reach_the_backend() -> None:
    outcomes = await FileSizeLayer(Recorder(), 3).write_batch([BatchItem(at("a.txt"), b"xxxx")])
    assert [type(outcome.error) for outcome in outcomes] == [TooLarge]


async def test_a_copy_is_as_large_as_its_source_and_passes(inner: Backend, tmp_path: Path) -> None:
    (tmp_path / "big.txt").write_bytes(b"x" * 20)
    await FileSizeLayer(inner, 10).copy(at("big.txt"), at("copy.txt"))
    assert (tmp_path / "copy.txt").stat().st_size == 20


async def test_errors_of_the_backend_pass_through(inner: Backend) -> None:
    with pytest.raises(NotFound):
        await Layer(inner).stat(at("missing"))
