"""`python -m firewall` is the command `mantlet`."""

import sys

from firewall.cli import main

if __name__ == "__main__":
    sys.exit(main())
