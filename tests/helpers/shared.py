"""Real rows and a real model that lie beside a developer's checkout; tests skip without them."""

from pathlib import Path

SHARED = Path(__file__).resolve().parents[3] / "shared"
