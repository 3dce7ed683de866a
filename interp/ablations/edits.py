"""What one ablation changes, layer by layer: the form that hooks, replay and decoding act on."""

from collections.abc import ItemsView, Iterable, Iterator, Mapping, ValuesView
from dataclasses import dataclass, field
from types import MappingProxyType
from typing import Any, Literal, NoReturn

from interp.ablations.hook_arguments import asks_positions, needs_positions
from interp.errors import UserError

Part = Literal["layer", "attention", "mlp"]
"""A block or one of its sublayers: what a swap takes from the donor, what a mean stands for."""

Scope = Literal["prompt", "answer", "last"]
"""Positions at which an ablation acts: of the prompt, of the answer, the last one of the prompt."""

PART_FORMS: Mapping[Part, str] = {"layer": "layer", "attention": "attn", "mlp": "mlp"}
"""What stands for a part in an ablation's text."""

Site = Literal["z", "layer", "attention", "mlp", "linear", "resid"]
"""What stands in a place: the heads' z, what a part adds, a block's best affine map, or the
residual stream that enters a block."""

PatchSite = Literal["z", "attention", "mlp", "resid"]
"""What can be taken from an example's twin."""

Place = tuple[int, Site]
"""A layer, and what of it."""


@dataclass(frozen=True, order=True)
class Patched:
    """An activation that is taken from the example's twin, or from a later layer of its own.

    Attributes:
        site: the activation that is changed.
        head: whose z; -1 of other sites.
        positions: the class of positions at which.
        origin: the layer whose residual stream of the example's own prompt is put; -1: the twin's.
    """

    site: PatchSite
    head: int
    positions: str
    origin: int = -1


@dataclass(frozen=True)
class Shape:
    """The counts that an ablation's numbers are checked against."""

    n_layers: int
    n_heads: int
    n_kv_heads: int


@dataclass(frozen=True)
class LayerEdit:
    """All that one ablation changes in one layer; what hooks and replay act on.

    Attributes:
        skip: the block is not run.
        skip_attention: the attention adds nothing.
        skip_mlp: the MLP adds nothing.
        zero_heads: heads whose z is zero.
        mean_heads: heads whose z is its mean.
        resample_heads: heads whose z is another example's.
        removed_experts: experts that the router does not use; the others' weights grow to the
            same sum.
        zeroed_experts: experts whose weight is zero, and nothing takes their place.
        mean_parts: parts that add the mean of what they add elsewhere; of a whole block nothing
            else is computed.
        resample_parts: parts that add what they add on another example.
        linear: the block is its best affine map, and nothing else of it is computed.
        swaps: what runs with whose weights; of two that touch the same weights the later holds.
        hooks: a user's own.
        parallel: consecutive layers that run side by side, this one the first: each is given what
            enters the first, and the mean of what they return goes on.
        cuts: classes of positions, each with the class that it cannot attend to.
        windows: heads that see the first and the recent tokens only, each with how many of both.
        patches: activations that are the twin's, or those of a later layer.
        scoped: edits of this layer that act at some positions only, each with its scope.
        order: numbers of the layers in the order in which they run instead, all of them; this layer
            is the first place that differs. Nothing else is changed beside it.
    """

    skip: bool = False
    skip_attention: bool = False
    skip_mlp: bool = False
    zero_heads: frozenset[int] = frozenset()
    mean_heads: frozenset[int] = frozenset()
    resample_heads: frozenset[int] = frozenset()
    removed_experts: frozenset[int] = frozenset()
    zeroed_experts: frozenset[int] = frozenset()
    mean_parts: frozenset[Part] = frozenset()
    resample_parts: frozenset[Part] = frozenset()
    linear: bool = False
    swaps: tuple[tuple[Part, Any], ...] = ()
    # callable objects need not be hashable; equal edits still have equal hashes
    hooks: tuple[Any, ...] = field(default=(), hash=False)
    parallel: tuple[int, ...] = ()
    order: tuple[int, ...] = ()
    cuts: frozenset[tuple[str, str]] = frozenset()
    windows: frozenset[tuple[int, int, int]] = frozenset()
    patches: frozenset[Patched] = frozenset()
    scoped: "tuple[tuple[Scope, LayerEdit], ...]" = ()

    @property
    def everywhere_and_scoped(self) -> "tuple[LayerEdit, ...]":
        """This edit, and those that act at some positions only."""
        return (self, *(edit for _, edit in self.scoped))

    @property
    def runs_block(self) -> bool:
        """Whether the block is run, whatever of it is changed."""
        replaced = self.mean_parts | self.resample_parts
        return not (self.skip or self.linear or "layer" in replaced)

    def __or__(self, other: "LayerEdit") -> "LayerEdit":
        """Both edits of the same layer. Zero (skipping) wins, then mean, then linear."""
        zero = self.zero_heads | other.zero_heads
        mean = (self.mean_heads | other.mean_heads) - zero
        skipped: tuple[tuple[Part, bool], ...] = (
            ("layer", self.skip or other.skip),
            ("attention", self.skip_attention or other.skip_attention),
            ("mlp", self.skip_mlp or other.skip_mlp),
        )
        nothing = frozenset(part for part, skips in skipped if skips)
        mean_parts = (self.mean_parts | other.mean_parts) - nothing
        linear = (self.linear or other.linear) and "layer" not in nothing | mean_parts
        fitted = mean_parts | (frozenset(["layer"]) if linear else frozenset())
        return LayerEdit(
            skip="layer" in nothing,
            skip_attention="attention" in nothing,
            skip_mlp="mlp" in nothing,
            zero_heads=zero,
            mean_heads=mean,
            resample_heads=(self.resample_heads | other.resample_heads) - zero - mean,
            removed_experts=self.removed_experts | other.removed_experts,
            zeroed_experts=self.zeroed_experts | other.zeroed_experts,
            mean_parts=mean_parts,
            resample_parts=(self.resample_parts | other.resample_parts) - nothing - fitted,
            linear=linear,
            swaps=self.swaps + other.swaps,
            hooks=self.hooks + other.hooks,
            parallel=self.parallel or other.parallel,
            order=self.order or other.order,
            cuts=self.cuts | other.cuts,
            windows=self.windows | other.windows,
            patches=self.patches | other.patches,
            scoped=self.scoped + other.scoped,
        )


