"""`python -m agent` is the command `pickup`."""

from agent.cli import main

if __name__ == "__main__":
    main()
