"""One suite that every backend passes; ``suite.py`` says how a new one joins."""

import pytest

pytest.register_assert_rewrite(f"{__name__}.box", f"{__name__}.topics")
