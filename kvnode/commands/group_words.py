"""The group in Redis's words: role and mode of a node, and addresses for clients."""

from kvnode.base.addresses import EVERYWHERE, split_address
from kvnode.base.errors import ConfigError
from kvnode.commands.context import ViewContext
from kvnode.commands.group import NO_ADDRESS, GroupMember, GroupStatus

Address = tuple[str, int]


def redis_mode(view: ViewContext) -> str:
    """Return in which mode the server says it runs: HELLO, INFO server."""
    return "cluster" if view.node.config["cluster-enabled"] else "standalone"


def redis_role(view: ViewContext) -> str:
    """Return the role that HELLO states."""
    return "master" if view.node.group.status().is_leader else "replica"


def find_address(text: str) -> Address:
    """Return host and port of "host:port"; NO_ADDRESS if it is none."""
    try:
        return split_address(text)
    except ConfigError:
        return NO_ADDRESS


def client_address(view: ViewContext, status: GroupStatus, member: GroupMember) -> Address:
    """Return where clients reach a member. The asked node knows the address that this one used."""
    if member.node_id == status.node_id and member.client_address[0] in ("", *EVERYWHERE):
        return find_address(view.session.laddr)
    return member.client_address


def leader_address(view: ViewContext, status: GroupStatus) -> Address:
    """Return where clients reach the leader; NO_ADDRESS if that is not known."""
    leader = status.leader
    return NO_ADDRESS if leader is None else client_address(view, status, leader)
