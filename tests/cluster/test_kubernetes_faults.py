"""Parts of a real cluster that stop: what runs breaks, what is started is refused, and all is well again afterwards."""

import asyncio

import pytest

from devbox_mcp.errors import DevboxError, Unavailable

pytestmark = [pytest.mark.anyio, pytest.mark.slow]


async def works(transport):
    channel = await transport.start(["true"])
    try:
        return (await asyncio.wait_for(channel.exit(), 60)).status == 0
    finally:
        await channel.aclose()


async def works_again(transport):
    for _ in range(300):
        try:
            if await works(transport):
                return
        except DevboxError:
            await asyncio.sleep(0.2)
    raise AssertionError("the cluster does not come back")


@pytest.mark.parametrize("name", ["containerd", "kubelet"])
async def test_a_part_of_the_node_that_stops(cluster, component, name):
    transport = cluster.transport(cluster.running("busybox"), "main")
    channel = await transport.start(["cat"])
    try:
        await channel.send(b"before")
        assert await channel.receive() == b"before"
        component("kill", name)
        try:
            with pytest.raises(Unavailable):
                await asyncio.wait_for(channel.receive(), 60)
            with pytest.raises(Unavailable):
                await channel.send(b"after")
            assert (await channel.exit()).status is None
            with pytest.raises(Unavailable) as caught:
                await works(transport)
            assert "kubelet or container runtime" in caught.value.hint
        finally:
            component("start", name)
        await works_again(transport)
    finally:
        await channel.aclose()


async def test_an_apiserver_that_stops(cluster, component):
    transport = cluster.transport(cluster.running("busybox"), "main")
    channel = await transport.start(["cat"])
    try:
        component("kill", "kube-apiserver")
        try:
            with pytest.raises(Unavailable):
                await asyncio.wait_for(channel.receive(), 60)
            with pytest.raises(Unavailable) as caught:
                await works(transport)
            assert "cannot be reached" in caught.value.detail
        finally:
            component("start", "kube-apiserver")
        await works_again(transport)
    finally:
        await channel.aclose()
