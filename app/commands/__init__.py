"""What `greenroom NAME` does besides serving: one module a command, added to `COMMANDS`."""

import click

from .backup import backup, restore
from .directory import data_dir_option
from .doctor import doctor
from .moving import export, import_
from .users import token, user

__all__ = ["COMMANDS", "data_dir_option"]

COMMANDS: list[click.Command] = [user, token, backup, restore, doctor, export, import_]
