"""The window over claims against its naive twin."""

import pytest
from hypothesis import given
from hypothesis import strategies as st

from tests.reference.claims import Claims

claims = pytest.importorskip("kvnode._core.claims", reason="the native core is not built")

SPANS = st.lists(st.tuples(st.integers(1, 5), st.integers(1, 5)), max_size=8)


@given(head=st.integers(-50, 50), spans=SPANS, drops=st.lists(st.booleans(), max_size=4))
def test_the_window_is_its_twin(head: int, spans: list[tuple[int, int]], drops: list[bool]) -> None:
    runs, position = [], head
    for live, dead in spans:
        runs.append((position + live, dead))
        position += live + dead
    window, twin = claims.Window(head, runs[::-1]), Claims(head, runs)
    for at_front in [None, *drops]:
        if at_front is not None and twin.dead:
            for each in (window, twin):
                each.drop_front() if at_front else each.drop_back()
        assert window.runs() == twin.dead
        for index in range(40):
            found = twin.position_of(index)
            assert window.position_of(index) == found
            assert window.index_of(found) == index
