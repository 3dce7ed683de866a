"""Where heads look, which of them retrieve, and which ablations test it."""
