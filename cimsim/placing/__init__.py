"""From a graph and a chip to a mapping: all that can be named, and the search over mappings."""
