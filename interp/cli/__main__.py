"""`python -m interp.cli`, for where no console script is installed."""

from interp.cli import main

raise SystemExit(main())
