"""From what a laboratory measured on cells to the device of a chip file."""
