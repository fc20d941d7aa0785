"""The states of a cell, and the only ways from one to another."""

from enum import Enum

__all__ = ["LEGAL", "Lifecycle"]


class Lifecycle(Enum):
    """Where a cell stands. Mail is accepted in all of them but STOPPED."""

    STARTING = "starting"  # on_start runs; mail waits
    RUNNING = "running"
    STOPPING = "stopping"  # on_stop runs, children end; mail waits for the next incarnation
    RESTARTING = "restarting"  # after a crash, children end; mail waits for the next incarnation
    STOPPED = "stopped"


LEGAL: dict[Lifecycle, frozenset[Lifecycle]] = {
    Lifecycle.STARTING: frozenset({Lifecycle.RUNNING, Lifecycle.STOPPED}),
    Lifecycle.RUNNING: frozenset({Lifecycle.STOPPING, Lifecycle.RESTARTING, Lifecycle.STOPPED}),
    Lifecycle.STOPPING: frozenset({Lifecycle.STARTING, Lifecycle.STOPPED}),
    Lifecycle.RESTARTING: frozenset({Lifecycle.STARTING, Lifecycle.STOPPED}),
    Lifecycle.STOPPED: frozenset(),
}
