"""The contract of a classifier of noisy samples."""

from abc import ABC, abstractmethod

import torch
from torch import Tensor, nn

from degradations.denoiser import column


class NoisyClassifier(nn.Module, ABC):
    """log p(c | x; σ) of every class, [B, classes], differentiable in x; x: [B, …]; sigma: as a
    denoiser's."""

    def __call__(self, x: Tensor, sigma: Tensor | float) -> Tensor:
        found: Tensor = super().__call__(x, sigma)
        return found

    @abstractmethod
    def forward(self, x: Tensor, sigma: Tensor | float) -> Tensor:
        raise NotImplementedError

    def shift(self, x: Tensor, sigma: Tensor | float, label: Tensor) -> Tensor:
        """σ²·∇ₓ log p(c | x; σ), of the shape of x, for labels [B]; 0 for a sample without a label.

        It is what a label adds to an estimate: D(x; σ, c) = D(x; σ) + σ²·∇ₓ log p(c | x; σ).
        (Dhariwal & Nichol 2021, § 4; Karras et al. 2022, eq. 3)
        """
        # sampling runs without gradients
        with torch.inference_mode(False), torch.enable_grad():
            seen, levels = x.detach().clone().requires_grad_(), torch.as_tensor(sigma).clone()
            given = label.clone().clamp(min=0)[:, None]
            chosen = self.to(x.device)(seen, levels).gather(1, given)[:, 0]
            gradient = torch.autograd.grad(chosen.sum(), seen)[0]
        return column(sigma, x) ** 2 * gradient * column(label >= 0, x)
