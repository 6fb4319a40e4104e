"""Hardware descriptions: pydantic models, YAML loader, overrides and provenance."""
