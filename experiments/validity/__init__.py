"""Does the toolkit find the truth? Models whose mechanism is known because it was built in."""
