"""The chat session: one actor owns each one."""
