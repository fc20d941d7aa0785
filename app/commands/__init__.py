"""What `greenroom NAME` does besides serving: one module a command, added to `COMMANDS`."""

import click

from .options import data_dir_option
from .users import token, user

__all__ = ["COMMANDS", "data_dir_option"]

COMMANDS: list[click.Command] = [user, token]
