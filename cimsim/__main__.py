"""``python -m cimsim``."""

from cimsim.entry import main

if __name__ == "__main__":
    main()
