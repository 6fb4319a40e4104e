"""What studies cost and what a search finds."""
