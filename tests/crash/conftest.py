"""Fixtures of the crash tests: a watched directory, or a skip that says what is missing."""

import pytest

from tests.support.faultfs import ShimUnavailable, WatchedDirectory


@pytest.fixture
def disk(tmp_path):
    """A directory whose unsynced changes can be lost."""
    try:
        return WatchedDirectory(tmp_path / "data")
    except ShimUnavailable as reason:
        pytest.skip(str(reason))
