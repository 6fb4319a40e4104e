"""How objects show themselves: tables, pictures, doubts about what they say."""
