"""Which devbox is meant, who may ask, and what is not served."""

from __future__ import annotations

import json
import os
from pathlib import Path

import httpx2
import pytest

from devbox_mcp.backends.http.backend import HttpBackend
from devbox_mcp.backends.http.opening import open_http
from devbox_mcp.keys import hashed, new_key

from .conftest import Sealos, served


def test_health_is_told(sealos: Sealos) -> None:
    told = sealos.ok(sealos.client.get("/health"))
    assert told["healthStatus"] == "ok"
    assert told["uptime"].endswith("s")
    assert told["version"]
    assert told["server"] == "devbox-mcp"
    assert sealos.ok(sealos.client.get("/health/ready")) == {"readinessStatus": "ready", "workspace": True}


async def test_our_own_clients_do_not_take_it_for_sealos(address: tuple[str, Path]) -> None:
    backend = await open_http(address[0])
    try:
        assert isinstance(backend, HttpBackend)
    finally:
        await backend.aclose()


@pytest.mark.parametrize("route", ["process/exec-sync", "process/exec", "process/sync-stream"])
def test_programs_are_not_run(sealos: Sealos, route: str) -> None:
    answer = sealos.client.post(f"/api/v1/{route}", json={"command": "touch", "args": [f"{sealos.root}/f"]})
    assert "runs no programs" in sealos.refused(answer, 1403)
    assert list(sealos.root.iterdir()) == []


@pytest.mark.parametrize("route", ["files", "files/", "files/nothing", "sessions", "ports", "files/list/x"])
def test_an_unknown_route_is_told_in_the_envelope(sealos: Sealos, route: str) -> None:
    answer = sealos.client.get(f"/api/v1/{route}")
    assert answer.status_code == 404
    assert answer.json()["status"] == 1404
    assert sealos.client.get("/api/v1/files/write").status_code == 405


def test_a_missing_token_is_a_401(tmp_path: Path) -> None:
    (tmp_path / "f").write_bytes(b"data")
    environment = {**os.environ, "DEVBOX_MCP_TOKEN": "a-token-of-some-length"}
    with served(f"box={tmp_path}", env=environment) as url, httpx2.Client(base_url=url, timeout=60) as client:
        assert client.get("/api/v1/files/read?path=f").status_code == 401
        wrong = {"Authorization": "Bearer 1234"}
        assert client.get("/api/v1/files/read?path=f", headers=wrong).status_code == 401
        right = {"Authorization": "Bearer a-token-of-some-length"}
        assert client.get("/api/v1/files/read?path=f", headers=right).content == b"data"
        for probe in ("/health", "/health/ready"):
            assert client.get(probe).json()["status"] == 0


def test_the_host_name_chooses_the_devbox(tmp_path: Path) -> None:
    for name in ("one", "two"):
        (tmp_path / name).mkdir()
        (tmp_path / name / "f").write_text(name)
    devboxes = [f"{name}={tmp_path / name}" for name in ("one", "two")]
    hosts = ["--host-devbox", "one.example.com=one", "--host-devbox", "Two.example.com=two"]
    with served(*devboxes, *hosts) as url, httpx2.Client(base_url=url, timeout=60) as client:
        port = url.rpartition(":")[2]
        for host, content in (
            ("one.example.com", "one"),
            (f"one.example.com:{port}", "one"),
            ("TWO.example.com", "two"),
        ):
            assert client.get("/api/v1/files/read?path=f", headers={"Host": host}).text == content
        # this name stands for neither
        answer = client.get("/api/v1/files/read?path=f")
        assert (answer.status_code, answer.json()["status"]) == (400, 1400)
        assert "2 devboxes" in answer.json()["message"]


def test_a_host_does_not_name_its_devbox_to_others(tmp_path: Path) -> None:
    for name in ("inside", "outside"):
        (tmp_path / name).mkdir()
    key = new_key()
    access = tmp_path / "access.toml"
    access.write_text(f'[[keys]]\nname = "ci"\nhash = "{hashed(key)}"\ndevboxes = ["outside"]\nscopes = ["read"]\n')
    devboxes = [f"{name}={tmp_path / name}" for name in ("inside", "outside")]
    options = ["--host-devbox", "box.example.com=inside", "--access", str(access)]
    with served(*devboxes, *options) as url, httpx2.Client(base_url=url, timeout=60) as client:
        headers = {"Host": "box.example.com", "Authorization": f"Bearer {key}"}
        answer = client.get("/api/v1/files/list", headers=headers)
        assert answer.json()["status"] == 1404
        assert "inside" not in answer.text


def test_every_call_is_in_the_audit_log(tmp_path: Path) -> None:
    root, log = tmp_path / "root", tmp_path / "audit.jsonl"
    root.mkdir()
    with served(f"box={root}", "--audit-log", str(log)) as url, httpx2.Client(base_url=url, timeout=60) as client:
        client.post("/api/v1/files/write", json={"path": "f", "content": "x"})
        client.get("/api/v1/files/read?path=/etc/passwd")
        client.get("/api/v1/files/read?path=f")
    records = [json.loads(line) for line in log.read_text().splitlines()]
    seen = [(record["op"], record["path"], record["result"]) for record in records if record.get("devbox") == "box"]
    assert ("write", "f", "ok") in seen
    assert ("read", "f", "ok") in seen


def test_what_a_route_does_not_know_is_passed_over(sealos: Sealos) -> None:
    """As clients of other versions of that server send it."""
    sealos.ok(sealos.post("write", path="f", content="x", permissions="0600", createDirs=True))
    assert sealos.ok(sealos.get("list", path=".", recursive="true"))["files"][0]["name"] == "f"
    sealos.ok(sealos.post("delete", path="f", force=True))


def test_a_devbox_that_is_served_read_only_is_not_written_to(tmp_path: Path) -> None:
    (tmp_path / "f").write_bytes(b"old")
    with served(f"box={tmp_path}", "--read-only") as url, httpx2.Client(base_url=url, timeout=60) as client:
        sealos = Sealos(client, tmp_path)
        sealos.refused(sealos.post("write", path="f", content="x"), 1403)
        sealos.refused(sealos.post("delete", path="f"), 1403)
        told = sealos.ok(client.post("/api/v1/files/batch-upload", files={"files": ("f", b"x")}))
        assert told["successCount"] == 0
        assert sealos.get("read", path="f").content == b"old"
