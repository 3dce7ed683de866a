"""Muon (Jordan et al., 2024) in float32, all matrices of one shape at a time.

`torch.optim.Muon` orthogonalises each matrix by itself in bfloat16. On a CPU without bfloat16
arithmetic that takes longer than the forward and backward pass of a small model together; batched
in float32 it takes a tenth of them.
"""

from collections.abc import Iterable

import torch
from jaxtyping import Float
from torch import Tensor

COEFFICIENTS = (3.4445, -4.7750, 2.0315)  # of the quintic Newton-Schulz iteration
ITERATIONS = 5


def orthogonalised(matrices: Float[Tensor, "n row column"]) -> Float[Tensor, "n row column"]:
    """Push all singular values of each matrix to about 1 (between 0.7 and 1.2).

    Args:
        matrices: matrices of one shape.

    Returns:
        Matrices with nearly the same singular vectors, and singular values near 1.
    """
    a, b, c = COEFFICIENTS
    tall = matrices.shape[1] > matrices.shape[2]
    x = matrices.transpose(1, 2) if tall else matrices
    x = x / x.flatten(1).norm(dim=1).clamp(min=1e-7)[:, None, None]
    for _ in range(ITERATIONS):
        gram = x @ x.transpose(1, 2)
        update = torch.baddbmm(gram, gram, gram, beta=b, alpha=c)
        x = torch.baddbmm(x, update, x, beta=a)
    return x.transpose(1, 2) if tall else x


class BatchedMuon(torch.optim.Optimizer):
    """Muon with Nesterov momentum and decoupled weight decay, scaled to the size of AdamW's steps.

    A step has root mean square 0.2 x learning rate whatever the shape (Liu et al., 2502.16982).
    The state holds one momentum tensor for each parameter, as `torch.optim.Muon` does.
    """

    def __init__(
        self,
        parameters: Iterable[Tensor],
        *,
        lr: float = 1e-3,
        weight_decay: float = 0.05,
        momentum: float = 0.95,
    ) -> None:
        """Take the matrices to train.

        Args:
            parameters: matrices.
            lr: the learning rate.
            weight_decay: share of a weight taken away in a step, times the learning rate.
            momentum: decay of the mean of the gradients.
        """
        super().__init__(parameters, {"lr": lr, "weight_decay": weight_decay, "momentum": momentum})

    @torch.no_grad()
    def step(self, closure: None = None) -> None:  # type: ignore[override]
        """Make one step with the gradients that are there; a parameter without one stays."""
        for group in self.param_groups:
            shapes: dict[tuple[int, ...], list[Tensor]] = {}
            for parameter in group["params"]:
                shapes.setdefault(tuple(parameter.shape), []).append(parameter)
            for (rows, columns), alike in shapes.items():
                moved = [parameter for parameter in alike if parameter.grad is not None]
                if not moved:
                    continue
                gradients = [p.grad for p in moved if p.grad is not None]
                momenta = [self._momentum_of(parameter) for parameter in moved]
                torch._foreach_lerp_(momenta, gradients, 1 - group["momentum"])
                ahead = torch._foreach_lerp(gradients, momenta, group["momentum"])
                steps = orthogonalised(torch.stack(ahead))
                size = 0.2 * max(rows, columns) ** 0.5
                torch._foreach_mul_(moved, 1 - group["lr"] * group["weight_decay"])
                torch._foreach_add_(moved, steps.unbind(), alpha=-group["lr"] * size)

    def _momentum_of(self, parameter: Tensor) -> Tensor:
        state = self.state[parameter]
        if "momentum_buffer" not in state:
            state["momentum_buffer"] = torch.zeros_like(parameter)
        momentum: Tensor = state["momentum_buffer"]
        return momentum
