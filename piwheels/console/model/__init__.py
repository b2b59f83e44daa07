"""What the console knows of a farm: events in, a picture out. No input or output, no clock."""
