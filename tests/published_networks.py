"""Arguments of a small published network, and iDDPM's noise levels by their recursion."""

import math

TINY = {
    "img_resolution": 8,
    "img_channels": 3,
    "model_type": "SongUNet",
    "model_channels": 8,
    "channel_mult": [1, 1],
    "num_blocks": 1,
    "attn_resolutions": [],
}


def levels(c1: float, c2: float, steps: int) -> list[float]:
    """u_0 … u_M by its recursion, from the end."""

    def alpha_bar(j: int) -> float:
        return math.sin(math.pi / 2 * j / (steps * (c2 + 1))) ** 2

    u = [0.0]
    for j in range(steps, 0, -1):
        u.insert(0, math.sqrt((u[0] ** 2 + 1) / max(alpha_bar(j - 1) / alpha_bar(j), c1) - 1))
    return u
