"""Wheels: their tags, what is inside them, and the libraries that they need."""
