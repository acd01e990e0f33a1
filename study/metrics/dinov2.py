"""DINOv2 ViT-L/14 (Oquab et al. 2023), the feature network of FD_DINOv2 (Stein et al. 2023)."""

from pathlib import Path
from typing import ClassVar

import torch
from torch import Tensor, nn
from torch.nn import functional

from degradations import InputError
from study.files.cache import PublicFile
from study.files.states import read_state
from study.files.tensors import is_finite
from study.metrics.images import Images

# Size and hash as in finegrain-ai/refiners and several evaluations published on GitHub.
DINOV2 = PublicFile(
    "dinov2_vitl14_pretrain.pth",
    "https://dl.fbaipublicfiles.com/dinov2/dinov2_vitl14/dinov2_vitl14_pretrain.pth",
    "d5383ea8f4877b2472eb973e0fd72d557c7da5d3611bd527ceeb1d7162cbf428",
    1_217_586_395,
    "DINOv2 ViT-L/14",
)
SIDE, PATCH = 224, 14
MEAN, STD = (0.485, 0.456, 0.406), (0.229, 0.224, 0.225)  # ImageNet's


class Block(nn.Module):
    """x + γ₁·attention(norm(x)), then x + γ₂·mlp(norm(x)), with the published parameter names."""

    def __init__(self, width: int, heads: int) -> None:
        super().__init__()
        self.heads = heads
        self.norm1, self.norm2 = nn.LayerNorm(width, eps=1e-6), nn.LayerNorm(width, eps=1e-6)
        self.attn = nn.ModuleDict(
            {"qkv": nn.Linear(width, 3 * width), "proj": nn.Linear(width, width)}
        )
        self.mlp = nn.ModuleDict(
            {"fc1": nn.Linear(width, 4 * width), "fc2": nn.Linear(4 * width, width)}
        )
        self.ls1, self.ls2 = (nn.ParameterDict({"gamma": torch.ones(width)}) for _ in range(2))

    def forward(self, x: Tensor) -> Tensor:
        qkv = self.attn["qkv"](self.norm1(x)).view(*x.shape[:2], 3, self.heads, -1)
        q, k, v = qkv.permute(2, 0, 3, 1, 4)  # [B, heads, tokens, width/heads] each
        attended = functional.scaled_dot_product_attention(q, k, v).transpose(1, 2).flatten(2)
        x = x + self.ls1["gamma"] * self.attn["proj"](attended)
        return x + self.ls2["gamma"] * self.mlp["fc2"](
            functional.gelu(self.mlp["fc1"](self.norm2(x)))
        )


class DinoV2(nn.Module):
    """The normalised class token [B, width] of images [B, 3, H, W] of 0…255.

    Images are resized to 224 × 224 as in EDM2's script, by PyTorch's antialiased bicubic filter of
    floats, not clipped. The defaults are ViT-L/14's; grid: side, in patches, of the last training
    images.
    """

    def __init__(self, width: int = 1024, depth: int = 24, heads: int = 16, grid: int = 37) -> None:
        super().__init__()
        self.grid = grid
        self.cls_token = nn.Parameter(torch.zeros(1, 1, width))
        self.pos_embed = nn.Parameter(torch.zeros(1, 1 + grid**2, width))
        self.mask_token = nn.Parameter(
            torch.zeros(1, width)
        )  # used in training only; it is in the file
        self.patch_embed = nn.ModuleDict({"proj": nn.Conv2d(3, width, PATCH, stride=PATCH)})
        self.blocks = nn.ModuleList([Block(width, heads) for _ in range(depth)])
        self.norm = nn.LayerNorm(width, eps=1e-6)

    def forward(self, images: Tensor) -> Tensor:
        mean, std = (images.new_tensor(values).view(3, 1, 1) for values in (MEAN, STD))
        x = functional.interpolate(images, (SIDE, SIDE), mode="bicubic", antialias=True)
        return self.encode((x / 255 - mean) / std)

    def encode(self, x: Tensor) -> Tensor:
        """The features of resized and normalised images, [B, 3, 224, 224]."""
        patches = self.patch_embed["proj"](x).flatten(2).transpose(1, 2)
        x = torch.cat([self.cls_token.expand(len(x), -1, -1), patches], 1) + self._positions(
            SIDE // PATCH
        )
        for block in self.blocks:
            x = block(x)
        return self.norm(x[:, 0])

    def _positions(self, side: int) -> Tensor:
        """The position embedding of side × side patches, [1, 1 + side², width]."""
        patches = self.pos_embed[:, 1:].view(1, self.grid, self.grid, -1).permute(0, 3, 1, 2)
        # The published network was evaluated with these scale factors, which are a tenth of a patch
        # off.
        scale = (side + 0.1) / self.grid
        patches = functional.interpolate(patches, scale_factor=(scale, scale), mode="bicubic")
        return torch.cat([self.pos_embed[:, :1], patches.flatten(2).transpose(1, 2)], 1)


def load_dinov2(path: Path) -> DinoV2:
    """The network with published weights from a file.

    Raises InputError if the file is damaged or of another network.
    """
    # without memory or random weights, since the file's replace them
    with torch.device("meta"):
        network = DinoV2()
    network.load_state_dict(read(path, network), assign=True)
    return network.eval().requires_grad_(False)


def read(path: Path, network: nn.Module) -> dict[str, Tensor]:
    """The tensors of a file of weights, by name.

    Raises InputError if the file has other content, or names, shapes or types that are not the
    network's.
    """
    found = read_state(path)
    wanted = network.state_dict()
    if found.keys() != wanted.keys():
        name = min(found.keys() ^ wanted.keys(), key=str)
        raise InputError(f"{path}: {'missing' if name in wanted else 'unknown'} tensor '{name}'.")
    for name, tensor in wanted.items():
        have = found[name]
        if have.shape != tensor.shape or have.dtype != torch.float32:
            raise InputError(
                f"{path}: '{name}' is {have.dtype} {list(have.shape)}; accepted: float32 "
                f"{list(tensor.shape)}."
            )
        if not is_finite(have):
            raise InputError(f"{path}: '{name}' has entries that are not finite.")
    return found


class DINOv2(Images):
    """DINOv2 ViT-L/14's 1024 features of the class token: those of FD_DINOv2.

    (Oquab et al. 2023, Stein et al. 2023)
    """

    name = "dinov2"
    file: ClassVar[PublicFile | None] = DINOV2
    dimensions: ClassVar[int | None] = 1024

    @classmethod
    def network_of(cls, path: Path, sha256: str) -> nn.Module:
        return load_dinov2(path)
