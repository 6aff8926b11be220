"""Failpoints: what the command line may say, and who takes which."""

import pytest

from kvnode.base.errors import ConfigError
from kvnode.server.failpoints import Failpoint, Failpoints, parse


class DebugLog:
    """A log writer of a debug build that notes what is armed."""

    def __init__(self):
        self.armed = []

    def arm_failpoint(self, name, action, argument=0, after=0):
        self.armed.append((name, action, argument, after))


class ReleaseLog:
    """A log writer of a release build."""

    def arm_failpoint(self, name, action, argument=0, after=0):
        raise RuntimeError("failpoints exist in debug builds only")


@pytest.mark.parametrize(
    ("text", "point"),
    [
        ("before_sync=exit", Failpoint("before_sync", "exit", 0, 0)),
        ("before_sync=exit:3", Failpoint("before_sync", "exit", 0, 3)),
        ("after_write=error:28@7", Failpoint("after_write", "error", 28, 7)),
        ("before_log_cut=exit@2", Failpoint("before_log_cut", "exit", 0, 2)),
    ],
)
def test_grammar(text, point):
    assert parse(text) == point


@pytest.mark.parametrize(
    ("text", "words"),
    [
        ("nowhere=exit", "before_checkpoint_record"),
        ("before_sync=explode", "cannot 'explode'"),
        ("before_checkpoint_record=skip", "cannot 'skip'"),
    ],
)
def test_refusals(text, words):
    with pytest.raises(ConfigError, match=words):
        parse(text)


def test_points_of_the_log_are_handed_over():
    log = DebugLog()
    Failpoints(["before_sync=error:5@2", "before_checkpoint_slice=exit@1"]).arm(log)
    assert log.armed[1:] == [("before_sync", "error", 5, 2)]


@pytest.mark.parametrize("text", ["before_sync=exit", "before_checkpoint_slice=exit"])
def test_release_builds_refuse(text):
    with pytest.raises(ConfigError, match="debug builds only"):
        Failpoints([text]).arm(ReleaseLog())
