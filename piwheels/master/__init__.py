"""The master: PostgreSQL behind it, a cast of small tasks in it, slaves and consoles before it."""
