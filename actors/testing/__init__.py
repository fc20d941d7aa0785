"""Public fakes, fault injectors and checks, for users' tests as for ours.

The pytest plugin (`plugin`) offers them as fixtures; without it they are plain objects and blocks.
A disk in memory, and what a power cut leaves of it, is `actors.stores.MemoryDisk`; a slow one is
`MemoryDisk(latency=0.1)`.
"""

from .checked import Leaked, open_checked_greenroom, open_checked_system
from .faulty_disk import FaultyDisk, nth
from .power_cut import PowerCutDisk
from .probe import NothingCame, Probe, Unexpected
from .puppet import Puppet, PuppetTurn
from .schedule import seeded_schedule

__all__ = [
    "FaultyDisk",
    "Leaked",
    "NothingCame",
    "PowerCutDisk",
    "Probe",
    "Puppet",
    "PuppetTurn",
    "Unexpected",
    "nth",
    "open_checked_greenroom",
    "open_checked_system",
    "seeded_schedule",
]
