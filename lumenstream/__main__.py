"""`python -m lumenstream`: the same as the console script."""

from lumenstream.cli.main import main

if __name__ == "__main__":
    main()
