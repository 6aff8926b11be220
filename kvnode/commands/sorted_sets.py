"""Rows of the sorted-set commands. Their handlers are native."""

from functools import partial

from kvnode.commands.row import RANDOM, READ, Key, native_row

UPDATE = (Key("RW update"),)
DELETE = (Key("RW delete"),)
POP = (Key("RW access delete"),)
COUNTED = (Key("RO access", counted=True),)
STORE = (Key("OW update"), Key("RO access", index=2, counted=True))
WEIGHTED = "[WEIGHTS weight:integer...] [AGGREGATE aggregate=<SUM | MIN | MAX>]"
LIMIT = "[LIMIT limit=<offset:integer count:integer>]"
WHERE = "where=<MIN | MAX> [COUNT count:integer]"
SEARCH = "O(log(N)), N being the size of the sorted set"
RANGE = "O(log(N)+M), N being the size of the sorted set and M the number of members in the range"
POPPED = "O(log(N)*M), N being the size of the sorted set and M the number of members popped"
POPPED_FROM_FIRST = (
    "O(K)+O(M*log(N)), K being the number of keys, N the size of the sorted set and M the number "
    "of members popped"
)
DIFFERENCE = (
    "O(L+(N-K)*log(N)), L being the size of all sets together, N of the first and K of the result"
)
INTERSECTION = (
    "O(N*K)+O(M*log(M)), N being the size of the smallest set, K the number of sets and M the "
    "size of the result"
)
UNION = "O(N)+O(M*log(M)), N being the size of all sets together and M of the result"
TIMEOUT_HISTORY = (("6.0.0", "Fractions of a second as `timeout`."),)

zset = partial(native_row, group="sorted-set")


MEMBERS = (
    zset(
        "zadd",
        "key:key [condition=<NX | XX>@3.0.2] [comparison=<GT | LT>@6.2.0] [CH(change)@3.0.2] "
        "[INCR(increment)@3.0.2] data=<score:double member>...",
        -4,
        "write denyoom fast",
        UPDATE,
        "1.2.0",
        "Adds members with their scores, or changes the scores; creates the key if it is absent.",
        complexity="O(log(N)) for each member, N being the size of the sorted set",
        history=(
            ("2.4.0", "Several members."),
            ("3.0.2", "`XX`, `NX`, `CH` and `INCR`."),
            ("6.2.0", "`GT` and `LT`."),
        ),
    ),
    zset(
        "zcard",
        "key:key",
        2,
        "readonly fast",
        (Key("RO"),),
        "1.2.0",
        "Returns the number of members.",
    ),
    zset(
        "zincrby",
        "key:key increment:integer member",
        4,
        "write denyoom fast",
        (Key("RW access update"),),
        "1.2.0",
        "Adds a number to the score of a member, which counts as 0 when absent.",
        complexity=SEARCH,
    ),
    zset(
        "zmscore",
        "key:key member...",
        -3,
        "readonly fast",
        READ,
        "6.2.0",
        "Returns the scores of several members.",
        complexity="O(N), N being the number of members asked for",
    ),
    zset(
        "zrandmember",
        "key:key [options=<count:integer [WITHSCORES]>]",
        -2,
        "readonly",
        READ,
        "6.2.0",
        "Returns members picked at random.",
        complexity="O(N), N being the number of members returned",
        tips=RANDOM,
    ),
    zset(
        "zrank",
        "key:key member [WITHSCORE]",
        -3,
        "readonly fast",
        READ,
        "2.0.0",
        "Returns how many members stand before a member, by ascending score.",
        complexity=SEARCH,
        history=(("7.2.0", "`WITHSCORE`."),),
    ),
    zset(
        "zrem",
        "key:key member...",
        -3,
        "write fast",
        DELETE,
        "1.2.0",
        "Removes members; the key goes with its last member.",
        complexity="O(M*log(N)), N being the size of the sorted set and M the number of members "
        "to remove",
        history=(("2.4.0", "Several members."),),
    ),
    zset(
        "zrevrank",
        "key:key member [WITHSCORE]",
        -3,
        "readonly fast",
        READ,
        "2.0.0",
        "Returns how many members stand before a member, by descending score.",
        complexity=SEARCH,
        history=(("7.2.0", "`WITHSCORE`."),),
    ),
    zset(
        "zscan",
        "key:key cursor:integer [MATCH pattern:pattern] [COUNT count:integer]",
        -3,
        "readonly",
        READ,
        "2.8.0",
        "Goes through the members and their scores, some in each call.",
        complexity="O(COUNT) for each call",
        tips=RANDOM,
    ),
    zset(
        "zscore",
        "key:key member",
        3,
        "readonly fast",
        READ,
        "1.2.0",
        "Returns the score of a member.",
    ),
)

