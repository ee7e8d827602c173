"""`python -m ichhpinet` is `ichhpinet`."""

from ichhpinet.cli import main

raise SystemExit(main())
