"""Options that several commands have."""

from pathlib import Path

import click
import platformdirs

__all__ = ["data_dir_option"]

data_dir_option = click.option(
    "--data-dir",
    type=click.Path(path_type=Path),
    envvar="GREENROOM_DATA_DIR",
    default=lambda: platformdirs.user_data_path("greenroom", appauthor=False),
    show_default="your data directory",
    help="Where the sessions are kept. One server at a time.",
)
