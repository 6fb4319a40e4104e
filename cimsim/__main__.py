"""``python -m cimsim``."""

from cimsim.cli.main import main

if __name__ == "__main__":
    main()
