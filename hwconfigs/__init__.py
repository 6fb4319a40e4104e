"""Hardware descriptions shipped with cimsim, one YAML file per chip."""
