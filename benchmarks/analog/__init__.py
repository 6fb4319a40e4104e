"""What analog effects of arrays and cells cost in picture quality."""
