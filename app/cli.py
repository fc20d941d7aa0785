"""The command line: `greenroom`, or `python -m app`."""

import os
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import click
import trio
from click.core import ParameterSource

from . import __version__
from .commands import COMMANDS, data_dir_option
from .config import (
    AGENTS,
    HTTP,
    LOG_FORMATS,
    LOG_LEVELS,
    TITLES,
    Config,
    ConfigError,
    api_key_from,
    local_extra_installed,
    make_config,
    tools_extra_installed,
)

__all__ = ["main"]

CANNOT_START = 2
INTERRUPTED = 130

HELP = """Run the Greenroom server: durable chat sessions for LLM agents.
Without a command it serves.

Open the address that it prints. Ctrl-C stops it; what was said is kept.

\b
With a model on this machine (pip install 'greenroom[local]'):
  greenroom
With any OpenAI-compatible endpoint:
  GREENROOM_API_KEY=... greenroom --model gpt-4o-mini
  greenroom --base-url http://127.0.0.1:11434/v1 --model llama3.2

Each option can be set in the environment too, as GREENROOM_PORT, GREENROOM_DATA_DIR and so on.
The API key is taken from GREENROOM_API_KEY or OPENAI_API_KEY, and only from there."""


def _limits(given: Sequence[str]) -> dict[str, int]:
    if not given:
        return {}
    from .limits import parse_limits

    try:
        return parse_limits(given)
    except ValueError as error:
        raise click.UsageError(str(error)) from error


@click.group(
    help=HELP,
    invoke_without_command=True,
    context_settings={"help_option_names": ["-h", "--help"]},
)
@click.option(
    "--host",
    default="127.0.0.1",
    envvar="GREENROOM_HOST",
    show_default=True,
    help="Address to listen on. One that other machines can reach needs users: greenroom user add.",
)
@click.option(
    "--allowed-host",
    "allowed_hosts",
    multiple=True,
    envvar="GREENROOM_ALLOWED_HOSTS",
    metavar="NAME",
    help="A name by which browsers may call it, besides its address; can be repeated. * is any.",
)
@click.option(
    "--behind-proxy",
    is_flag=True,
    envvar="GREENROOM_BEHIND_PROXY",
    help="A reverse proxy is in front: believe its X-Forwarded-For and X-Forwarded-Proto.",
)
@click.option(
    "--port",
    default=8700,
    type=int,
    envvar="GREENROOM_PORT",
    show_default=True,
    help="Port to listen on; 0 takes any free one.",
)
@data_dir_option
@click.option(
    "--agent",
    default="auto",
    type=click.Choice(AGENTS),
    envvar="GREENROOM_AGENT",
    show_default=True,
    help="What answers. auto: openai if a key or base URL is set, else local if it is installed,"
    " else demo.",
)
@click.option(
    "--base-url",
    envvar="GREENROOM_BASE_URL",
    metavar="URL",
    help="An OpenAI-compatible endpoint.",
)
@click.option(
    "--model",
    envvar="GREENROOM_MODEL",
    metavar="NAME|FILE.gguf",
    help="The model: its name at the endpoint, or a file for the local agent.",
)
@click.option(
    "--titles",
    default="model",
    type=click.Choice(TITLES),
    envvar="GREENROOM_TITLES",
    show_default=True,
    help="Who names a session: the model, asked once, or its first words.",
)
@click.option(
    "--context-tokens",
    type=int,
    envvar="GREENROOM_CONTEXT_TOKENS",
    metavar="N",
    help="How much the model can see at once. Near that, what is old is summarised for it.",
)
@click.option(
    "--read-seconds",
    default=300.0,
    type=float,
    envvar="GREENROOM_READ_SECONDS",
    show_default=True,
    help="How long the model may say nothing in an answer; then its turn ends.",
)
@click.option(
    "--checkpoint-seconds",
    default=15.0,
    type=float,
    envvar="GREENROOM_CHECKPOINT_SECONDS",
    show_default=True,
    help="How often the record of a running turn is saved, if a tool call was completed.",
)
@click.option(
    "--mcp-config",
    type=click.Path(path_type=Path),
    envvar="GREENROOM_MCP_CONFIG",
    metavar="FILE",
    help="MCP servers whose tools the model may call, as other MCP hosts name them.",
)
@click.option(
    "--approval-seconds",
    default=600.0,
    type=float,
    envvar="GREENROOM_APPROVAL_SECONDS",
    show_default=True,
    help="How long a tool call waits to be allowed; then it is denied.",
)
@click.option(
    "--page-dir",
    type=click.Path(path_type=Path),
    envvar="GREENROOM_PAGE_DIR",
    metavar="DIR",
    help="Serve another page: a directory with its index.html and what that loads from static/.",
)
@click.option(
    "--http",
    default="own",
    type=click.Choice(HTTP),
    envvar="GREENROOM_HTTP",
    show_default=True,
    help="How HTTP/1.1 is spoken: our lean way, or Hypercorn's own should that ever fail you.",
)
@click.option(
    "--limit",
    "limits",
    multiple=True,
    envvar="GREENROOM_LIMITS",
    metavar="NAME=N",
    callback=lambda _, __, given: _limits(given),
    help="What each user may use, 0 for no limit; can be repeated. Names: "
    "sessions, turns, running, streams, requests, tokens, body, message, attachment.",
)
@click.option(
    "--log-level",
    default="warning",
    type=click.Choice(LOG_LEVELS, case_sensitive=False),
    envvar="GREENROOM_LOG_LEVEL",
    show_default=True,
    help="How much to write to stderr.",
)
@click.option(
    "--log-format",
    default="text",
    type=click.Choice(LOG_FORMATS),
    envvar="GREENROOM_LOG_FORMAT",
    show_default=True,
    help="Lines for people, or a JSON object a line.",
)
@click.version_option(__version__, message="greenroom %(version)s")
@click.pass_context
def greenroom(
    context: click.Context,
    host: str,
    allowed_hosts: tuple[str, ...],
    behind_proxy: bool,
    port: int,
    data_dir: Path,
    agent: str,
    base_url: str | None,
    model: str | None,
    titles: str,
    context_tokens: int | None,
    read_seconds: float,
    checkpoint_seconds: float,
    mcp_config: Path | None,
    approval_seconds: float,
    page_dir: Path | None,
    http: str,
    limits: dict[str, int],
    log_level: str,
    log_format: str,
) -> int:
    if context.invoked_subcommand is not None:
        _refuse_options_of_the_server(context)
        return 0
    config = make_config(
        host=host,
        port=port,
        data_dir=data_dir,
        agent=agent,
        base_url=base_url,
        model=model,
        api_key=api_key_from(os.environ),
        log_level=log_level,
        log_format=log_format,
        titles=titles,
        context_tokens=context_tokens,
        read_seconds=read_seconds,
        checkpoint_seconds=checkpoint_seconds,
        page_dir=page_dir,
        http=http,
        allowed_hosts=allowed_hosts,
        behind_proxy=behind_proxy,
        limits=limits,
        mcp_config=mcp_config,
        approval_seconds=approval_seconds,
        environment=os.environ,
        local_installed=local_extra_installed(),
        tools_installed=tools_extra_installed(),
    )
    return _run(config)


