"""The operator's console: the state of a farm (``model``), its sources (``wire``), the screens."""
