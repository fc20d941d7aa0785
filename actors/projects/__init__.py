"""The folders that sessions can be put in, with one owner."""
