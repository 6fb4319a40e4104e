"""Results: tables, plots, files."""
