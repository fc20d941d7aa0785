"""Trio's choice of the next task, made from a seed."""

from collections.abc import Iterator
from contextlib import contextmanager
from random import Random
from typing import Any

from trio._core import _run

__all__ = ["seeded_schedule"]


class _Order(Random):
    """Stands in for Trio's own source of chance. Of each batch of runnable tasks it chooses the
    order, and holds some back: all alike, or some far more than others. No task for ever.
    """

    def __init__(self, seed: int) -> None:
        super().__init__(seed)
        self._held_back = self.choice((0.0, 0.5, None))
        self._by_task: dict[int, float] = {}

    def shuffle(self, x: Any) -> None:
        """In place, as Trio asks for it, which runs the last one first."""
        super().shuffle(x)
        later = [task for task in x if self.random() < self._chance(task)]
        if later:
            x[:] = [task for task in x if task not in later]
            _run.GLOBAL_RUN_CONTEXT.runner.runq.extend(later)

    def _chance(self, task: Any) -> float:
        if self._held_back is not None:
            return self._held_back
        if task._counter not in self._by_task:
            self._by_task[task._counter] = self.choice((0.0, 0.2, 0.95))
        return self._by_task[task._counter]


@contextmanager
def seeded_schedule(seed: int) -> Iterator[None]:
    """In this block `trio.run` runs tasks in an order that the seed decides, the same each time if
    nothing else is left to chance: a mock clock, no threads, no sockets.

    It leans on private names of Trio, which has no public ones for it, and fails loudly when they
    are gone.
    """
    before: tuple[bool, Random] = (_run._ALLOW_DETERMINISTIC_SCHEDULING, _run._r)
    _run._ALLOW_DETERMINISTIC_SCHEDULING = True  # type: ignore[misc]
    _run._r = _Order(seed)
    try:
        yield
    finally:
        _run._ALLOW_DETERMINISTIC_SCHEDULING, _run._r = before  # type: ignore[misc]
