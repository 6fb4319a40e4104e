"""Published chips against what their components and one mapping predict."""
