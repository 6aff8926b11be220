"""The command line: `kvnode serve`, its options made from the table of parameters, and others."""

import sys
from pathlib import Path
from typing import Any, NoReturn

import click

import kvnode
from kvnode.base.errors import ConfigError, StorageError
from kvnode.cli.cluster import cluster
from kvnode.server import log
from kvnode.server import serve as serving
from kvnode.server.config import Config
from kvnode.server.machine import available_memory_bytes
from kvnode.server.parameters import MEANINGFUL, Parameter

EXIT_FAILED = 1
EXIT_USAGE = 2


@click.group()
@click.version_option(kvnode.__version__, prog_name="kvnode")
def main() -> None:
    """A durable, strictly serializable key-value node that speaks the Redis protocol."""


main.add_command(cluster)


def variable(parameter: Parameter) -> str:
    """Return the name under which click hands over a parameter."""
    return parameter.name.replace("-", "_")


def add_options(command: Any) -> Any:
    """Give a command an option for each parameter that means something here."""
    for parameter in reversed(MEANINGFUL):
        names = [f"--{parameter.name}", variable(parameter)]
        if parameter.option:
            names.insert(0, f"--{parameter.option}")
        shown = parameter.kind.format(parameter.default).decode()
        help_text = f"{parameter.doc}  [default: {shown}]" if shown else parameter.doc
        option = click.option(*names, metavar="VALUE", help=help_text)
        command = option(command)
    return command


@main.command()
@click.option(
    "--config",
    "file",
    metavar="FILE",
    type=click.Path(path_type=Path),
    help="Configuration file in the syntax of redis.conf; options here win over it.",
)
@click.option(
    "--failpoint",
    "failpoints",
    metavar="NAME=ACTION",
    multiple=True,
    help="Debug builds only: what to do at a point of the code.",
)
@add_options
def serve(file: Path | None, failpoints: tuple[str, ...], **values: str | None) -> None:
    """Run a node until it is told to stop."""
    for failpoint in failpoints:
        if "=" not in failpoint:
            fail(f"--failpoint {failpoint}: must be NAME=ACTION", EXIT_USAGE)
    options = {
        parameter.name: text
        for parameter in MEANINGFUL
        if (text := values[variable(parameter)]) is not None
    }
    try:
        config = Config.load(available_memory_bytes(), file, options)
        config.failpoints = failpoints
        log.configure(config["loglevel"], sys.stderr)
        log.report_ignored(config.ignored)
        code = serving.serve(config)
    except ConfigError as error:
        fail(str(error), EXIT_USAGE)
    except StorageError as error:
        fail(str(error), EXIT_FAILED)
    sys.exit(code)


def fail(sentence: str, code: int) -> NoReturn:
    """Say what stands in the way, and end."""
    click.echo(f"kvnode: {sentence}", err=True)
    sys.exit(code)


if __name__ == "__main__":
    main(prog_name="kvnode")
