"""The configuration of a node: defaults, then a file, then the command line, then CONFIG SET."""

from collections.abc import Callable, Iterable, Mapping
from pathlib import Path
from typing import Any

from kvnode._core.glob import matches
from kvnode.base.errors import ConfigError
from kvnode.server import config_file
from kvnode.server.config_file import Line
from kvnode.server.parameters import ALIASES, FIXED, PARAMETERS, REFUSED_LINES, Parameter, find
from kvnode.server.values import Ignored, Only, Words, quote

CACHE_SHARE = 2  # maxmemory is, when not set, the available memory divided by this
GLOB_CHARACTERS = frozenset(b"[*?")


class Config:
    """Parameters by name; `config["maxmemory"]` is a Python value, see parameters.py.

    available_bytes: memory that the process may use.   failpoints: "name=action" of the command
    line.   ignored: names without meaning here that were set, for one line of the log.
    """

    def __init__(self, available_bytes: int, file: Path | None = None) -> None:
        self.file = file.absolute() if file else None
        self.failpoints: tuple[str, ...] = ()
        self.ignored: list[str] = []
        self._available_bytes = available_bytes
        self._values = {name: parameter.default for name, parameter in PARAMETERS.items()}
        self._loaded: dict[str, Any] = {}  # name -> value as the file has it
        self._listeners: list[Callable[[], None]] = []

    @classmethod
    def load(
        cls,
        available_bytes: int,
        file: Path | None = None,
        options: Mapping[str, str] | None = None,
    ) -> "Config":
        """Return the configuration of a file and of options of the command line, by name.

        Raises ConfigError with a sentence that says what is wrong and what is right.
        """
        config = cls(available_bytes, file)
        if config.file is not None:
            for line in config_file.read_lines(config.file):
                config._apply_line(line)
            config._loaded = dict(config._values)
        for name, text in (options or {}).items():
            config._apply_option(name, text)
        return config

    def __getitem__(self, name: str) -> Any:
        value = self._values[name]
        if name == "maxmemory" and value == 0:
            return self._available_bytes // CACHE_SHARE
        return value

    def on_change(self, listener: Callable[[], None]) -> None:
        """Have `listener` called after each change; it may refuse it by a ConfigError."""
        self._listeners.append(listener)

    # -- at start -------------------------------------------------------------------------------

    def _apply_line(self, line: Line) -> None:
        if line.name in REFUSED_LINES:
            raise ConfigError(f"{line.where}: {REFUSED_LINES[line.name]}")
        parameter = find(line.name)
        is_secret = parameter is not None and parameter.is_secret
        text = f"{line.name} (redacted)" if is_secret else config_file.show(line.text)
        try:
            if parameter is None:
                raise ConfigError(
                    f"Bad directive or wrong number of arguments: no parameter of redis.conf 7 is "
                    f"called '{line.name}'"
                )
            if not line.words or (len(line.words) != 1 and not parameter.kind.is_list):
                raise ConfigError("wrong number of arguments")
            self._assign(parameter, line.words)
        except ConfigError as error:
            raise ConfigError(
                f"FATAL CONFIG FILE ERROR: {line.where}: '{text}': {error}{_hint(parameter)}"
            ) from error
        if not parameter.has_meaning and not isinstance(parameter.kind, Only):
            self.ignored.append(line.name)

    def _apply_option(self, name: str, text: str) -> None:
        parameter = PARAMETERS[name]
        try:
            self._assign(parameter, [text.encode("utf-8", "surrogateescape")])
        except ConfigError as error:
            shown = parameter.option or name
            raise ConfigError(f"--{shown} {text}: {error}{_hint(parameter)}") from error

    def _assign(self, parameter: Parameter, words: Iterable[bytes]) -> None:
        value = parameter.kind.parse(list(words))
        if isinstance(value, dict):  # what is not named keeps what it has
            value = {**self._values[parameter.name], **value}
        self._values[parameter.name] = value

    # -- CONFIG GET -----------------------------------------------------------------------------

    def text(self, name: str) -> bytes:
        """Return the value of a parameter as CONFIG GET shows it."""
        if name == "dir":
            return bytes(Path(self["dir"]).absolute())
        return PARAMETERS[name].kind.format(self[name])

    def matching(self, pattern: bytes) -> list[tuple[bytes, bytes]]:
        """Return (name, value) of the parameters that a pattern names, older names included.

        A pattern without wildcards is answered under the name that was asked for.
        """
        if not GLOB_CHARACTERS & set(pattern):
            parameter = find(pattern.decode("latin-1"))
            return [(pattern, self.text(parameter.name))] if parameter else []
        found = []
        for shown in sorted([*PARAMETERS, *ALIASES]):
            if matches(pattern, shown.encode(), True):
                found.append((shown.encode(), self.text(ALIASES.get(shown, shown))))
        return found

    # -- CONFIG SET -----------------------------------------------------------------------------

    def change(self, pairs: list[tuple[bytes, bytes]]) -> None:
        """Set several parameters, all or none. Raises ConfigError with CONFIG SET's text."""
        parameters = self._require_mutable([name for name, _ in pairs])
        before = dict(self._values)
        for parameter, (shown, value) in zip(parameters, pairs, strict=True):
            try:
                self._assign(parameter, [value])
            except ConfigError as error:
                self._values = before
                raise ConfigError(_failed(shown, str(error))) from error
        try:
            for listener in self._listeners:
                listener()
        except ConfigError as error:
            self._values = before
            for listener in self._listeners:
                listener()
            raise ConfigError(_failed(pairs[-1][0], str(error))) from error

    def _require_mutable(self, names: list[bytes]) -> list[Parameter]:
        parameters: list[Parameter] = []
        for shown in names:
            parameter = find(shown.decode("latin-1"))
            if parameter is None:
                text = shown.decode("utf-8", "backslashreplace")
                raise ConfigError(
                    f"Unknown option or number of arguments for CONFIG SET - '{text}'"
                )
            if not parameter.is_mutable:
                raise ConfigError(_failed(shown, "can't set immutable config"))
            if parameter in parameters:
                raise ConfigError(_failed(shown, "duplicate parameter"))
            parameters.append(parameter)
        return parameters

    # -- CONFIG REWRITE -------------------------------------------------------------------------

    def rewrite(self) -> None:
        """Write what was changed into the configuration file. Raises ConfigError."""
        if self.file is None:
            raise ConfigError("The server is running without a config file")
        present = {line.name for line in config_file.read_lines(self.file)}
        wanted: dict[str, list[bytes]] = {}
        kept = set()
        for name, parameter in PARAMETERS.items():
            if name in FIXED or isinstance(parameter.kind, (Ignored, Only)):
                kept |= {name, parameter.alias}
                continue
            shown = parameter.alias if parameter.alias in present else name
            value = self._values[name]
            if shown in present and value == self._loaded[name]:
                kept.add(shown)
            elif shown in present or value != parameter.default:
                wanted[shown] = self._lines(shown, parameter)
        text = config_file.rewrite_text(config_file.read(self.file), wanted, kept)
        config_file.replace(self.file, text)
        self._loaded = dict(self._values)

    def _lines(self, shown: str, parameter: Parameter) -> list[bytes]:
        value = self._values[parameter.name]
        if isinstance(value, dict):
            return [
                f"{shown} {name} {limit.hard} {limit.soft} {limit.seconds}".encode()
                for name, limit in value.items()
            ]
        text = parameter.kind.format(value)
        return [
            shown.encode() + b" " + (text if isinstance(parameter.kind, Words) else quote(text))
        ]


def _hint(parameter: Parameter | None) -> str:
    return getattr(parameter.kind, "hint", "") if parameter else ""


def _failed(shown: bytes, reason: str) -> str:
    name = shown.decode("utf-8", "backslashreplace")
    return f"CONFIG SET failed (possibly related to argument '{name}') - {reason}"
