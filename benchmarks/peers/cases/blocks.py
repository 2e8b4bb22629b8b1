"""The transformer block that the GPT and the ViT share, in both forms: pre-norm, GELU, no
dropout."""

from __future__ import annotations

from typing import Any


def attention_class(lib: Any) -> Any:
    """`scaled_dot_product_attention` as a module without weights, so that hooks can see its
    shapes."""
    F = lib.nn.functional

    class Attention(lib.nn.Module):
        def __init__(self, causal: bool) -> None:
            super().__init__()
            self.causal = causal

        def forward(self, q: Any, k: Any, v: Any) -> Any:
            return F.scaled_dot_product_attention(q, k, v, is_causal=self.causal)

    return Attention


def block_class(lib: Any) -> Any:
    """A block as users write it: fused projection to q, k, v; attention; a perceptron four wide."""
    nn = lib.nn
    attention = attention_class(lib)

    class Block(nn.Module):
        def __init__(self, width: int, heads: int, causal: bool) -> None:
            super().__init__()
            self.heads = heads
            self.ln1, self.ln2 = nn.LayerNorm(width), nn.LayerNorm(width)
            self.qkv, self.proj = nn.Linear(width, 3 * width), nn.Linear(width, width)
            self.attend = attention(causal)
            self.up, self.down = nn.Linear(width, 4 * width), nn.Linear(4 * width, width)
            self.act = nn.GELU()

        def forward(self, x: Any) -> Any:
            b, t, c = x.shape
            qkv = self.qkv(self.ln1(x)).reshape(b, t, 3, self.heads, c // self.heads)
            q, k, v = qkv.permute(2, 0, 3, 1, 4).unbind(0)
            y = self.attend(q, k, v).transpose(1, 2).reshape(b, t, c)
            x = x + self.proj(y)
            return x + self.down(self.act(self.up(self.ln2(x))))

    return Block


def block(o: Any, x: Any, name: str, heads: int, causal: bool) -> Any:
    """The same over functions; `o.attention` takes and gives (batch, time, heads, width)."""
    b, t, c = x.shape
    qkv = o.reshape(o.linear(o.layer_norm(x, f"{name}.ln1"), f"{name}.qkv"),
                    (b, t, 3, heads, c // heads))  # fmt: skip
    y = o.attention(qkv[:, :, 0], qkv[:, :, 1], qkv[:, :, 2], causal)
    x = x + o.linear(o.reshape(y, (b, t, c)), f"{name}.proj")
    y = o.gelu(o.linear(o.layer_norm(x, f"{name}.ln2"), f"{name}.up"))
    return x + o.linear(y, f"{name}.down")
