"""Every architecture that TransformerLens maps: what is exact, what is refused and why.

python -m experiments.families
"""
