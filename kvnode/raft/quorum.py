"""Majority arithmetic. In joint consensus there are two sets of voters, and both must agree."""

from collections.abc import Collection, Mapping, Sequence
from enum import Enum


class VoteResult(Enum):
    WON = "won"
    LOST = "lost"
    PENDING = "pending"


def majority(voters: Collection[int]) -> int:
    """Return how many voters make a majority."""
    return len(voters) // 2 + 1


def committed_index(voters: Collection[int], match: Mapping[int, int]) -> int:
    """Return the highest index that a majority of voters has durably."""
    ranked = sorted((match.get(voter, 0) for voter in voters), reverse=True)
    return ranked[majority(voters) - 1]


def vote_result(voters: Collection[int], votes: Mapping[int, bool]) -> VoteResult:
    """Return where an election stands; votes of nodes that are no voters do not count."""
    granted = sum(votes.get(voter) is True for voter in voters)
    refused = sum(votes.get(voter) is False for voter in voters)
    if granted >= majority(voters):
        return VoteResult.WON
    if refused > len(voters) - majority(voters):
        return VoteResult.LOST
    return VoteResult.PENDING


def joint_index(quorums: Sequence[Collection[int]], match: Mapping[int, int]) -> int:
    """Return the highest index that a majority of each set of voters has (thesis 4.3)."""
    if len(quorums) == 1:
        return committed_index(quorums[0], match)
    return min(committed_index(voters, match) for voters in quorums)


def joint_result(quorums: Sequence[Collection[int]], votes: Mapping[int, bool]) -> VoteResult:
    """Return where an election stands that each set of voters has to decide."""
    results = {vote_result(voters, votes) for voters in quorums}
    if VoteResult.LOST in results:
        return VoteResult.LOST
    return VoteResult.PENDING if VoteResult.PENDING in results else VoteResult.WON
