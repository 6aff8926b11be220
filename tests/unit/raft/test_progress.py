"""Flow control towards one peer, and rounds of heartbeats."""

from kvnode.base.limits import APPENDS_IN_FLIGHT_MAX, CATCH_UP_SILENT_TICKS
from kvnode.raft.progress import Progress, ProgressState
from kvnode.raft.reads import lease_ms
from kvnode.raft.rounds import Rounds


def replicating(match: int) -> Progress:
    progress = Progress(match)
    progress.sent(match)
    progress.acknowledged(match)
    assert progress.state is ProgressState.REPLICATE
    return progress


def test_the_pipeline_has_a_bound():
    progress = replicating(10)
    for last in range(11, 11 + APPENDS_IN_FLIGHT_MAX):
        assert progress.can_send
        progress.sent(last)
    assert not progress.can_send
    progress.acknowledged(12)
    assert progress.can_send
    assert progress.in_flight == APPENDS_IN_FLIGHT_MAX - 2


def test_late_answers_change_nothing():
    progress = replicating(10)
    progress.sent(15)
    assert not progress.acknowledged(9)
    progress.rejected(10, 3)  # it has confirmed 10 since
    assert (progress.state, progress.match, progress.next) == (ProgressState.REPLICATE, 10, 16)
    progress.rejected(15, 12)
    assert (progress.state, progress.next) == (ProgressState.PROBE, 12)
    progress.rejected(15, 11)  # the second copy
    assert progress.next == 12


def test_a_rejection_goes_back_by_one_at_least():
    progress = Progress(10)
    progress.sent(10)
    progress.rejected(10, 99)
    assert progress.next == 10
    progress.rejected(9, 0)
    assert progress.next == 1


def test_a_probe_waits_for_an_answer():
    progress = Progress(10)
    progress.sent(12)
    assert not progress.can_send
    assert progress.next == 11
    for _ in range(2):
        assert not progress.answered_heartbeat()
        progress.tick(12, 10)
    progress.answered_heartbeat()
    assert progress.can_send


def test_what_is_on_its_way_is_checked_when_nothing_moves():
    progress = replicating(10)
    progress.sent(12)
    assert not progress.answered_heartbeat()  # a round of a read, say
    progress.tick(12, 10)
    progress.tick(12, 10)
    assert progress.answered_heartbeat()
    assert not progress.answered_heartbeat()
    progress.tick(12, 10)
    progress.acknowledged(12)
    progress.tick(12, 10)
    progress.tick(12, 10)
    assert not progress.answered_heartbeat()  # nothing is on its way


def test_an_image_ends_with_its_acknowledgement():
    progress = Progress(10)
    progress.needs_snapshot(50)
    progress.acknowledged(7)
    progress.rejected(10, 3)
    assert not progress.can_send
    progress.acknowledged(50)
    assert (progress.state, progress.next) == (ProgressState.REPLICATE, 51)


def test_who_had_an_image_recovers_until_it_has_caught_up():
    progress = Progress(10)
    assert not progress.is_recovering
    progress.needs_snapshot(50)
    for last in range(100, 130):
        progress.tick(last, 10)
    progress.acknowledged(50)
    progress.tick(130, 10)
    assert progress.is_recovering
    progress.acknowledged(130)
    progress.tick(131, 10)
    assert progress.is_caught_up
    assert not progress.is_recovering


def test_who_says_nothing_after_an_image_is_not_waited_for():
    progress = Progress(10)
    progress.needs_snapshot(50)
    for _ in range(2 * CATCH_UP_SILENT_TICKS):  # as long as the image goes on
        progress.tick(100, 10)
    progress.acknowledged(50)
    progress.lost()
    for _ in range(CATCH_UP_SILENT_TICKS):
        progress.tick(100, 10)
    progress.answered_heartbeat()
    for _ in range(CATCH_UP_SILENT_TICKS):
        progress.tick(100, 10)
    assert progress.is_recovering
    progress.tick(100, 10)
    assert not progress.is_recovering


def test_caught_up_means_within_an_election():
    progress = Progress(100)
    for _ in range(20):
        progress.tick(200, 10)
    progress.acknowledged(100)
    progress.tick(200, 10)
    assert not progress.is_caught_up  # the first round took 21 ticks
    for _ in range(3):
        progress.tick(210, 10)
    progress.acknowledged(200)
    progress.tick(210, 10)
    assert progress.is_caught_up
    for _ in range(11):
        progress.tick(300, 10)
    assert not progress.is_caught_up


def test_rounds_are_confirmed_by_majorities_of_all_sets():
    rounds = Rounds(1)
    quorums = [{1, 2, 3}, {3, 4, 5}]
    for now in (100, 200, 300):
        rounds.begin(now)
    rounds.answered(2, 2)
    assert not rounds.confirm(quorums)
    rounds.answered(4, 3)
    rounds.answered(5, 1)
    assert rounds.confirm(quorums)
    assert (rounds.confirmed, rounds.confirmed_at_ms) == (1, 100)
    rounds.answered(3, 2)
    assert rounds.confirm(quorums)
    assert (rounds.confirmed, rounds.confirmed_at_ms) == (2, 200)
    rounds.answered(3, 1)  # late
    assert not rounds.confirm(quorums)


def test_a_group_of_one_confirms_at_once():
    rounds = Rounds(1)
    rounds.begin(100)
    assert rounds.confirm([{1}])
    assert rounds.confirmed_at_ms == 100


def test_a_lease_ends_before_any_promise():
    """Ten ticks of 100 ms, the first at once, by a clock that is 5 % faster: 855 ms, rounded."""
    assert lease_ms(10, 100) == 854
