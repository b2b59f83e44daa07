"""The console's screens, in Textual: thin, over a session that knows everything."""
