"""What `greenroom NAME` does besides serving: one module a command, added to `COMMANDS`."""

import click

from .backup import backup, restore
from .chat import chat
from .directory import data_dir_option
from .doctor import doctor
from .moving import export, import_
from .sessions import sessions
from .users import token, user

__all__ = ["COMMANDS", "data_dir_option"]

COMMANDS: list[click.Command] = [
    *(chat, sessions),
    *(user, token),
    *(backup, restore, doctor, export, import_),
]
