"""A few cores without a network between them, driven by the verbs of tests/data/raft/*.txt."""

from kvnode.raft.core import RaftCore
from kvnode.raft.log_terms import LogTerms
from kvnode.raft.membership import (
    AddLearner,
    ChangeRefused,
    Demote,
    Member,
    Membership,
    MembershipLog,
    Promote,
    Remove,
)
from kvnode.raft.messages import (
    Append,
    AppendReject,
    AppendReply,
    HardState,
    Heartbeat,
    HeartbeatReply,
    Message,
    PreVote,
    ReadReply,
    ReadRequest,
    Snapshot,
    SnapshotOffer,
    Vote,
)
from kvnode.raft.ready import Install, Receive, Write
from tests import datadriven

KINDS = {"add": AddLearner, "promote": Promote, "demote": Demote, "remove": Remove}


class Nodes:
    """Cores, the hard state each has on its disk, and the messages between them."""

    def __init__(self):
        self.cores: dict[int, RaftCore] = {}
        self.disk: dict[int, HardState] = {}
        self.identities: dict[int, bytes] = {}
        self.mail: list[Message] = []
        self.images: dict[int, Snapshot] = {}  # announced to each node
        self.now = 0
        self.out: list[str] = []

    def handle(self, case: datadriven.Case) -> str:
        """Run one verb. Node ids are words: `tick 1 2 n=5` ticks nodes 1 and 2.

        quiet=1: only the state of each node is printed.
        """
        self.out = []
        action = getattr(self, f"do_{case.verb.replace('-', '_')}")
        for word in case.words or ["0"]:
            action(int(word), case)
        if case.number("quiet", 0):
            self.out = []
            for node in sorted(self.cores):
                self.show(node)
        return "\n".join(self.out)

    # -- nodes ----------------------------------------------------------------------------------

    def do_start(self, node, case):
        """`start 1 voters=(1,2,3) learners=4 term=3 vote=1 log=(1:1,4:3) last=9 committed=4`

        log: first index and term of each stretch. Without it a node restarts with what it has.
        base: index and term where the log begins. identity: a letter; lease: in ms.
        """
        state = self.disk.get(node, HardState())
        if "term" in case.values:
            state = HardState(case.number("term"), case.number("vote", 0))
        self.disk[node] = state
        if "log" in case.values or "base" in case.values or node not in self.cores:
            base = tuple(map(int, case.values.get("base", "0:0").split(":")))
            terms = [base, *(tuple(map(int, s.split(":"))) for s in case.items("log"))]
            log = LogTerms(terms, case.number("last", base[0]))
        else:
            log = self.cores[node].log
        if "voters" in case.values or node not in self.cores:
            memberships = MembershipLog(membership_of(case))
        else:
            memberships = self.cores[node].memberships
        if "identity" in case.values:
            self.identities[node] = case.values["identity"].encode()
        self.cores[node] = RaftCore(
            node,
            memberships,
            state,
            log,
            committed=case.number("committed", log.base_index),
            random_ticks=lambda n: node % n,
            identity=self.identities.get(node, b""),
            instance=case.number("instance", 0),
            heartbeat_ticks=case.number("heartbeat", 1),
            now_ms=lambda: self.now,
            lease_ms=case.number("lease", 0),
        )

    def do_tick(self, node, case):
        for _ in range(case.number("n", 1)):
            self.cores[node].tick()
        self.show(node)

    def do_campaign(self, node, case):
        self.cores[node].campaign()
        self.show(node)

    def do_ready(self, node, case):
        """Do what one `ready` says, in its order. With lose=1 the node dies before the sync."""
        core = self.cores[node]
        if not core.has_ready():
            self.out.append(f"{node} nothing to do")
            return
        r = core.ready()
        paused = " paused" if r.is_paused else ""
        self.out.append(
            f"{node} {r.role.value} term={r.term} leader={r.leader} committed={r.committed}{paused}"
        )
        if r.hard_state is not None:
            self.out.append(f"  sync term={r.hard_state.term} vote={r.hard_state.vote}")
            if case.number("lose", 0):
                return
            self.disk[node] = r.hard_state
        for store in r.stores:
            self.store(node, store)
        for message in [*r.messages, *r.bulk]:
            self.out.append(f"  send {describe(message)}")
        self.mail += [*r.messages, *r.bulk]
        if r.fence_index:
            self.out.append(f"  append {r.term}:{r.fence_index}")
            core.note_appended(r.term, r.fence_index, r.fence_index)
        if r.membership is not None:
            index = core.log.last_index + 1
            self.out.append(f"  append {r.term}:{index} members {describe_members(r.membership)}")
            core.note_appended(r.term, index, index, r.membership)
        for peer in r.snapshots:
            self.out.append(f"  image for {peer}")
        for read in r.reads:
            self.out.append(
                f"  read {read.ticket} {'failed' if read.index is None else read.index}"
            )
        core.advance(r)

    def store(self, node, store):
        match store:
            case Write(message, first):
                span = f"{message.entry_term}:{first}-{message.last_index}"
                self.out.append(f"  write {span}")
            case Receive(source, snapshot):
                self.out.append(f"  receive image {snapshot.term}:{snapshot.index} from {source}")
                self.images[node] = snapshot
            case Install(snapshot):
                self.out.append(f"  install image {snapshot.term}:{snapshot.index}")

    # -- messages -------------------------------------------------------------------------------

    def do_deliver(self, _, case):
        """Deliver all mail. drop=2 loses what comes from or goes to node 2; lose=Append loses
        messages of a kind; only=(Heartbeat,HeartbeatReply) leaves the others where they are."""
        only, lost_kinds = case.items("only"), case.items("lose")
        lost = {int(n) for n in case.items("drop")}
        mail, self.mail = self.mail, []
        for message in mail:
            kind = type(message).__name__
            if lost & {message.source, message.target} or message.target not in self.cores:
                continue
            if kind in lost_kinds:
                continue
            if only and kind not in only:
                self.mail.append(message)
                continue
            self.out.append(f"deliver {describe(message)}")
            identity = self.identities.get(message.source, b"")
            self.cores[message.target].step(message, identity)

    def do_settle(self, _, case):
        """Readies and deliveries until nothing happens any more; sync=1: logs are synced, too."""
        while True:
            for node, core in sorted(self.cores.items()):
                while core.has_ready():
                    self.do_ready(node, case)
                    if case.number("sync", 0):
                        core.note_synced(core.log.last_term, core.log.last_index)
            if not self.mail:
                return
            self.do_deliver(0, case)

    def do_heartbeat(self, node, case):
        """`heartbeat 2 from=3 term=5 committed=7 round=3`"""
        self.cores[node].step(
            Heartbeat(
                case.number("from"),
                node,
                case.number("term"),
                case.number("committed", 0),
                case.number("round", 0),
            )
        )
        self.show(node)

    def do_vote(self, node, case):
        """`vote 3 from=2 term=5 last=1:4`"""
        term, index = pair(case, "last")
        self.cores[node].step(Vote(case.number("from"), node, case.number("term"), index, term))
        self.show(node)

    def do_append_message(self, node, case):
        """`append-message 2 from=1 term=5 after=3:4 entries=5:6 committed=4`: term, last index"""
        previous_term, previous = pair(case, "after")
        entry_term, last = (
            pair(case, "entries") if "entries" in case.values else (previous_term, previous)
        )
        self.cores[node].step(
            Append(
                case.number("from"),
                node,
                case.number("term"),
                previous,
                previous_term,
                entry_term,
                last,
                case.number("committed", 0),
            )
        )
        self.show(node)

    def do_acknowledge(self, node, case):
        """`acknowledge 1 from=2 term=5 match=7`"""
        source = case.number("from")
        self.cores[node].step(
            AppendReply(source, node, case.number("term"), case.number("match")),
            self.identities.get(source, b""),
        )
        self.show(node)

    # -- the log --------------------------------------------------------------------------------

    def do_append(self, node, case):
        """`append 1 n=3`: entries of the sequencer; first=, last=, term= say exactly which."""
        core = self.cores[node]
        first = case.number("first", core.log.last_index + 1)
        last = case.number("last", first + case.number("n", 1) - 1)
        core.note_appended(case.number("term", core.term), first, last)
        self.show(node)

    def do_synced(self, node, case):
        """`synced 1 term=2 index=7`; without numbers all of the log."""
        log = self.cores[node].log
        term, index = case.number("term", log.last_term), case.number("index", log.last_index)
        self.cores[node].note_synced(term, index)
        self.show(node)

    def do_compact(self, node, case):
        self.cores[node].note_compacted(case.number("index"))
        log = self.cores[node].log
        self.out.append(f"{node} log {log.base_index}-{log.last_index}")

    def do_send_image(self, node, case):
        """`send-image 1 to=3 index=5 high=9`"""
        core, index = self.cores[node], case.number("index")
        snapshot = Snapshot(
            index, core.log.term(index), case.number("high", index), core.memberships.at(index)
        )
        is_wanted = core.snapshot_started(case.number("to"), snapshot)
        self.out.append("ok" if is_wanted else "not needed")

    def do_image_received(self, node, case):
        self.cores[node].snapshot_received(self.images[node])
        self.show(node)

    def do_image_offer(self, node, case):
        """`image-offer 3 from=1 term=4 index=8 high=10`; `of=2`: the term of entry 8"""
        core, term = self.cores[node], case.number("term")
        of = case.number("of", term)
        snapshot = Snapshot(case.number("index"), of, case.number("high"), core.membership)
        core.step(SnapshotOffer(case.number("from"), node, term, snapshot))
        self.show(node)

    def do_read_reply(self, node, case):
        """`read-reply 3 from=1 term=4 ticket=1 index=5`"""
        numbers = (case.number("ticket"), case.number("instance", 0), case.number("index"))
        self.cores[node].step(ReadReply(case.number("from"), node, case.number("term"), *numbers))
        self.show(node)

    def do_lost(self, node, case):
        self.cores[node].note_lost(case.number("peer"))

    # -- reads, membership, transfer ------------------------------------------------------------

    def do_read(self, node, case):
        self.out.append(f"{node} ticket {self.cores[node].request_read()}")

    def do_clock(self, _, case):
        self.now += case.number("ms")

    def do_lease(self, node, case):
        self.out.append(f"{node} {'lease' if self.cores[node].has_lease else 'no lease'}")

    def do_change(self, node, case):
        """`change 1 add=(4,5:x) promote=4 demote=2 remove=3`; 5:x is node 5 with identity x"""
        changes = []
        for key, kind in KINDS.items():
            for text in case.items(key):
                number, _, identity = text.partition(":")
                who = Member(int(number), identity.encode()) if key == "add" else int(number)
                changes.append(kind(who))
        try:
            self.cores[node].propose_change(changes)
        except ChangeRefused as refused:
            self.out.append(f"refused: {refused}")

    def do_transfer(self, node, case):
        try:
            self.cores[node].transfer(case.number("to"))
        except ChangeRefused as refused:
            self.out.append(f"refused: {refused}")

    # -- what is there --------------------------------------------------------------------------

    def do_state(self, node, case):
        self.show(node)

    def do_members(self, node, case):
        core = self.cores[node]
        where = core.memberships.index
        self.out.append(f"{node} members {describe_members(core.membership)} from {where}")

    def do_progress(self, node, case):
        for peer, p in sorted(self.cores[node].leadership.replication.progress.items()):
            self.out.append(
                f"{peer} {p.state.value} match={p.match} next={p.next} in_flight={p.in_flight}"
            )

    def show(self, node):
        c = self.cores[node]
        serving = " serving" if c.is_serving else ""
        self.out.append(
            f"{node} {c.role.value} term={c.term} vote={c.vote} leader={c.leader} "
            f"last={c.log.last_term}:{c.log.last_index} committed={c.committed}{serving}"
        )


