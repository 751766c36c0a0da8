"""What is done to a window before it is encoded."""
