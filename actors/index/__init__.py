"""The list of sessions: a projection of their records, with one owner."""
