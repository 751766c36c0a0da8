"""Prepared signals on disk, window tables by arithmetic, batch gather."""
