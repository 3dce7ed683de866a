"""Tasks that read one prompt in several ways; the functions that their YAML files name."""
