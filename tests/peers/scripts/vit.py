"""A vision transformer on synthetic textures: patches by unfold, a class token, attention written
with einsum beside nn.TransformerEncoderLayer, mixup, OneCycleLR and a moving average of weights."""

import copy

import numpy as np
import torch
from torch import Tensor, nn
from torch.nn import functional as F

rng = np.random.default_rng(8)
CLASSES, SIDE, PATCH, DIM, HEADS, STEPS, BATCH = 5, 24, 4, 48, 4, 60, 32


def textures(n: int) -> tuple[Tensor, Tensor]:
    """Waves whose direction and frequency tell the class."""
    y = rng.integers(0, CLASSES, n)
    gy, gx = np.mgrid[0:SIDE, 0:SIDE] / SIDE
    angle = y * np.pi / CLASSES + rng.normal(0, 0.1, n)
    phase = rng.uniform(0, 2 * np.pi, n)
    wave = np.sin(
        (6 + y)[:, None, None] * 2 * (np.cos(angle)[:, None, None] * gy + np.sin(angle)[:, None, None] * gx)
        + phase[:, None, None]
    )
    colour = rng.uniform(0.5, 1.5, (n, 3, 1, 1))
    x = colour * wave[:, None] + rng.normal(0, 0.3, (n, 3, SIDE, SIDE))
    return torch.from_numpy(x).float(), torch.from_numpy(y)


class PatchEmbedding(nn.Module):
    def __init__(self, patch: int, dim: int) -> None:
        super().__init__()
        self.unfold = nn.Unfold(kernel_size=patch, stride=patch)
        self.proj = nn.Linear(3 * patch * patch, dim)

    def forward(self, x: Tensor) -> Tensor:
        return self.proj(self.unfold(x).permute(0, 2, 1))


class Attention(nn.Module):
    def __init__(self, dim: int, heads: int = 4) -> None:
        super().__init__()
        self.heads, self.scale = heads, (dim // heads) ** -0.5
        self.qkv = nn.Linear(dim, dim * 3, bias=False)
        self.proj = nn.Linear(dim, dim)

    def forward(self, x: Tensor) -> Tensor:
        b, n, d = x.shape
        q, k, v = self.qkv(x).reshape(b, n, 3, self.heads, d // self.heads).permute(2, 0, 3, 1, 4).unbind(0)
        attn = torch.einsum("bhid,bhjd->bhij", q, k) * self.scale
        attn = attn.softmax(dim=-1)
        out = torch.einsum("bhij,bhjd->bhid", attn, v)
        return self.proj(out.transpose(1, 2).flatten(2))


class PreNorm(nn.Module):
    def __init__(self, dim: int, fn: nn.Module) -> None:
        super().__init__()
        self.norm, self.fn = nn.LayerNorm(dim), fn
        self.gamma = nn.Parameter(torch.full((dim,), 0.5))

    def forward(self, x: Tensor) -> Tensor:
        return x + self.gamma * self.fn(self.norm(x))


class ViT(nn.Module):
    def __init__(self) -> None:
        super().__init__()
        patches = (SIDE // PATCH) ** 2
        self.embed = PatchEmbedding(PATCH, DIM)
        self.cls_token = nn.Parameter(torch.zeros(1, 1, DIM))
        self.pos_embed = nn.Parameter(torch.zeros(1, patches + 1, DIM))
        mlp = nn.Sequential(nn.Linear(DIM, DIM * 2), nn.GELU(), nn.Dropout(0.0), nn.Linear(DIM * 2, DIM))
        self.first = nn.Sequential(PreNorm(DIM, Attention(DIM, HEADS)), PreNorm(DIM, mlp))
        layer = nn.TransformerEncoderLayer(
            DIM, HEADS, DIM * 2, dropout=0.0, activation="gelu", batch_first=True, norm_first=True
        )
        self.encoder = nn.TransformerEncoder(layer, num_layers=2, norm=nn.LayerNorm(DIM), enable_nested_tensor=False)
        self.head = nn.Linear(DIM, CLASSES)

    def forward(self, x: Tensor) -> Tensor:
        x = self.embed(x)
        cls = self.cls_token.expand(x.shape[0], -1, -1)
        x = torch.cat((cls, x), dim=1) + self.pos_embed
        return self.head(self.encoder(self.first(x))[:, 0])


@torch.no_grad()
def numpy_init(model: nn.Module) -> None:
    for name, p in model.named_parameters():
        if p.dim() >= 2:
            p.copy_(torch.from_numpy(rng.normal(0, 0.08, tuple(p.shape))))
        elif "bias" in name:
            p.zero_()


class EMA:
    def __init__(self, model: nn.Module, decay: float = 0.9) -> None:
        self.module = copy.deepcopy(model).eval().requires_grad_(False)
        self.decay = decay

    @torch.no_grad()
    def update(self, model: nn.Module) -> None:
        for mine, theirs in zip(self.module.parameters(), model.parameters()):
            mine.lerp_(theirs, 1 - self.decay)


model = ViT()
numpy_init(model)
ema = EMA(model)
decay, no_decay = [], []
for name, p in model.named_parameters():
    (no_decay if p.ndim <= 1 or name in {"cls_token", "pos_embed"} else decay).append(p)
optimizer = torch.optim.AdamW(
    [{"params": decay, "weight_decay": 0.05}, {"params": no_decay, "weight_decay": 0.0}], lr=1e-3
)
scheduler = torch.optim.lr_scheduler.OneCycleLR(optimizer, max_lr=2e-3, total_steps=STEPS)
criterion = nn.CrossEntropyLoss(label_smoothing=0.1)
for step in range(STEPS):
    x, y = textures(BATCH)
    lam = float(rng.beta(0.3, 0.3))
    perm = torch.as_tensor(rng.permutation(BATCH))
    mixed = lam * x + (1 - lam) * x[perm]
    logits = model(mixed)
    loss = lam * criterion(logits, y) + (1.0 - lam) * criterion(logits, y[perm])
    optimizer.zero_grad()
    loss.backward()
    optimizer.step()
    scheduler.step()
    ema.update(model)
    if step % 3 == 0:
        print(f"step {step:3d} | loss {loss.item():.7f} | lr {scheduler.get_last_lr()[0]:.2e}")
x, y = textures(128)
with torch.no_grad():
    test = F.cross_entropy(ema.module(x), y)
    acc = (ema.module(x).argmax(-1) == y).sum().item() / len(y)
print(f"ema loss {test.item():.6f} accuracy {acc:.2f}")
