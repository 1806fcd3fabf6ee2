"""An image made without a container engine."""

from __future__ import annotations

import hashlib
import io
import json
import tarfile
from pathlib import Path
from typing import Any

import pytest

from tools import image
from tools.image import Image


@pytest.fixture
def base(tmp_path: Path) -> Path:
    lower = tmp_path / "lower"
    (lower / "bin").mkdir(parents=True)
    (lower / "bin" / "sh").write_text("#!")
    made = Image(
        {"architecture": "amd64", "os": "linux", "config": {"Env": ["PATH=/bin", "A=1"], "Labels": {"a": "b"}}}
    )
    made.add(lower, "/")
    made.write(tmp_path / "base.tar", "base:1")
    return tmp_path / "base.tar"


def opened(file: Path) -> tuple[dict[str, Any], dict[str, Any], list[tarfile.TarFile]]:
    with tarfile.open(file) as archive:
        read = {member.name: archive.extractfile(member).read() for member in archive.getmembers()}  # type: ignore[union-attr]  # all are files
    (manifest,) = json.loads(read["manifest.json"])
    config = json.loads(read[manifest["Config"]])
    assert config["rootfs"]["diff_ids"] == [
        f"sha256:{hashlib.sha256(read[name]).hexdigest()}" for name in manifest["Layers"]
    ]
    return manifest, config, [tarfile.open(fileobj=io.BytesIO(read[name])) for name in manifest["Layers"]]


def test_directories_become_layers_on_the_base(base: Path, tmp_path: Path) -> None:
    app = tmp_path / "app"
    (app / "package").mkdir(parents=True)
    (app / "package" / "main.py").write_text("print()")
    (app / "run").write_text("#!/bin/sh")
    (app / "run").chmod(0o775)
    (app / "link").symlink_to("run")
    image.main([
        str(tmp_path / "out.tar"), "--name", "app:2", "--base", str(base), "--layer", f"{app}=/opt/app",
        "--env", "A=2", "--env", "B=3", "--label", "c=d", "--", "python3", "-m", "app",
    ])  # fmt: skip
    manifest, config, (lower, upper) = opened(tmp_path / "out.tar")
    assert manifest["RepoTags"] == ["app:2"]
    assert config["config"] == {
        "User": "65532:65532", "WorkingDir": "/", "Entrypoint": ["python3", "-m", "app"], "Cmd": [],
        "Env": ["PATH=/bin", "A=2", "B=3"], "Labels": {"a": "b", "c": "d"},
    }  # fmt: skip
    assert "bin/sh" in lower.getnames()
    assert upper.getmember("opt/app/package/main.py").mode == 0o644
    assert upper.getmember("opt/app/run").mode == 0o755
    assert upper.getmember("opt/app/link").linkname == "run"
    assert {(member.uid, member.gid, member.mtime) for member in upper.getmembers()} == {(0, 0, 0)}


def test_the_same_input_gives_the_same_bytes(base: Path, tmp_path: Path) -> None:
    (tmp_path / "app").mkdir()
    (tmp_path / "app" / "x").write_text("x")
    for out in ("one.tar", "two.tar"):
        image.main(
            [str(tmp_path / out), "--name", "app:1", "--base", str(base), "--layer", f"{tmp_path}/app=/app", "--", "x"]
        )
        (tmp_path / "app" / "x").touch()
    assert (tmp_path / "one.tar").read_bytes() == (tmp_path / "two.tar").read_bytes()


def test_what_is_no_image_is_said(tmp_path: Path) -> None:
    with tarfile.open(tmp_path / "none.tar", "w"):
        pass
    with pytest.raises(ValueError, match="is no image in Docker's archive format"):
        Image.read(tmp_path / "none.tar")
