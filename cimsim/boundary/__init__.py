"""Where things from outside come in: files, options and arguments, checked before they are used.

Every reader of text goes through here, so that limits stand in one place (`limits`): bytes, depth,
aliases, digits, finite numbers, memory. What is refused is one of our own errors (`CimsimError`),
with the place, the value and the way out; what passes is plain data.
"""
