"""What tests say to a simulated group with forwarding, what it answers, and how leaders change."""

from tests.support.forwarding import UNCERTAIN as UNCERTAIN_LINE
from tests.support.forwarding import Client, ForwardingNode, Group
from tests.support.resp import encode

UNCERTAIN = b"-" + UNCERTAIN_LINE + b"\r\n"
LEADERLESS = b"-TRYAGAIN there is no leader at present, nothing was done\r\n"
EXECABORT = b"-EXECABORT Transaction discarded because of previous errors.\r\n"
OK = b"+OK\r\n"
QUEUED = b"+QUEUED\r\n"
NULL = b"$-1\r\n"
NULL_ARRAY = b"*-1\r\n"


def words(*commands: str) -> bytes:
    """Return commands, each written with spaces, as a client sends them."""
    return b"".join(encode(*command.split()) for command in commands)


def ask(group: Group, client: Client, *commands: str) -> bytes:
    """Return what comes until nothing moves."""
    reply = group.ask(client, words(*commands))
    group.check()
    return reply


def new_leader(group: Group) -> ForwardingNode:
    """Return a node with data of its own, which leads term 2."""
    node = ForwardingNode(77)
    node.lead(2)
    node.begin_to_serve()
    retire(group)
    group.leader = node
    return node


def retire(group: Group) -> None:
    """From here on the leader must write no more."""
    group.leader.index_at_start = group.leader.sequencer.last_index
    group.followers.append(group.leader)


def move(group: Group) -> None:
    """The follower goes to the new leader."""
    end = group.net.connect(group.followers[0], group.leader)
    group.followers[0].follow(2, end)