RANGES = (
    zset(
        "zcount",
        "key:key min:double max:double",
        4,
        "readonly fast",
        READ,
        "2.0.0",
        "Counts the members whose scores lie in a range.",
        complexity=SEARCH,
    ),
    zset(
        "zlexcount",
        "key:key min max",
        4,
        "readonly fast",
        READ,
        "2.8.9",
        "Counts the members that lie in a range of bytes; all scores must be equal.",
        complexity=SEARCH,
    ),
    zset(
        "zrange",
        "key:key start stop [sortby=<BYSCORE | BYLEX>@6.2.0] [REV@6.2.0] "
        "[LIMIT limit=<offset:integer count:integer>@6.2.0] [WITHSCORES]",
        -4,
        "readonly",
        READ,
        "1.2.0",
        "Returns the members in a range of ranks, scores or bytes.",
        complexity=RANGE,
        history=(("6.2.0", "`REV`, `BYSCORE`, `BYLEX` and `LIMIT`."),),
    ),
    zset(
        "zrangebylex",
        f"key:key min max {LIMIT}",
        -4,
        "readonly",
        READ,
        "2.8.9",
        "Returns the members in a range of bytes; all scores must be equal.",
        complexity=RANGE,
        deprecated=("6.2.0", "`ZRANGE` with the `BYLEX` argument"),
    ),
    zset(
        "zrangebyscore",
        f"key:key min:double max:double [WITHSCORES@2.0.0] {LIMIT}",
        -4,
        "readonly",
        READ,
        "1.0.5",
        "Returns the members in a range of scores.",
        complexity=RANGE,
        history=(("2.0.0", "`WITHSCORES`."),),
        deprecated=("6.2.0", "`ZRANGE` with the `BYSCORE` argument"),
    ),
    zset(
        "zrangestore",
        f"dst:key src:key1 min max [sortby=<BYSCORE | BYLEX>] [REV] {LIMIT}",
        -5,
        "write denyoom",
        (Key("OW update"), Key("RO access", index=2)),
        "6.2.0",
        "Stores the members in a range of ranks, scores or bytes at another key.",
        complexity=RANGE,
    ),
    zset(
        "zremrangebylex",
        "key:key min max",
        4,
        "write",
        DELETE,
        "2.8.9",
        "Removes the members in a range of bytes; all scores must be equal.",
        complexity=RANGE,
    ),
    zset(
        "zremrangebyrank",
        "key:key start:integer stop:integer",
        4,
        "write",
        DELETE,
        "2.0.0",
        "Removes the members in a range of ranks.",
        complexity=RANGE,
    ),
    zset(
        "zremrangebyscore",
        "key:key min:double max:double",
        4,
        "write",
        DELETE,
        "1.2.0",
        "Removes the members in a range of scores.",
        complexity=RANGE,
    ),
    zset(
        "zrevrange",
        "key:key start:integer stop:integer [WITHSCORES]",
        -4,
        "readonly",
        READ,
        "1.2.0",
        "Returns the members in a range of ranks, by descending score.",
        complexity=RANGE,
        deprecated=("6.2.0", "`ZRANGE` with the `REV` argument"),
    ),
    zset(
        "zrevrangebylex",
        f"key:key max min {LIMIT}",
        -4,
        "readonly",
        READ,
        "2.8.9",
        "Returns the members in a range of bytes, the last one first; all scores must be equal.",
        complexity=RANGE,
        deprecated=("6.2.0", "`ZRANGE` with the `REV` and `BYLEX` arguments"),
    ),
    zset(
        "zrevrangebyscore",
        f"key:key max:double min:double [WITHSCORES] {LIMIT}",
        -4,
        "readonly",
        READ,
        "2.2.0",
        "Returns the members in a range of scores, by descending score.",
        complexity=RANGE,
        history=(("2.1.6", "Ends that are excluded."),),
        deprecated=("6.2.0", "`ZRANGE` with the `REV` and `BYSCORE` arguments"),
    ),
)

