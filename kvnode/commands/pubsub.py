"""Rows of SUBSCRIBE, PUBLISH and their kin, whose handlers are native; PUBSUB."""

from kvnode._core.glob import matches
from kvnode.commands.context import ReplyWriter, ViewContext
from kvnode.commands.errors import subcommand_error
from kvnode.commands.help import INDENT, write_help
from kvnode.commands.row import Handler, Key, Row, native_row

CHANNELS, PATTERNS, SHARD_CHANNELS = range(3)  # SubscriptionKind of _core/pubsub.pxd

SUBSCRIBES = "pubsub noscript loading stale"
PUBLISHES = "pubsub loading stale fast"
LOOKS = "pubsub loading stale"
SHARD_NAMES = (Key("not_key", last=-1),)

HELP = [
    "CHANNELS [<pattern>]",
    INDENT + "Return the currently active channels matching a <pattern> (default: '*').",
    "NUMPAT",
    INDENT + "Return number of subscriptions to patterns.",
    "NUMSUB [<channel> ...]",
    INDENT + "Return the number of subscribers for the specified channels, excluding",
    INDENT + "pattern subscriptions(default: no channels).",
    "SHARDCHANNELS [<pattern>]",
    INDENT + "Return the currently active shard level channels matching a <pattern> (default: "
    "'*').",
    "SHARDNUMSUB [<shardchannel> ...]",
    INDENT + "Return the number of subscribers for the specified shard level channel(s)",
]


def pubsub_channels(view: ViewContext, args: list[bytes], reply: ReplyWriter) -> None:
    kind = SHARD_CHANNELS if args[1].upper() == b"SHARDCHANNELS" else CHANNELS
    if len(args) > 3:
        raise subcommand_error(args)
    names = view.pubsub.names(kind)
    if len(args) == 3:
        names = [name for name in names if matches(args[2], name)]
    reply.bulks(names)


def pubsub_numsub(view: ViewContext, args: list[bytes], reply: ReplyWriter) -> None:
    kind = SHARD_CHANNELS if args[1].upper() == b"SHARDNUMSUB" else CHANNELS
    reply.array(2 * (len(args) - 2))
    for name in args[2:]:
        reply.bulk(name)
        reply.integer(view.pubsub.subscribers(kind, name))


def pubsub_numpat(view: ViewContext, args: list[bytes], reply: ReplyWriter) -> None:
    reply.integer(view.pubsub.count(PATTERNS))


def pubsub_help(view: ViewContext, args: list[bytes], reply: ReplyWriter) -> None:
    write_help(reply, "PUBSUB", HELP)


def _changes(name: str, syntax: str, since: str, summary: str, *, is_shard: bool = False) -> Row:
    return native_row(
        name,
        syntax,
        -1 if "unsubscribe" in name else -2,
        SUBSCRIBES,
        SHARD_NAMES if is_shard else (),
        since,
        summary,
        group="pubsub",
        complexity="O(N), N being the number of names",
    )


def _looks(name: str, syntax: str, arity: int, since: str, summary: str, handler: Handler) -> Row:
    return Row(
        f"pubsub|{name}",
        syntax,
        summary,
        since,
        arity,
        "pubsub",
        LOOKS if name != "help" else "loading stale",
        acl="" if name == "help" else None,
        complexity="O(1)" if name in ("help", "numpat") else "O(N), N being the number of names",
        handler=handler,
    )


ROWS = (
    _changes("subscribe", "channel:string...", "2.0.0", "Receives messages of channels."),
    _changes("unsubscribe", "[channel:string...]", "2.0.0", "Ends subscriptions to channels."),
    _changes(
        "psubscribe",
        "pattern=<pattern:pattern>...",
        "2.0.0",
        "Receives messages of all channels that a pattern fits.",
    ),
    _changes("punsubscribe", "[pattern:pattern...]", "2.0.0", "Ends subscriptions to patterns."),
    _changes(
        "ssubscribe",
        "shardchannel:string...",
        "7.0.0",
        "Receives messages of shard channels.",
        is_shard=True,
    ),
    _changes(
        "sunsubscribe",
        "[shardchannel:string...]",
        "7.0.0",
        "Ends subscriptions to shard channels.",
        is_shard=True,
    ),
    native_row(
        "publish",
        "channel:string message:string",
        3,
        PUBLISHES,
        (),
        "2.0.0",
        "Sends a message to the subscribers of a channel.",
        group="pubsub",
        complexity="O(N+M), N subscribers of the channel, M patterns of all clients",
    ),
    native_row(
        "spublish",
        "shardchannel:string message:string",
        3,
        PUBLISHES,
        (Key("not_key"),),
        "7.0.0",
        "Sends a message to the subscribers of a shard channel.",
        group="pubsub",
        complexity="O(N), N being the number of subscribers",
    ),
    Row(
        "pubsub",
        "",
        "A container for commands about channels.",
        "2.8.0",
        -2,
        "pubsub",
        complexity="Depends on subcommand.",
        acl="",
        subcommands=(
            _looks(
                "channels",
                "[pattern:pattern]",
                -2,
                "2.8.0",
                "Lists the channels that have subscribers.",
                pubsub_channels,
            ),
            _looks("help", "", 2, "6.2.0", "Lists the subcommands.", pubsub_help),
            _looks(
                "numpat",
                "",
                2,
                "2.8.0",
                "Counts the patterns that have subscribers.",
                pubsub_numpat,
            ),
            _looks(
                "numsub",
                "[channel:string...]",
                -2,
                "2.8.0",
                "Counts the subscribers of channels.",
                pubsub_numsub,
            ),
            _looks(
                "shardchannels",
                "[pattern:pattern]",
                -2,
                "7.0.0",
                "Lists the shard channels that have subscribers.",
                pubsub_channels,
            ),
            _looks(
                "shardnumsub",
                "[shardchannel:string...]",
                -2,
                "7.0.0",
                "Counts the subscribers of shard channels.",
                pubsub_numsub,
            ),
        ),
    ),
)
