"""Native files to Recording; knows nothing of data sets or torch."""
