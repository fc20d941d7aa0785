"""Schedules, crashes and faults: what is claimed, and what tests it, is in README.md."""
