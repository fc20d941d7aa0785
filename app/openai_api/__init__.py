"""What clients of OpenAI's API speak, on top of sessions: a response is a turn, a conversation a
session."""
