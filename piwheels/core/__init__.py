"""The library: everything that the daemons, the console and the tools share."""
