"""A container image without a container engine: ``python -m tools.image OUT.tar --base BASE.tar --layer DIR=/PREFIX``.

Puts directories, each as a layer, on an image that is a tar in Docker's archive format, and writes another such tar,
for ``docker load``, ``podman load`` or ``ctr images import``. The same input gives the same bytes.
"""

from __future__ import annotations

import argparse
import hashlib
import io
import json
import tarfile
from collections.abc import Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

_LAYER_SUFFIX = ".layer.tar"


@dataclass(slots=True)
class Image:
    """``config`` is what the archive's configuration says, ``layers`` the tars from the lowest to the highest."""

    config: dict[str, Any]
    layers: list[bytes] = field(default_factory=list)

    @classmethod
    def read(cls, file: Path) -> Image:
        """Read the first image of an archive. Raises ValueError where it is none."""
        with tarfile.open(file) as archive:
            try:
                manifest = json.loads(_member(archive, "manifest.json"))[0]
                config = json.loads(_member(archive, manifest["Config"]))
                return cls(config, [_member(archive, name) for name in manifest["Layers"]])
            except (KeyError, IndexError, json.JSONDecodeError) as error:
                raise ValueError(f"{file} is no image in Docker's archive format: {error}") from None

    def add(self, directory: Path, prefix: str) -> None:
        """Put a directory on top, beneath ``prefix``. All of it belongs to root, and nobody else may write."""
        layer = io.BytesIO()
        with tarfile.open(fileobj=layer, mode="w", format=tarfile.GNU_FORMAT) as tar:
            for path in (directory, *sorted(directory.rglob("*"))):
                tar.add(path, f"{prefix.strip('/')}/{path.relative_to(directory)}", recursive=False, filter=_plain)
        self.layers.append(layer.getvalue())

    def configure(self, changes: dict[str, Any]) -> None:
        """Change what a container starts with, as the OCI image specification names it. Variables and labels are
        added to those of the base."""
        config = self.config.setdefault("config", {})
        for name, value in changes.items():
            if name == "Labels":
                config["Labels"] = {**(config.get("Labels") or {}), **value}
            elif name == "Env":
                names = {item.partition("=")[0] for item in value}
                config["Env"] = [
                    item for item in config.get("Env") or () if item.partition("=")[0] not in names
                ] + value
            else:
                config[name] = value

    def write(self, file: Path, name: str) -> None:
        """Write the archive; ``name`` is what the image is called where it is loaded."""
        digests = [hashlib.sha256(layer).hexdigest() for layer in self.layers]
        self.config["rootfs"] = {"type": "layers", "diff_ids": [f"sha256:{digest}" for digest in digests]}
        self.config.pop("history", None)
        config = json.dumps(self.config, sort_keys=True).encode()
        config_name = f"{hashlib.sha256(config).hexdigest()}.json"
        layers = {f"{digest}{_LAYER_SUFFIX}": layer for digest, layer in zip(digests, self.layers, strict=True)}
        manifest = json.dumps([{"Config": config_name, "RepoTags": [name], "Layers": list(layers)}]).encode()
        with tarfile.open(file, "w") as archive:
            for member, data in ((config_name, config), *layers.items(), ("manifest.json", manifest)):
                entry = tarfile.TarInfo(member)
                entry.size = len(data)
                archive.addfile(entry, io.BytesIO(data))


def _member(archive: tarfile.TarFile, name: str) -> bytes:
    content = archive.extractfile(name)
    if content is None:
        raise KeyError(f"{name} is no file")
    return content.read()


def _plain(entry: tarfile.TarInfo) -> tarfile.TarInfo:
    entry.uid = entry.gid = entry.mtime = 0
    entry.uname = entry.gname = ""
    if not entry.issym():
        entry.mode = 0o755 if entry.isdir() or entry.mode & 0o111 else 0o644
    return entry


def _pair(text: str) -> tuple[str, str]:
    name, equals, value = text.partition("=")
    if not (name and equals and value):
        raise argparse.ArgumentTypeError(f"{text!r} is not NAME=VALUE")
    return name, value


def main(arguments: Sequence[str] | None = None) -> None:
    """Build an image as the command line says."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("out", type=Path, metavar="OUT.tar")
    parser.add_argument("--name", required=True, help="what the image is called: devbox-mcp:0.1.0")
    parser.add_argument("--base", type=Path, required=True, help="the image below, a tar in Docker's archive format")
    parser.add_argument("--layer", type=_pair, action="append", default=[], metavar="DIR=/PREFIX")
    parser.add_argument("--env", action="append", default=[], metavar="NAME=VALUE")
    parser.add_argument("--label", type=_pair, action="append", default=[], metavar="NAME=VALUE")
    parser.add_argument("--user", default="65532:65532", help="who the program runs as [%(default)s]")
    parser.add_argument("--workdir", default="/", help="[%(default)s]")
    parser.add_argument("entrypoint", nargs="+", metavar="PROGRAM", help="behind --: what a container starts")
    given = parser.parse_args(arguments)
    image = Image.read(given.base)
    for directory, prefix in given.layer:
        image.add(Path(directory), prefix)
    image.configure(
        {
            "User": given.user,
            "WorkingDir": given.workdir,
            "Entrypoint": given.entrypoint,
            "Cmd": [],
            "Env": given.env,
            "Labels": dict(given.label),
        }
    )
    image.write(given.out, given.name)


if __name__ == "__main__":
    main()
