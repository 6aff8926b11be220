"""A node with the commands of kvnode/_core/tokens.pyx, and clients that may have to wait."""

from kvnode._core.dispatch import Command
from kvnode._core.session import Session
from kvnode._core.tokens import HANDLERS
from kvnode.commands import table
from kvnode.commands.row import FLAG_BITS
from kvnode.server.local import native_handlers
from tests.support.local import Clock, LocalNode, Words, pipeline
from tests.support.resp import decode_all

WRITE = FLAG_BITS["write"]
BLOCKING = WRITE | FLAG_BITS["blocking"]


def token_commands() -> list[Command]:
    """Return GIVE, TAKE and PASS as dispatch runs them."""
    return [
        Command(b"give", 3, WRITE, (1, 1, 1), HANDLERS["give"]),
        Command(b"take", -3, BLOCKING, (1, -2, 1), HANDLERS["take"]),
        Command(b"pass", 4, BLOCKING, (1, 2, 1), HANDLERS["pass"]),
    ]


class TokenNode(LocalNode):
    """A LocalNode that knows the commands of strings and of tokens."""

    def __init__(self, clock: Clock | None = None) -> None:
        super().__init__(clock=clock, commands=[*table.build(native_handlers()), *token_commands()])
        self.waiters = self.sequencer.waiters

    def begin(self, *commands: Words, session: Session | None = None) -> Session:
        """Send commands, run them as far as they go, commit; return the session."""
        session = session or self.session()
        session.feed(pipeline(*commands))
        self.proceed(session)
        return session

    def proceed(self, *sessions: Session) -> None:
        """Run passes, fetches and commits until nothing moves by itself."""
        todo = list(sessions)
        while True:
            self.run_pass(*todo)
            self.fetch()
            self.commit()
            todo = self.sequencer.take_ready()
            if not todo and not self.waiters.backlog:
                return


def replies(session: Session) -> list:
    """Return the replies that have left the session since the last call."""
    return decode_all(session.take())
