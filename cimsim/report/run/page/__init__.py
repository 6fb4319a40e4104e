"""One HTML file to send, readable without a network: of a run here, of more in `studies`."""
