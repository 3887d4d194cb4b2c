"""One file per model with one `RECIPE`."""
