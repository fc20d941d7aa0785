"""The actor runtime: no domain, no disk, no HTTP. Import it from `actors`."""
