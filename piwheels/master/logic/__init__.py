"""What the master decides: events in, replies and effects out. Nothing here does any I/O."""