POPS = (
    zset(
        "bzmpop",
        f"timeout:double numkeys:integer key:key... {WHERE}",
        -5,
        "write blocking",
        (Key("RW access delete", index=2, counted=True),),
        "7.0.0",
        "Pops members from the first sorted set that is not empty; waits if all are.",
        complexity=POPPED_FROM_FIRST,
    ),
    zset(
        "bzpopmax",
        "key:key... timeout:double",
        -3,
        "write blocking fast",
        (Key("RW access delete", last=-2),),
        "5.0.0",
        "Pops the highest member of the first sorted set that is not empty; waits if all are.",
        complexity=SEARCH,
        history=TIMEOUT_HISTORY,
    ),
    zset(
        "bzpopmin",
        "key:key... timeout:double",
        -3,
        "write blocking fast",
        (Key("RW access delete", last=-2),),
        "5.0.0",
        "Pops the lowest member of the first sorted set that is not empty; waits if all are.",
        complexity=SEARCH,
        history=TIMEOUT_HISTORY,
    ),
    zset(
        "zmpop",
        f"numkeys:integer key:key... {WHERE}",
        -4,
        "write",
        (Key("RW access delete", counted=True),),
        "7.0.0",
        "Pops members from the first sorted set that is not empty.",
        complexity=POPPED_FROM_FIRST,
    ),
    zset(
        "zpopmax",
        "key:key [count:integer]",
        -2,
        "write fast",
        POP,
        "5.0.0",
        "Pops the members with the highest scores.",
        complexity=POPPED,
    ),
    zset(
        "zpopmin",
        "key:key [count:integer]",
        -2,
        "write fast",
        POP,
        "5.0.0",
        "Pops the members with the lowest scores.",
        complexity=POPPED,
    ),
)

ALGEBRA = (
    zset(
        "zdiff",
        "numkeys:integer key:key... [WITHSCORES]",
        -3,
        "readonly",
        COUNTED,
        "6.2.0",
        "Returns the members of the first sorted set that are in none of the others.",
        complexity=DIFFERENCE,
    ),
    zset(
        "zdiffstore",
        "destination:key numkeys:integer key:key1...",
        -4,
        "write denyoom",
        STORE,
        "6.2.0",
        "Stores the members of the first sorted set that are in none of the others.",
        complexity=DIFFERENCE,
    ),
    zset(
        "zinter",
        f"numkeys:integer key:key... {WEIGHTED} [WITHSCORES]",
        -3,
        "readonly",
        COUNTED,
        "6.2.0",
        "Returns the members that are in all of several sorted sets, with combined scores.",
        complexity=INTERSECTION,
    ),
    zset(
        "zintercard",
        "numkeys:integer key:key... [LIMIT limit:integer]",
        -3,
        "readonly",
        COUNTED,
        "7.0.0",
        "Counts the members that are in all of several sorted sets.",
        complexity="O(N*K), N being the size of the smallest set and K the number of sets",
    ),
    zset(
        "zinterstore",
        f"destination:key numkeys:integer key:key1... {WEIGHTED}",
        -4,
        "write denyoom",
        STORE,
        "2.0.0",
        "Stores the members that are in all of several sorted sets, with combined scores.",
        complexity=INTERSECTION,
    ),
    zset(
        "zunion",
        f"numkeys:integer key:key... {WEIGHTED} [WITHSCORES]",
        -3,
        "readonly",
        COUNTED,
        "6.2.0",
        "Returns the members of several sorted sets, with combined scores.",
        complexity=UNION,
    ),
    zset(
        "zunionstore",
        f"destination:key numkeys:integer key:key1... {WEIGHTED}",
        -4,
        "write denyoom",
        STORE,
        "2.0.0",
        "Stores the members of several sorted sets, with combined scores.",
        complexity=UNION,
    ),
)

ROWS = MEMBERS + RANGES + POPS + ALGEBRA
