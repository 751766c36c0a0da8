"""One short file per published data set, the synthetic cohort, and bring your own."""
