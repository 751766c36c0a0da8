"""The loop, averages, checkpoints, exact resume, the run folder."""