_NOTHING = LayerEdit()


class Edits(Mapping[int, LayerEdit]):
    """What one ablation changes: a frozen mapping from layer to `LayerEdit`, in order of layers.

    Equal edits are equal values and have equal hashes, so edits serve as dictionary keys. Layers
    in which nothing changes are left out; `Edits()` is the baseline.

    Args:
        by_layer: layer to what changes there.
    """

    # two things that are asked of each of a hundred thousand pairs are kept
    __slots__ = ("_by_layer", "_is_program", "_is_scoped")
    _by_layer: Mapping[int, LayerEdit]
    _is_program: bool
    _is_scoped: bool

    def __init__(self, by_layer: Mapping[int, LayerEdit] = MappingProxyType({})) -> None:
        changed = {n: by_layer[n] for n in sorted(by_layer) if by_layer[n] != _NOTHING}
        object.__setattr__(self, "_by_layer", changed)
        program = any(edit.parallel or edit.order for edit in changed.values())
        object.__setattr__(self, "_is_program", program)
        object.__setattr__(self, "_is_scoped", any(edit.scoped for edit in changed.values()))

    def __getitem__(self, layer: int) -> LayerEdit:
        return self._by_layer[layer]

    def __iter__(self) -> Iterator[int]:
        return iter(self._by_layer)

    def __len__(self) -> int:
        return len(self._by_layer)

    # those of `Mapping` look every layer up again, which counts for a hundred thousand edits
    def values(self) -> ValuesView[LayerEdit]:
        """What changes, in order of layers."""
        return self._by_layer.values()

    def items(self) -> ItemsView[int, LayerEdit]:
        """Layer and what changes there, in order of layers."""
        return self._by_layer.items()

    def __hash__(self) -> int:
        return hash(tuple(self._by_layer.items()))

    def __or__(self, other: "Edits") -> "Edits":
        """Both together, layer by layer (see `LayerEdit`)."""
        return Edits.merged([self, other])

    def __setattr__(self, name: str, value: Any) -> NoReturn:
        raise AttributeError(f"Edits are frozen; {name} cannot be set")

    __delattr__ = __setattr__  # type: ignore[assignment]

    def __reduce__(self) -> tuple[Any, ...]:
        return Edits, (self._by_layer,)

    def __repr__(self) -> str:
        return f"Edits({self._by_layer})"

    @staticmethod
    def merged(several: Iterable[Mapping[int, LayerEdit]]) -> "Edits":
        """All of them together, layer by layer.

        Raises:
            UserError: one of several is a layer program.
        """
        parts = [part if isinstance(part, Edits) else Edits(part) for part in several]
        parts = [part for part in parts if part._by_layer]
        if len(parts) < 2:
            return parts[0] if parts else Edits()
        found: dict[int, LayerEdit] = {}
        scoped = False
        for part in parts:
            if part._is_program:
                raise UserError("a layer program stands alone: nothing else can be ablated with it")
            scoped = scoped or part._is_scoped
            for layer, edit in part._by_layer.items():
                found[layer] = found[layer] | edit if layer in found else edit
        # what changes something still does so beside another edit
        made = object.__new__(Edits)
        object.__setattr__(made, "_by_layer", {layer: found[layer] for layer in sorted(found)})
        object.__setattr__(made, "_is_program", False)
        object.__setattr__(made, "_is_scoped", scoped)
        return made

    def first_layer(self, n_layers: int) -> int:
        """The first layer that changes; `n_layers` for the baseline, in which none does."""
        return min(self, default=n_layers)

    @property
    def scopes(self) -> frozenset[Scope]:
        """The scopes in which something acts."""
        return frozenset(scope for edit in self.values() for scope, _ in edit.scoped)

    @property
    def is_scoped(self) -> bool:
        """Whether anything acts at some positions only."""
        return self._is_scoped

    @property
    def is_program(self) -> bool:
        """Whether the layers run in another order, or side by side."""
        return self._is_program

    def only_in(self, layer: int) -> bool:
        """Whether one layer is changed and no other, nor the order of layers."""
        return set(self) == {layer} and not (self.is_program or self.is_scoped)

    @property
    def is_by_example(self) -> bool:
        """Whether what it does differs from example to example, so that each is run alone."""
        return self.is_resampled or self.is_windowed or bool(self.position_classes)

    @property
    def is_windowed(self) -> bool:
        """Whether a head sees the first and the recent tokens of its row only."""
        return any(edit.windows for edit in self.values())

    @property
    def position_classes(self) -> tuple[str, ...]:
        """The classes of positions that are named, in alphabetical order."""
        cuts = {c for edit in self.values() for cut in edit.cuts for c in cut}
        patches = {patch.positions for edit in self.values() for patch in edit.patches}
        return tuple(sorted(cuts | patches))

    @property
    def patched(self) -> tuple[Place, ...]:
        """The places that take their activations from the example's twin."""
        patches = ((n, patch) for n, edit in self.items() for patch in edit.patches)
        return tuple(sorted({(n, patch.site) for n, patch in patches if patch.origin < 0}))

    @property
    def put_back(self) -> tuple[Place, ...]:
        """The residual streams of the example's own prompt that are put into earlier layers."""
        patches = (patch for edit in self.values() for patch in edit.patches)
        return tuple(sorted({(patch.origin, "resid") for patch in patches if patch.origin >= 0}))

    @property
    def order(self) -> tuple[int, ...]:
        """The layers in the order in which they run instead; empty where that is their own."""
        return next((edit.order for edit in self.values() if edit.order), ())

    @property
    def is_hooked(self) -> bool:
        """Whether hooks of a user's own are among the edits."""
        return any(edit.hooks for edit in self.values())

    @property
    def needs_positions(self) -> bool:
        """Whether a hook of a user's own must be told what the positions of a batch are."""
        return any(needs_positions(f) for edit in self.values() for _, f in edit.hooks)

    @property
    def asks_positions(self) -> bool:
        """Whether a hook of a user's own takes what the positions of a batch are."""
        return any(asks_positions(f) for edit in self.values() for _, f in edit.hooks)

    @property
    def is_resampled(self) -> bool:
        """Whether anything is taken from another example."""
        return bool(self.resampled)

    @property
    def resampled(self) -> tuple[Place, ...]:
        """The places that take their activations from another example."""
        heads: list[Place] = [(n, "z") for n, edit in self.items() if edit.resample_heads]
        return (*heads, *((n, p) for n, edit in self.items() for p in sorted(edit.resample_parts)))

    def named(self, by: Literal["mean", "resample"]) -> str:
        """The text of the first ablation that puts what was fitted, or another example's."""
        every = (
            (n, block_edit) for n, edit in self.items() for block_edit in edit.everywhere_and_scoped
        )
        for layer, edit in every:
            for part in sorted(getattr(edit, f"{by}_parts")):
                return f"{PART_FORMS[part]}:{layer}@{by}"
            if by == "mean" and edit.linear:
                return f"layer:{layer}@linear"
            for head in sorted(getattr(edit, f"{by}_heads")):
                return f"head:{layer}.{head}@{by}"
        raise ValueError(f"nothing is replaced by {by}")

    @property
    def is_swapped(self) -> bool:
        """Whether any weights are a donor's."""
        return any(edit.swaps for edit in self.values())

    @property
    def uses_mean(self) -> bool:
        """Whether a mean over a reference set, or a map fitted on it, stands anywhere."""
        every = (block_edit for edit in self.values() for block_edit in edit.everywhere_and_scoped)
        return any(edit.mean_heads or edit.mean_parts or edit.linear for edit in every)

    @property
    def linear_layers(self) -> tuple[int, ...]:
        """The layers in whose place their best affine map stands, ascending."""
        return tuple(
            n
            for n, edit in self.items()
            if any(block_edit.linear for block_edit in edit.everywhere_and_scoped)
        )


@dataclass(frozen=True)
class Variant:
    """A model under one ablation: what a sweep computes, and the key of what it finds.

    Attributes:
        text: text form of the ablation; `"baseline"` without one.
        edits: what changes in the model.
    """

    text: str
    edits: Edits