def membership_of(case: datadriven.Case) -> Membership:
    def members(key):
        for text in case.items(key):
            number, _, identity = text.partition(":")
            yield Member(int(number), identity.encode())

    voters, learners = list(members("voters")), list(members("learners"))
    return Membership(
        tuple(sorted(voters + learners)),
        frozenset(m.node_id for m in voters),
        learners=frozenset(m.node_id for m in learners),
    )


def pair(case: datadriven.Case, key: str) -> tuple[int, int]:
    term, index = map(int, case.values[key].split(":"))
    return term, index


def numbers(ids) -> str:
    return "(" + ",".join(map(str, sorted(ids))) + ")"


def describe_members(m: Membership) -> str:
    text = numbers(m.voters)
    for name in ("outgoing", "learners", "promotable", "demoted"):
        if ids := getattr(m, name):
            text += f" {name}={numbers(ids)}"
    return text


def describe(message: Message) -> str:
    text = f"{message.source}->{message.target} {type(message).__name__} term={message.term}"
    match message:
        case Vote(is_transfer=True):
            return f"{text} last={message.last_term}:{message.last_index} transfer"
        case PreVote() | Vote():
            return f"{text} last={message.last_term}:{message.last_index}"
        case Heartbeat():
            return f"{text} committed={message.committed} round={message.round}"
        case HeartbeatReply():
            return f"{text} round={message.round} match={message.match}"
        case Append():
            entries = "none"
            if message.last_index > message.previous_index:
                entries = f"{message.entry_term}:{message.previous_index + 1}-{message.last_index}"
            return (
                f"{text} after={message.previous_term}:{message.previous_index} "
                f"entries={entries} committed={message.committed}"
            )
        case AppendReply():
            return f"{text} match={message.match}"
        case AppendReject():
            return (
                f"{text} not {message.previous_index}, "
                f"hint={message.hint_term}:{message.hint_index}"
            )
        case SnapshotOffer(snapshot=snapshot):
            return f"{text} image={snapshot.term}:{snapshot.index}"
        case ReadRequest():
            return f"{text} ticket={message.ticket}"
        case ReadReply():
            return f"{text} ticket={message.ticket} index={message.index}"
    granted = getattr(message, "granted", None)
    return text if granted is None else f"{text} {'granted' if granted else 'refused'}"
