"""From a mapping to what the event loop is told: who runs where, needs what, for how long."""
