"""Requests with ids in groups that fail: what is sent again, to whoever leads, is done once.

ONCE_SEEDS=n runs more.
"""

import os

import pytest

from kvnode._core import once as records
from kvnode._core.keys import REQUEST
from kvnode.raft.wire import MEMBERSHIP_ENTRY
from kvnode.txn.jobs import Jobs
from kvnode.txn.once import Once
from tests.sim.group.checks import Violation
from tests.sim.group.directory import GroupLog
from tests.sim.group.once import OnceCluster
from tests.support.operations import is_of, operations

SEEDS = int(os.environ.get("ONCE_SEEDS", "12"))
PARTS = 2  # that run beside each other
PLANTED_SEEDS = range(94, 134)  # some of which show each bug, the first ones both


def run(seed: int) -> OnceCluster:
    cluster = OnceCluster(seed)
    try:
        cluster.run()
    except Exception as error:
        error.add_note(f"seed {seed}")
        raise
    return cluster


def run_all() -> None:
    for seed in PLANTED_SEEDS:
        run(seed)


@pytest.mark.parametrize("part", range(PARTS))
def test_each_request_is_done_once(part):
    clusters = [run(seed) for seed in range(part, SEEDS, PARTS)]
    assert sum(len(cluster.places) for cluster in clusters) > 30 * len(clusters)
    assert sum(cluster.sent_again for cluster in clusters) > 5 * len(clusters)


def test_planted_bug_an_id_is_written_a_pass_later(monkeypatch):
    """What ran beside takes effect in one entry, and its id is in another."""
    late: list[tuple] = []
    step = Jobs.step

    def take_effect(self):
        self._program.take_effect()
        late.append((self._sequencer, self._session, self._request_id, self._words, self.reply()))

    def later(self, is_closed):
        mine = [one for one in late if one[0] is self._state.sequencer]
        late[:] = [one for one in late if one[0] is not self._state.sequencer]
        for one in mine:
            records.record(*one)
        return step(self, is_closed)

    monkeypatch.setattr(Once, "take_effect", take_effect)
    monkeypatch.setattr(Jobs, "step", later)
    with pytest.raises(Violation, match="once"):
        run_all()


def test_planted_bug_ids_are_not_in_the_log(monkeypatch):
    """They are in the memory of those that led or followed, until they start again."""
    submit = GroupLog.on_submit

    def on_submit(self, term, index, commit_ts, payload):
        if not payload.startswith(MEMBERSHIP_ENTRY):
            payload = b"".join(one for one in operations(payload) if not is_of(REQUEST, one))
        submit(self, term, index, commit_ts, payload)

    monkeypatch.setattr(GroupLog, "on_submit", on_submit)
    with pytest.raises(Violation, match="once"):
        run_all()
