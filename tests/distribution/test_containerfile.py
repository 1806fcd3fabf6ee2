"""The image's definition, as far as it can be checked without a container engine."""

from __future__ import annotations

import json
import re
from pathlib import Path

from devbox_mcp import __version__
from tests.distribution.conftest import PROJECT

FILE = PROJECT / "packaging" / "Containerfile"


def instructions() -> list[tuple[str, str]]:
    """Return each instruction with what follows it, continued lines joined."""
    lines = [line for line in FILE.read_text().splitlines() if line.strip() and not line.lstrip().startswith("#")]
    text = re.sub(r"\\\n\s*", " ", "\n".join(lines))
    found = []
    for line in text.splitlines():
        name, _, rest = line.partition(" ")
        assert re.fullmatch(r"[A-Z]+", name), line
        found.append((name, rest.strip()))
    return found


def last_stage() -> list[tuple[str, str]]:
    all_of_them = instructions()
    begin = max(index for index, (name, _) in enumerate(all_of_them) if name == "FROM")
    return all_of_them[begin:]


def of(name: str, among: list[tuple[str, str]]) -> list[str]:
    return [rest for instruction, rest in among if instruction == name]


def test_the_base_is_an_argument() -> None:
    found = instructions()
    assert found[0][0] == "ARG"
    assert found[0][1].startswith("BASE=")
    assert {rest.split()[0] for rest in of("FROM", found)} == {"${BASE}"}


def test_it_does_not_run_as_root() -> None:
    (user,) = of("USER", last_stage())
    assert all(int(number) > 0 for number in user.split(":"))
    names = [name for name, _ in last_stage()]
    assert "RUN" not in names  # nothing is made in the last stage, so nothing has to be undone there
    assert names.index("USER") > names.index("COPY")


def test_its_health_is_checked() -> None:
    (check,) = of("HEALTHCHECK", last_stage())
    command = json.loads(check.partition("CMD ")[2])
    assert command[:2] == ["python", "-c"]
    compile(command[2], "healthcheck", "exec")
    assert "/healthz" in command[2]


def test_nothing_comes_from_where_it_could_change() -> None:
    found = instructions()
    assert of("ADD", found) == []
    assert not re.search(r"https?://(?!127\.0\.0\.1)", FILE.read_text())
    installs = [part for run in of("RUN", found) for part in run.split("&&") if "pip install" in part]
    assert installs
    for install in installs:
        assert "--require-hashes" in install or "--no-deps" in install


def test_what_is_copied_is_let_through() -> None:
    let_through = (PROJECT / "packaging" / "Containerfile.dockerignore").read_text().splitlines()
    assert let_through[0] == "*"
    copied = [rest.split()[0] for rest in of("COPY", instructions()) if not rest.startswith("--from")]
    assert sorted(f"!{name}" for name in copied) == sorted(let_through[1:])
    assert (PROJECT / "constraints" / "gateway.txt").is_file()


def test_the_pins_are_those_that_the_tests_run_with() -> None:
    def pins(file: Path) -> set[str]:
        return set(re.findall(r"^[a-z0-9-]+==[^ ;\\]+", file.read_text(), re.MULTILINE))

    image = pins(PROJECT / "constraints" / "gateway.txt")
    assert len(image) > 40
    assert image <= pins(PROJECT / "constraints" / "dev.txt")


def test_it_is_of_this_version() -> None:
    assert f"VERSION={__version__}" in of("ARG", last_stage())
