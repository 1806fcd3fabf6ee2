"""What a shell found out about its place, in words."""

from __future__ import annotations

from devbox_mcp.models import Description

#: By what the probe calls it: what its absence means.
_WITHOUT = {
    "flock": "if_match holds among devbox-mcp's shells only; install util-linux or busybox's flock",
    "attributes": "extended attributes of replaced files are lost; GNU's cp keeps them",
    "fullblock": "uploads are read byte by byte, slowly; a dd with iflag=fullblock reads blocks",
}
_NAP = "1"


def described(data: bytes, place: str, because: str) -> Description:
    """Return what ``op_describe`` said of ``place``. ``because`` tells why a shell does the work, where it is known."""
    said = dict(line.split(": ", 1) for line in data.decode("utf-8", "replace").splitlines() if ": " in line)
    lacks = {name: means for name, means in _WITHOUT.items() if not said.get(name)}
    if because:
        lacks["python"] = because
    if said.get("nap") == _NAP:
        lacks["sleep"] = "waiting for another change takes whole seconds; a sleep that takes fractions helps"
    facts = {"place": place, "user": said.get("user", ""), "sha256 by": said.get("sha256", "")}
    if said.get("free", "").isdecimal():
        facts["free"] = str(int(said["free"]) * 1024)
    if said.get("flock"):
        facts["locks by"] = "flock"
    return Description("shell", facts, lacks)
