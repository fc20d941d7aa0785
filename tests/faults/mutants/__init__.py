"""Old bugs, each a small patch that puts it into today's code."""
