"""The tasks of the evaluation: what lies there, what is asked, and how one sees that it was done."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path

SHOP = {
    "README.md": "# Shop\n\nSells boats.\n",
    "shop/__init__.py": "",
    "shop/client.py": "from shop.settings import TIMEOUT\n\n\ndef fetch_all(url):\n    return url, TIMEOUT\n",
    "shop/settings.py": '"""What can be set."""\n\nCURRENCY = "EUR"\nTIMEOUT = 45  # seconds\nRETRIES = 3\n',
    "shop/cart.py": "from shop.client import fetch_all\n\nitems = fetch_all('/cart')\n",
    "shop/orders.py": "from shop.client import fetch_all\n\nopen_ = fetch_all('/open')\ndone = fetch_all('/done')\n",
    "build/lib/shop.py": "generated = True\n",
    "build/log.txt": "built\n",
}
_LOG = "".join(
    f"2026-11-25 10:{number // 60:02}:{number % 60:02} {'ERROR disk full on boat-7' if number == 2417 else 'INFO ok'}\n"
    for number in range(3000)
)


@dataclass(frozen=True)
class Task:
    """One task. ``meanwhile`` is what another program does once the model has read its first file."""

    name: str
    asked: str
    done: Callable[[Path], bool]
    files: dict[str, str]
    meanwhile: Callable[[Path], object] | None = None


def _says(path: str, *texts: str) -> Callable[[Path], bool]:
    """A file that says all this in the end."""
    return lambda root: (root / path).is_file() and all(text in (root / path).read_text() for text in texts)


def _renamed(root: Path) -> bool:
    code = "".join(path.read_text() for path in (root / "shop").glob("*.py"))
    return "fetch_all" not in code and code.count("fetch_everything") == 6


def _others_count(root: Path) -> None:
    (root / "visits.txt").write_text("Monday 4\nTuesday 7\nWednesday 9\n")


TASKS = (
    Task(
        "find a setting",
        "How many seconds is the timeout of the shop's client? Write the number, nothing else, to answer.txt.",
        _says("answer.txt", "45"),
        SHOP,
    ),
    Task(
        "look into a long log",
        "Which boat's disk was full, as log/server.log says, and what was logged right before it? "
        "Write both to answer.txt.",
        _says("answer.txt", "boat-7", "10:40:16"),
        {"log/server.log": _LOG},
    ),
    Task(
        "a path that is wrong",
        "Write the currency that src/settings.py sets to answer.txt.",
        _says("answer.txt", "EUR"),
        SHOP,
    ),
    Task(
        "an edit by heart",
        "In shop/settings.py, `RETRIES=3` should become 5.",
        _says("shop/settings.py", "RETRIES = 5\n", "TIMEOUT = 45"),
        SHOP,
    ),
    Task(
        "an ambiguous edit",
        "In shop/orders.py, the done orders are to be fetched from '/archive'. Change `fetch_all('/` there.",
        _says("shop/orders.py", "fetch_all('/open')", "fetch_all('/archive')"),
        SHOP,
    ),
    Task(
        "a file that is there",
        "Make README.md, if need be, and see that it names the licence: Apache-2.0.",
        _says("README.md", "Sells boats.", "Apache-2.0"),
        SHOP,
    ),
    Task(
        "others write too",
        "Add `Thursday 11` to visits.txt, where another program writes as well; it must lose nothing.",
        _says("visits.txt", "Monday 4", "Wednesday 9", "Thursday 11"),
        {"visits.txt": "Monday 4\nTuesday 7\n"},
        _others_count,
    ),
    Task(
        "clear up",
        "Delete the directory build.",
        lambda root: not (root / "build").exists() and (root / "shop" / "cart.py").exists(),
        SHOP,
    ),
    Task(
        "rename everywhere",
        "Rename the function fetch_all to fetch_everything wherever it is used.",
        _renamed,
        SHOP,
    ),
    Task(
        "many files at once",
        "Make pages/ with one.md to five.md, each with its name as a heading, all or none.",
        lambda root: all(
            _says(f"pages/{name}.md", f"# {name}")(root) for name in ("one", "two", "three", "four", "five")
        ),
        {},
    ),
)
