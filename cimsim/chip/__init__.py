"""The chip as data: description, YAML loader, cell models, estimators, supply, area."""
