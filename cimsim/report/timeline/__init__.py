"""When what happens: pictures, tables, traces, and why it is slow."""
