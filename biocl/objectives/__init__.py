"""Relations, criteria, heads, projectors, terms and their sum."""
