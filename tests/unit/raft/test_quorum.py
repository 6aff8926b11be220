"""Majorities against dumb versions, on all small inputs."""

from itertools import product

import pytest

from kvnode.raft.log_terms import LogTerms
from kvnode.raft.quorum import (
    VoteResult,
    committed_index,
    joint_index,
    joint_result,
    majority,
    vote_result,
)


def test_committed_index_is_what_a_majority_has():
    for size in range(1, 6):
        voters = range(1, size + 1)
        for matches in product(range(4), repeat=size):
            match = dict(zip(voters, matches, strict=True))
            dumb = max(n for n in range(4) if sum(m >= n for m in matches) * 2 > size)
            assert committed_index(voters, match) == dumb


def test_vote_result_is_decided_as_soon_as_it_can_be():
    for size in range(1, 6):
        voters = range(1, size + 1)
        for answers in product((True, False, None), repeat=size):
            votes = {v: a for v, a in zip(voters, answers, strict=True) if a is not None}
            can_win = sum(a is not False for a in answers) * 2 > size
            has_won = sum(a is True for a in answers) * 2 > size
            expected = VoteResult.WON if has_won else VoteResult.PENDING
            assert vote_result(voters, votes) is (expected if can_win else VoteResult.LOST)


def test_joint_needs_both():
    old, new = {1, 2, 3}, {3, 4, 5}
    for matches in product(range(3), repeat=5):
        match = dict(zip(range(1, 6), matches, strict=True))
        dumb = min(committed_index(old, match), committed_index(new, match))
        assert joint_index([old, new], match) == dumb
    for answers in product((True, False, None), repeat=5):
        votes = {v: a for v, a in zip(range(1, 6), answers, strict=True) if a is not None}
        parts = {vote_result(old, votes), vote_result(new, votes)}
        result = joint_result([old, new], votes)
        assert (result is VoteResult.LOST) == (VoteResult.LOST in parts)
        assert (result is VoteResult.WON) == (parts == {VoteResult.WON})


@pytest.mark.parametrize(("size", "needed"), [(1, 1), (2, 2), (3, 2), (4, 3), (5, 3)])
def test_majority(size, needed):
    assert majority(range(size)) == needed


def test_log_terms_against_a_list():
    """Appends, replacements and cuts give the terms that a plain list gives."""
    steps = [(1, 1, 5), (1, 6, 6), (3, 7, 9), (4, 4, 4), (4, 5, 8), (6, 8, 8), (7, 9, 9)]
    log, plain = LogTerms(), {0: 0}
    for term, first, last in steps:
        log.append(term, first, last)
        plain = {i: t for i, t in plain.items() if i < first}
        plain |= dict.fromkeys(range(first, last + 1), term)
        assert {i: log.term(i) for i in range(log.last_index + 1)} == plain
        assert (log.last_index, log.last_term) == (last, term)
        assert log.term(last + 1) is None
        assert LogTerms(log.stretches(), last).stretches() == log.stretches()
    for cut in (0, 3, 4, 5, 9):
        log.cut(cut)
        assert log.base_index == cut
        assert [log.term(i) for i in range(cut, 10)] == [plain[i] for i in range(cut, 10)]
        assert cut == 0 or log.term(cut - 1) is None


def test_positions_by_term():
    """term_end and last_at_most against a list."""
    log = LogTerms([(3, 1), (5, 2), (6, 4), (9, 7)], 11)
    plain = {i: log.term(i) for i in range(3, 12)}
    for index in plain:
        same = [i for i in plain if plain[i] == plain[index]]
        assert log.term_end(index) == max(same)
    for term in range(9):
        for index in range(14):
            at_most = [i for i, t in plain.items() if i <= index and t <= term]
            assert log.last_at_most(term, index) == max(at_most, default=3)
    log.reset(20, 8)
    assert (log.base_index, log.last_index, log.last_term, log.term(11)) == (20, 20, 8, None)


def test_log_has_no_gaps():
    log = LogTerms()
    with pytest.raises(AssertionError):
        log.append(1, 2, 2)
    log.append(2, 1, 3)
    with pytest.raises(AssertionError):
        log.append(1, 4, 4)
