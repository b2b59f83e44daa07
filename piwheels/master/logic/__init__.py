"""The master's decisions: events in, replies and effects out. Nothing here does any I/O."""
