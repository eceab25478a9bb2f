"""`python -m rltune` and the console script `rltune`."""

from rltune.cli.main import main

if __name__ == "__main__":
    main()
