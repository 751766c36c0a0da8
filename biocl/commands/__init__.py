"""One file per verb: from a configuration to a store or a run folder; the command line only calls these."""
