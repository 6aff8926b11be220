"""Syntax lines of the command table: parsed for COMMAND DOCS, rendered for people.

    key:key value [condition=<NX | XX>@2.6.12] [expiration=<EX seconds:integer | KEEPTTL>]

    name            a string argument          name:type   types: see SCALARS; key1 = second key
    TOKEN           a word written as it is                spec
    TOKEN name      an argument behind a word  [x]         optional
    name=<a | b>    one of                     name=<a b>  a block
    x@1.2.3         since                      x!1.2.3     deprecated since
    x...            several                    x...+       several, each with its token
    TOKEN(name)     a word whose argument has another name than itself

The order of suffixes is @ ! ...; outer brackets come last.
"""

import re
from dataclasses import dataclass, replace

EXPIRATION = (  # of commands that set a value and a deadline
    "EX seconds:integer | PX milliseconds:integer | "
    "EXAT unix-time-seconds:unix-time | PXAT unix-time-milliseconds:unix-time"
)
SCALARS = ("string", "integer", "double", "key", "pattern", "unix-time")
SUFFIX = re.compile(r"(?:@([\d.]*\d))?(?:!([\d.]*\d))?(\.\.\.\+?)?")


class SyntaxLineError(ValueError):
    """A syntax line of the table that cannot be parsed."""


@dataclass(frozen=True, slots=True)
class Argument:
    """One node of COMMAND DOCS' tree of arguments. `key_spec`: index of its Key, -1 = no key."""

    name: str
    type: str
    token: str | None = None
    key_spec: int = -1
    since: str | None = None
    deprecated_since: str | None = None
    is_optional: bool = False
    is_multiple: bool = False
    is_token_multiple: bool = False
    arguments: tuple["Argument", ...] = ()

    @property
    def flags(self) -> list[str]:
        """Flags in the order of COMMAND DOCS."""
        flags = []
        if self.is_optional:
            flags.append("optional")
        if self.is_multiple:
            flags.append("multiple")
        if self.is_token_multiple:
            flags.append("multiple_token")
        return flags


def parse(line: str) -> tuple[Argument, ...]:
    """Return the arguments of a syntax line. Raises SyntaxLineError."""
    parser = _Parser(line)
    arguments = parser.sequence("")
    if parser.at != len(line):
        raise SyntaxLineError(f"{line!r}: stopped at {line[parser.at :]!r}")
    return tuple(arguments)


class _Parser:
    def __init__(self, line: str) -> None:
        self.line = line
        self.at = 0

    def peek(self) -> str:
        while self.line[self.at : self.at + 1] == " ":
            self.at += 1
        return self.line[self.at : self.at + 1]

    def expect(self, text: str) -> None:
        self.peek()
        if not self.line.startswith(text, self.at):
            raise SyntaxLineError(f"{self.line!r}: {text!r} expected at {self.line[self.at :]!r}")
        self.at += len(text)

    def sequence(self, ends: str) -> list[Argument]:
        arguments = []
        while self.peek() and self.peek() not in ends:
            arguments.append(self.element())
        return arguments

    def element(self) -> Argument:
        if self.peek() == "[":
            self.expect("[")
            argument = self.element()
            self.expect("]")
            return replace(argument, is_optional=True)
        word = self.word()
        if not word.isupper():
            return self.argument(word)
        if self.line.startswith("(", self.at):
            self.expect("(")
            name = self.word()
            self.expect(")")
            return self.suffix(Argument(name, "pure-token", word))
        if self.is_token_of_next():
            return replace(self.argument(self.word()), token=word)
        return self.suffix(Argument(word.lower(), "pure-token", word))

    def is_token_of_next(self) -> bool:
        """Whether an argument, and not a token, follows directly behind one space."""
        return bool(re.match(r" [a-z]", self.line[self.at :]))

    def word(self) -> str:
        match = re.compile(r"\s*([A-Za-z][\w:/-]*)").match(self.line, self.at)
        if match is None:
            raise SyntaxLineError(f"{self.line!r}: a word expected at {self.line[self.at :]!r}")
        self.at = match.end()
        return match[1]

    def argument(self, word: str) -> Argument:
        if self.line.startswith("=<", self.at):
            self.expect("=<")
            argument = self.group(word)
            self.expect(">")
            return self.suffix(argument)
        name, _, kind = word.rpartition(":")
        key_spec = -1
        if re.fullmatch(r"key\d?", kind) and name:
            key_spec = int(kind[3:] or 0)
            kind = "key"
        if not name or kind not in SCALARS:
            name, kind = word, "string"
        return self.suffix(Argument(name, kind, key_spec=key_spec))

    def group(self, name: str) -> Argument:
        """Alternatives or a block, up to the closing bracket."""
        alternatives = [self.sequence("|>")]
        while self.peek() == "|":
            self.expect("|")
            alternatives.append(self.sequence("|>"))
        if len(alternatives) == 1:
            return Argument(name, "block", arguments=tuple(alternatives[0]))
        for alternative in alternatives:
            if len(alternative) != 1:
                raise SyntaxLineError(f"{self.line!r}: an alternative of {name} needs a group")
        return Argument(name, "oneof", arguments=tuple(a[0] for a in alternatives))

    def suffix(self, argument: Argument) -> Argument:
        match = SUFFIX.match(self.line, self.at)
        assert match is not None
        self.at = match.end()
        return replace(
            argument,
            since=match[1],
            deprecated_since=match[2],
            is_multiple=match[3] is not None,
            is_token_multiple=match[3] == "...+",
        )


def render(arguments: tuple[Argument, ...]) -> str:
    """Return the arguments as people write them: key value [NX | XX] [key ...]."""
    return " ".join(_render(argument) for argument in arguments)


def _render(argument: Argument) -> str:
    if argument.type == "pure-token":
        text = argument.token or ""
    elif argument.arguments:
        joint = " | " if argument.type == "oneof" else " "
        text = joint.join(_render(inner) for inner in argument.arguments)
        if argument.type == "oneof" and (argument.token or not argument.is_optional):
            text = f"<{text}>"
    else:
        text = argument.name
    token = f"{argument.token} " if argument.token and argument.type != "pure-token" else ""
    if argument.is_multiple:
        repeated = token + text if argument.is_token_multiple else text
        text = f"{text} [{repeated} ...]"
    text = token + text
    return f"[{text}]" if argument.is_optional else text
