"""One simulation from a network to its result: loading, programming, running, collecting."""