for command in COMMANDS:
    greenroom.add_command(command)


def _refuse_options_of_the_server(context: click.Context) -> None:
    for name in context.params:
        if context.get_parameter_source(name) is ParameterSource.COMMANDLINE:
            raise click.UsageError(
                f"--{name.replace('_', '-')} stands before {context.invoked_subcommand!r}:"
                " options of a command go behind it"
            )


def _run(config: Config) -> int:
    # Imported late: help and complaints about options should not wait for a web framework.
    from actors.stores import DirectoryInUse, StoreError

    from .data_dir import refusal
    from .house import open_house
    from .logs import log_to_stderr
    from .run import run

    log_to_stderr(config.log_level, config.log_format)
    try:
        return trio.run(run, config, open_house)
    except* (DirectoryInUse, StoreError) as errors:
        raise refusal(config.data_dir, _first(errors)) from errors


def main(arguments: Sequence[str] | None = None) -> int:
    """Run the command and give its exit code."""
    try:
        try:
            code = greenroom.main(arguments, prog_name="greenroom", standalone_mode=False)
        except* (ConfigError, click.ClickException) as errors:
            # A nursery may have put it into a group.
            error = _first(errors)
            if isinstance(error, click.ClickException):
                raise error from None
            raise click.UsageError(str(error)) from errors
    except click.ClickException as error:
        click.echo(f"greenroom: error: {error.format_message()}", err=True)
        return CANNOT_START
    except click.Abort:
        return INTERRUPTED
    return int(code or 0)


def _first(error: BaseException) -> Any:
    return _first(error.exceptions[0]) if isinstance(error, BaseExceptionGroup) else error
