"""Tools that the model may call: MCP servers, each session with its own."""
