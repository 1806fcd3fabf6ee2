"""Count words."""

import re
from collections import Counter

WORD = re.compile(r"[a-z']+")


def count(text: str) -> Counter[str]:
    """Return how often each word occurs, whatever its case."""
    return Counter(WORD.findall(text))


def most_common(text: str, number: int = 10) -> list[tuple[str, int]]:
    """Return the most frequent words, the most frequent first, ties in alphabetical order."""
    return sorted(count(text).items(), key=lambda item: (-item[1], item[0]))[:number]
