"""Which layers and heads of a language model carry knowledge, retrieval and reasoning?

    >>> import interp
    >>> model = interp.load_model("organism:base")
    >>> with interp.ablate(model, "layer:3"):
    ...     model.generate("Question: ...", do_sample=False)
    >>> sweep = interp.sweep(model, ["world-facts:default"], interp.each_layer(model), out="runs/x")
    >>> sweep.importance()
    >>> interp.figures.layers(sweep)

Names and subpackages are loaded when they are first used: importing the package is quick and
changes nothing. What is public is listed in `__init__.pyi` of each package.
"""

import lazy_loader

__version__ = "0.1.0"
__getattr__, __dir__, __all__ = lazy_loader.attach_stub(__name__, __file__)
__all__ += ["__version__"]
