"""Training of the zoo's denoisers on folders of clips."""
