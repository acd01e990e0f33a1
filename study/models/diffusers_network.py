"""A network of diffusers with sites in its own modules."""

from collections.abc import Iterator
from contextlib import contextmanager
from math import isqrt
from typing import Any

import torch
from torch import Tensor, nn

from degradations import Condition, Draws, LabelSite, Site
from study.models.preconditioning import PRECISIONS, Network


class Call:
    """The inputs of a network's forward call that diffusers does not pass on to its modules."""

    def __init__(self) -> None:
        self.draws: Draws | None = None
        self.label: Tensor | None = None

    @contextmanager
    def of(self, draws: Draws | None, label: Tensor | None) -> Iterator[None]:
        """Set draws and label within this block, and restore the previous ones after it."""
        before = self.draws, self.label
        self.draws, self.label = draws, label
        try:
            yield
        finally:
            self.draws, self.label = before


class DiffusersNetwork(Network):
    """A UNet2DModel or DiTTransformer2DModel F(x, t, label, draws) with sites in its modules.

    x: [B, C, H, W]. Of an output with 2C channels the first C are the prediction; the others, a
    learned variance, are not used. A sample without a label has the embedding zero in a
    UNet2DModel, and the row for no class in a DiT.

    Sites: 'dropout' in place of the nn.Dropout of a U-Net's residual blocks and of a DiT's
    feed-forward; 'map' the features that enter a U-Net's residual block, its skip features
    included, or a DiT's block, as [B, C, H, W]; 'block' the output of a residual block's
    convolutions, of an attention, and of a DiT's feed-forward, before a DiT's gate; 'attention'
    every map; 'label' if there are classes. The given model is modified, its weights are not.
    """

    precisions = PRECISIONS

    def __init__(self, model: nn.Module, classes: int) -> None:
        super().__init__()
        self.call = Call()
        self.model = model
        self.label = LabelSite(classes) if classes else None
        table = getattr(model, "class_embedding", None)
        self.unlabelled = classes if table is None else 0  # the model's input in place of −1
        if table is not None:
            model.class_embedding = _Labels(table, self.call)
        levels = getattr(model, "down_blocks", None)  # of a U-Net; a DiT's positions are fixed
        self.crops = None if levels is None else 2 ** (len(levels) - 1)
        integer = getattr(model, "time_proj", None)
        # a learned vector for each whole timestep
        self.whole_timesteps = isinstance(integer, nn.Embedding)
        for parent in list(model.modules()):
            for name, child in list(parent.named_children()):
                if type(child).__name__ in _SITED:
                    setattr(parent, name, _SITED[type(child).__name__](child, self.call))

    def forward(
        self, x: Tensor, c_noise: Tensor, condition: Condition, draws: Draws | None
    ) -> Tensor:
        timestep = c_noise.expand(len(x))
        if self.whole_timesteps:
            timestep = timestep.round().long()
        label = None if self.label is None else self.label(condition.labels(x), draws)
        given = None if label is None else label.masked_fill(label < 0, self.unlabelled)
        with self.call.of(draws, label):
            (output,) = self.model(x, timestep, class_labels=given, return_dict=False)
        return output[:, : x.shape[1]]

    def _round(self, precision: torch.dtype) -> None:
        for module in self.modules():
            for name, weight in list(module.named_parameters(recurse=False)):
                # Replaced, not changed in place: denoisers that share a parameter with this network
                # compute as before.
                setattr(
                    module, name, nn.Parameter(weight.detach().to(precision), weight.requires_grad)
                )


class _CallSite(nn.Module):
    """A site in place of a module of one argument in diffusers."""

    def __init__(self, role: str, call: Call) -> None:
        super().__init__()
        self.site = Site(role)
        self.call = call

    def forward(self, h: Tensor) -> Tensor:
        return self.site(h, self.call.draws)


