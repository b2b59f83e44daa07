"""The slave: asks the master for a version, builds it with pip, sends the wheel back."""
