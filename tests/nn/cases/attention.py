"""Attention and transformers."""

from __future__ import annotations

from typing import Any

from tests.nn.cases.case import Cases, M, b, v, x

CASES = Cases()
c = CASES
inf = float("inf")
causal = v([[0.0, -inf, -inf], [0.0, 0.0, -inf], [0.0, 0.0, 0.0]])
hidden = v([[False, True, True], [False, False, True], [False, False, False]])
lower = v([[True, False, False], [True, True, False], [True, True, True]])
padding = v([[False, False, True], [False, False, False]])
ipadding = v([[0.0, 0.0, -inf], [0.0, 0.5, 0.0]])

sdpa = "scaled_dot_product_attention"
qkv = (x(2, 2, 3, 4), x(2, 2, 3, 4), x(2, 2, 3, 5))
c.function(sdpa, *qkv)
c.function(sdpa, *qkv, attn_mask=lower)
c.function(sdpa, *qkv, attn_mask=x(2, 1, 3, 3))
c.function(sdpa, *qkv, is_causal=True)
c.function(sdpa, *qkv, scale=0.3)
c.function(sdpa, x(2, 3, 4), x(2, 5, 4), x(2, 5, 2), attn_mask=b(3, 5, p=0.6))
c.function(sdpa, x(3, 4), x(5, 4), x(5, 4))
c.function(sdpa, x(1, 4, 3, 4), x(1, 2, 3, 4), x(1, 2, 3, 4), enable_gqa=True)
c.function(sdpa, x(1, 1, 2, 4), x(1, 1, 3, 4), x(1, 1, 3, 4),
           attn_mask=v([[True, False, True], [False, False, False]]), tag="hidden")  # fmt: skip


def same(library: Any, module: Any, x: Any, **options: Any) -> Any:
    return module(x, x, x, **options)


MHA = "MultiheadAttention"
three = (x(3, 2, 4), x(3, 2, 4), x(3, 2, 4))
c.layer(MHA, 4, 2, on=three)
c.layer(MHA, 4, 2, bias=False, batch_first=True, on=(x(2, 3, 4), x(2, 5, 4), x(2, 5, 4)))
c.layer(MHA, 4, 2, add_bias_kv=True, add_zero_attn=True, on=three, call={"attn_mask": causal})
c.layer(MHA, 4, 2, add_bias_kv=True, on=three, call={"attn_mask": hidden, "key_padding_mask": padding})
c.layer(MHA, 4, 2, kdim=3, vdim=5, on=(x(3, 2, 4), x(4, 2, 3), x(4, 2, 5)))
c.layer(MHA, 4, 2, kdim=3, vdim=5, batch_first=True, on=(x(2, 3, 4), x(2, 4, 3), x(2, 4, 5)))
c.layer(MHA, 4, 2, on=three, call={"need_weights": False})
c.layer(MHA, 4, 2, on=three, call={"average_attn_weights": False})
c.layer(MHA, 4, 2, on=three, call={"key_padding_mask": padding})
c.layer(MHA, 4, 2, on=three, call={"key_padding_mask": ipadding, "attn_mask": causal})
c.layer(MHA, 4, 2, on=three, call={"attn_mask": x(4, 3, 3), "need_weights": False})
c.layer(MHA, 4, 2, on=three, call={"attn_mask": causal, "is_causal": True, "need_weights": False})
c.layer(MHA, 4, 2, on=three, call={"attn_mask": causal, "is_causal": True})
c.layer(MHA, 4, 2, on=(x(3, 4), x(5, 4), x(5, 4)))
c.layer(MHA, 4, 2, batch_first=True, on=(x(3, 4), x(3, 4), x(3, 4)),
        call={"attn_mask": hidden, "average_attn_weights": False})  # fmt: skip
c.layer(MHA, 4, 1, on=(x(3, 2, 4), x(3, 2, 4), x(3, 2, 4)), train=False)

layer = {"dim_feedforward": 6, "dropout": 0.0}
masks = {"src_mask": causal, "src_key_padding_mask": ipadding}
c.layer("TransformerEncoderLayer", 4, 2, **layer, on=x(3, 2, 4))
c.layer("TransformerEncoderLayer", 4, 2, **layer, activation="gelu", norm_first=True, batch_first=True,
        on=x(2, 3, 4), call=masks)  # fmt: skip
c.layer("TransformerEncoderLayer", 4, 2, **layer, bias=False, layer_norm_eps=0.1, on=x(3, 4))
c.layer("TransformerEncoderLayer", 4, 2, dim_feedforward=6, train=False, on=x(3, 2, 4))
c.layer("TransformerEncoder", M("TransformerEncoderLayer", (4, 2), layer), 2, on=x(3, 2, 4),
        call={"mask": causal})  # fmt: skip
c.layer("TransformerEncoder", M("TransformerEncoderLayer", (4, 2), layer), 2, M("LayerNorm", (4,)),
        on=x(3, 2, 4), call={"src_key_padding_mask": padding})  # fmt: skip
c.layer("TransformerDecoderLayer", 4, 2, **layer, on=(x(3, 2, 4), x(5, 2, 4)), call={"tgt_mask": causal})
c.layer("TransformerDecoderLayer", 4, 2, **layer, norm_first=True, batch_first=True,
        on=(x(2, 3, 4), x(2, 5, 4)),
        call={"tgt_key_padding_mask": padding, "memory_key_padding_mask": b(2, 5, p=0.3)})  # fmt: skip
c.layer("TransformerDecoder", M("TransformerDecoderLayer", (4, 2), layer), 2, M("LayerNorm", (4,)),
        on=(x(3, 2, 4), x(5, 2, 4)))  # fmt: skip
c.layer("Transformer", 4, 2, 1, 1, **layer, on=(x(5, 2, 4), x(3, 2, 4)), call={"tgt_mask": causal})
c.layer("Transformer", 4, 2, 1, 1, **layer, batch_first=True, norm_first=True, bias=False,
        on=(x(2, 5, 4), x(2, 3, 4)))  # fmt: skip
