"""Transcripts: commands and the exact replies to them, as text that people read and review.

    == strings: SET with options          a section: starts with empty databases, new connections
    # a comment
    > SET key "a b"                       a command, in redis-cli's quoting
    < +OK                                 its reply, one line per CRLF, escaped
    b> GET key                            the same on a second connection, called b
    < $3
    < a b

Directives stand before the command they concern:

    @unordered          elements of arrays may come in any order
    @type               only the type byte of the reply is compared
    @approx N           each integer may be off by N
    @match REGEX        the bytes of the reply match; nothing is recorded
    @since 7.4 REASON   written by hand for this version; recorded replies of older ones differ
    @differs REASON     written by hand: kvnode intends to differ
    @raw                the words of the line are joined and sent as they are, without framing
    @inline             the line is sent as an inline command
    @replies N          so many replies follow; 0 for none
    @closes             then the server closes the connection
    @eventually         sent again until the reply fits, within EVENTUALLY_SECONDS_MAX
    @save NAME          the reply's value becomes ${NAME} in later lines

The replies are recorded from a redis-server by `python -m tests.conformance.record`.
"""

import re
from dataclasses import dataclass, field
from pathlib import Path

from tests.conformance.quoting import escape_line, split_arguments, unescape_line

DIRECTORY = Path(__file__).parent / "transcripts"
DEFAULT_CONNECTION = "a"
NIL_REPLIES = frozenset((b"$-1\r\n", b"*-1\r\n", b"_\r\n"))
UNKNOWN = "-ERR unknown command"
COMMAND = re.compile(r"(\w*)> (.+)")
FLAGS = {"unordered", "type", "raw", "inline", "closes", "eventually"}
WITH_VALUE = {"approx", "match", "since", "differs", "replies", "save"}


class TranscriptError(ValueError):
    """A transcript that cannot be understood; names file and line."""


@dataclass
class Step:
    """One command and its reply. `lines` are the reply lines as written, None when not recorded."""

    command: str
    connection: str = DEFAULT_CONNECTION
    directives: dict[str, str] = field(default_factory=dict)
    comments: list[str] = field(default_factory=list)
    lines: list[str] | None = None
    number: int = 0

    @property
    def replies_count(self) -> int:
        """How many replies the server sends."""
        return int(self.directives.get("replies", "1"))

    @property
    def is_handwritten(self) -> bool:
        """Whether recording leaves the expectation alone."""
        return bool({"since", "differs", "match"} & self.directives.keys())

    def expected(self, variables: dict[str, bytes]) -> bytes:
        """Return the bytes of the recorded reply."""
        assert self.lines is not None, f"line {self.number} is not recorded: {self.command}"
        return b"".join(unescape_line(line, variables) + b"\r\n" for line in self.lines)


@dataclass
class Section:
    """Steps that share a keyspace. `trailer` are comments after the last step."""

    title: str
    comments: list[str]
    steps: list[Step]
    trailer: list[str] = field(default_factory=list)

    def commands(self) -> set[str]:
        """Return the lower-case names of the commands that a server must know to answer so."""
        framed = [step for step in self.steps if not {"raw", "inline"} & step.directives.keys()]
        answered = [step for step in framed if step.lines]
        known = [step for step in answered if not step.lines[0].startswith(UNKNOWN)]
        return {split_arguments(step.command)[0].decode().lower() for step in known}


def recorded_lines(raw: bytes, directives: dict[str, str] | None = None) -> list[str]:
    """Return how `raw`, one or more replies, is written; of a @type reply only what is compared."""
    if directives and "type" in directives and raw not in NIL_REPLIES:
        return [escape_line(raw[:1])]
    return [escape_line(line) for line in raw.split(b"\r\n")[:-1]]


def parse(text: str, name: str) -> list[Section]:
    """Return the sections of the transcript `text`. Raises TranscriptError."""
    sections: list[Section] = []
    comments: list[str] = []
    directives: dict[str, str] = {}
    for number, line in enumerate(text.splitlines(), 1):
        if line.startswith("== "):
            sections.append(Section(line[3:], _strip_blank(comments), []))
            comments = []
        elif line.startswith("<"):
            step = sections[-1].steps[-1]
            step.lines = [*(step.lines or []), line[2:]]
        elif match := COMMAND.fullmatch(line):
            connection = match[1] or DEFAULT_CONNECTION
            step = Step(match[2], connection, directives, comments, number=number)
            if step.replies_count == 0 or "match" in directives:
                step.lines = []
            sections[-1].steps.append(step)
            comments, directives = [], {}
        elif line.startswith("@"):
            key, _, value = line[1:].partition(" ")
            if key not in FLAGS | WITH_VALUE or (key in WITH_VALUE) != bool(value):
                raise TranscriptError(f"{name}:{number}: unknown directive {line}")
            directives[key] = value
        elif not line or line.startswith("#"):
            comments.append(line)
        else:
            raise TranscriptError(f"{name}:{number}: {line}")
    if sections:
        sections[-1].trailer = _strip_blank(comments)
    return sections


def _strip_blank(lines: list[str]) -> list[str]:
    while lines and not lines[0]:
        lines = lines[1:]
    while lines and not lines[-1]:
        lines = lines[:-1]
    return lines


def write(sections: list[Section]) -> str:
    """Return the text of `sections`; `parse` reads it back."""
    lines: list[str] = []
    for section in sections:
        lines += ["", *section.comments, f"== {section.title}"]
        for step in section.steps:
            lines += step.comments
            for key, value in step.directives.items():
                lines.append(f"@{key} {value}".rstrip())
            prefix = "" if step.connection == DEFAULT_CONNECTION else step.connection
            lines.append(f"{prefix}> {step.command}")
            lines += [f"< {line}".rstrip() for line in step.lines or []]
        lines += section.trailer
    return "\n".join(_strip_blank(lines)) + "\n"


def load(path: Path) -> list[Section]:
    """Return the sections of a file."""
    return parse(path.read_text(), path.name)


def load_all() -> list[tuple[str, Section]]:
    """Return (topic, section) of all transcripts, in order."""
    files = sorted(DIRECTORY.glob("*.txt"))
    return [(path.stem, section) for path in files for section in load(path)]
