"""One file a native format: each opens lazily as a Recording."""
