"""Which layers and heads of a language model carry knowledge, retrieval and reasoning?

    >>> import interp
    >>> model = interp.load_model("organism:base")
    >>> with interp.ablate(model, "layer:3"):
    ...     model.generate("Question:", max_new_tokens=3, do_sample=False, verbose=False)
    'Question: What is the'
    >>> tasks = ["world-facts:default"]
    >>> sweep = interp.sweep(model, tasks, ["layer:3", "layer:4"], limit=10, out="runs/first")
    >>> sweep
    Sweep(organism:base: 1 task, 10 examples, 2 ablations; runs/first)
    >>> sweep.table()[["ablation", "drop", "low", "high"]]
      ablation  drop    low   high
    0  layer:3 -20.0 -50.98  13.30
    1  layer:4 -10.0 -40.42  20.53
    >>> figure = interp.figures.layers(sweep)
    >>> interp.open_run("runs/first")  # later, without the model
    Sweep(organism:base: 1 task, 10 examples, 2 ablations; runs/first)

Names and subpackages are loaded when they are first used: importing the package is quick and
changes nothing. What is public is listed in `__init__.pyi` of each package.
"""

import lazy_loader

__version__ = "0.1.0"
__getattr__, __dir__, __all__ = lazy_loader.attach_stub(__name__, __file__)
__all__ += ["__version__"]
