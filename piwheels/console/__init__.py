"""The operator's console: what it knows (``model``), how it hears of it (``wire``), the screens."""
