"""Pages that are made from tables are fresh."""

import pytest

from ci.tables import DOCS, PAGES


@pytest.mark.parametrize("name", PAGES)
def test_page_is_fresh(name: str) -> None:
    assert (DOCS / name).read_text() == PAGES[name](), "run: python -m ci.tables"