class _Branch(nn.Module):
    """A module whose output goes through a block site."""

    def __init__(self, inner: nn.Module, call: Call) -> None:
        super().__init__()
        self.inner = inner
        self.block = _CallSite("block", call)

    def forward(self, h: Tensor) -> Tensor:
        return self.block(self.inner(h))


class _ResidualBlock(nn.Module):
    """A ResnetBlock2D: (shortcut(h) + conv2(dropout(…)))/scale."""

    def __init__(self, inner: nn.Module, call: Call) -> None:
        super().__init__()
        self.map = _CallSite("map", call)
        self.inner = inner
        inner.dropout = _CallSite("dropout", call)
        inner.conv2 = _Branch(inner.get_submodule("conv2"), call)

    def forward(self, h: Tensor, *args: Any, **kwargs: Any) -> Tensor:
        return self.inner(self.map(h), *args, **kwargs)


class _TransformerBlock(nn.Module):
    """A DiT's block; its attention is wrapped separately."""

    def __init__(self, inner: nn.Module, call: Call) -> None:
        super().__init__()
        self.map = _CallSite("map", call)
        self.inner = inner
        steps = inner.get_submodule("ff.net")
        for name, step in list(steps.named_children()):
            if isinstance(step, nn.Dropout):
                setattr(steps, name, _CallSite("dropout", call))
        inner.ff = _Branch(inner.get_submodule("ff"), call)

    @property
    def norm1(self) -> nn.Module:
        """The embedding of timestep and label, which the model reads from its first block."""
        return self.inner.get_submodule("norm1")

    def forward(self, hidden_states: Tensor, *args: Any, **kwargs: Any) -> Tensor:
        side = isqrt(hidden_states.shape[1])
        h = self.map(torch.unflatten(hidden_states.transpose(1, 2), 2, (side, side)))
        return self.inner(h.flatten(2).transpose(1, 2), *args, **kwargs)


class _SelfAttention(nn.Module):
    """An Attention whose map, [B, heads, N, N], is computed only if its site has an action.

    h: [B, C, H, W] or [B, N, C]. The other arguments that diffusers passes, for cross-attention,
    are None in these models.
    """

    def __init__(self, inner: nn.Module, call: Call) -> None:
        super().__init__()
        self.inner: Any = inner
        self.attention = _CallSite("attention", call)
        self.block = _CallSite("block", call)

    def forward(self, hidden_states: Tensor, **_: Any) -> Tensor:
        inner, x = self.inner, hidden_states
        h = x.flatten(2).transpose(1, 2) if x.ndim == 4 else x
        if inner.group_norm is not None:
            h = inner.group_norm(h.transpose(1, 2)).transpose(1, 2)
        q, k, v = (
            f(h).unflatten(2, (inner.heads, -1)).transpose(1, 2)
            for f in (inner.to_q, inner.to_k, inner.to_v)
        )
        if self.attention.site.actions:
            h = self.attention((q * inner.scale @ k.mT).softmax(dim=-1)) @ v
        else:
            h = nn.functional.scaled_dot_product_attention(q, k, v)
        h = inner.to_out[0](h.transpose(1, 2).flatten(2))
        h = self.block(h.transpose(1, 2).reshape(x.shape) if x.ndim == 4 else h)
        return (h + x if inner.residual_connection else h) / inner.rescale_output_factor


class _Labels(nn.Module):
    """A U-Net's embedding of labels, with zeros for samples without a label."""

    def __init__(self, inner: nn.Module, call: Call) -> None:
        super().__init__()
        self.inner = inner
        self.call = call

    def forward(self, given: Tensor) -> Tensor:
        label = self.call.label
        assert label is not None  # a network with classes sets it
        if given.is_floating_point():  # for a label that is embedded as if it were a timestep
            given = given.to(next(self.inner.parameters()).dtype)
        embedding = self.inner(given)
        return embedding * (label >= 0)[:, None].to(embedding.dtype)


_SITED = {
    "ResnetBlock2D": _ResidualBlock,
    "BasicTransformerBlock": _TransformerBlock,
    "Attention": _SelfAttention,
}
