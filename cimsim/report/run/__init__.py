"""One run: tables on the screen, pictures, the folder that it leaves, the page."""
