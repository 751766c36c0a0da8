"""Pictures and pages of what was prepared and found."""
