"""Which windows meet in a batch."""
