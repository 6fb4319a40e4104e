"""The event loop: records, compiled phases, the memory they work on, lines that repeat."""
