"""The examples of docs/sdk.md, run as they stand there; a directory stands for every devbox that they name."""

from __future__ import annotations

import gc
import re
import warnings
from pathlib import Path

import pytest

PAGE = Path(__file__).parent.parent.parent / "docs" / "sdk.md"
EXAMPLES = re.findall(r"^```python\n(.*?)^```$", PAGE.read_text(), re.DOTALL | re.MULTILINE)
DEVBOX = re.compile(r'"(k8s|https)://[^"]*"')


def test_the_page_has_examples() -> None:
    assert len(EXAMPLES) > 10


@pytest.mark.parametrize("number", range(len(EXAMPLES)))
def test_an_example_does_what_it_says(number: int, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    (tmp_path / "box" / "src").mkdir(parents=True)
    (tmp_path / "dataset.csv").write_text("x\n1\n")
    monkeypatch.chdir(tmp_path)
    first = "from devbox_mcp import Devbox\n"
    source = first + DEVBOX.sub('"box"', EXAMPLES[number])
    names: dict[str, object] = {"__name__": "example"}
    with warnings.catch_warnings():
        warnings.simplefilter("ignore", ResourceWarning)  # some leave their box open, to be short
        exec(compile(source, f"{PAGE.name} example {number + 1}", "exec"), names)
        names.clear()
        gc.collect()
    if "dataset.csv" in source:
        assert (tmp_path / "copy.csv").read_text() == "x\n1\n"
