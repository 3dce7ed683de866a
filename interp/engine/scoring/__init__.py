"""Log-likelihoods of options under many ablations, with prefixes and packed options shared."""
