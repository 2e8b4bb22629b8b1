"""Sample calls that answer with Python objects."""

VALUES = """
f.numel(x)
x.numel(), x.nelement(), x.dim(), x.ndimension(), x.ndim, len(x)
x.size(), x.size(-1), x.shape, x.stride(), c.stride(1), x[1:, 1:].storage_offset()
x.element_size(), x.nbytes, x.itemsize
f.is_tensor(x), f.is_tensor(3), f.is_storage(3), f.is_storage(x.untyped_storage())
f.is_floating_point(x), f.is_floating_point(i), x.is_floating_point()
f.is_complex(x), x.is_complex(), f.is_conj(x), x.is_conj(), f.is_neg(x), x.is_neg()
f.is_signed(x), f.is_signed(n.to(f.uint8)), x.is_signed()
f.is_nonzero(o), f.is_same_size(x, y), x.is_same_size(v), f.is_inference(x), x.is_inference()
x.is_contiguous(), x.t().is_contiguous(), c[:, :, :1].is_contiguous()
c[None].contiguous(memory_format=f.channels_last).stride()
c[None].contiguous(memory_format=f.channels_last).is_contiguous(memory_format=f.channels_last)
x.is_leaf, x.requires_grad, (x * 2).requires_grad, (x * 2).is_leaf, x.grad, x.grad_fn
x.is_cuda, x.is_cpu, x.is_sparse, x.is_quantized, x.is_meta, x.get_device(), f.get_device(x)
x.is_pinned(), x.is_set_to(x), x.is_set_to(y), x.t().dim_order(), x.retains_grad, x.output_nr
x.type().split(".")[-1], i.type().split(".")[-1], x.type(f.float32).dtype == f.float32
x.half().dtype == f.float16, x.bfloat16().dtype == f.bfloat16, x.int().dtype == f.int32
x.to(f.float32).dtype == f.float32, x.to(i).dtype == f.int64, x.to("cpu") is x, x.to(x.dtype, copy=True) is x
x.double().dtype == f.float64, i.bool().tolist(), x.long().dtype == f.int64, x.type_as(i).dtype == f.int64
x.char().dtype == f.int8, x.byte().dtype == f.uint8, x.short().dtype == f.int16, x.float().dtype == f.float32
f.result_type(i, 1.0) == f.get_default_dtype(), f.result_type(x, f.tensor(1)) == x.dtype
f.can_cast(f.float64, f.float32), f.can_cast(f.float32, f.int32), f.can_cast(f.bool, f.int8), f.can_cast(f.int8, f.bool)
f.can_cast(f.int32, f.uint8)
f.promote_types(f.int32, f.float16) == f.float16, f.promote_types(f.uint8, f.int8) == f.int16
f.finfo(f.float32).eps, f.finfo(f.float64).max, f.finfo(f.float16).tiny, f.finfo(f.bfloat16).bits, f.finfo(f.float32).min
f.finfo(f.float32).resolution, f.finfo(f.bfloat16).smallest_normal, f.finfo(f.float32).dtype
f.iinfo(f.int8).min, f.iinfo(f.uint16).max, f.iinfo(f.int64).max, f.iinfo(f.int32).bits, f.iinfo(f.int32).dtype
f.broadcast_shapes((3, 1), (4,)), f.broadcast_shapes(2, (1, 1))
n.tolist(), o.item() == float(o), int(n[0, 0]), [10, 20, 30, 40, 50, 60, 70, 80, 90][n[0, 0]]
1.5 in f.tensor([1.5, 2.0]), 3 in f.tensor([1.5, 2.0])
f"{f.tensor(1.5):.3f}", f"{f.tensor(7)}", bool(f.tensor(0.0)), bool(f.tensor([[2]]))
hash(x) == hash(x), {x: 1}[x], x in [x]
f.get_num_interop_threads() > 0, f.is_warn_always_enabled(), f.get_deterministic_debug_mode()
f.get_float32_matmul_precision(), f.are_deterministic_algorithms_enabled(), str(f.get_default_device())
f.inf, f.nan != f.nan, f.pi, f.e, f.newaxis
f.cuda.is_available(), f.cuda.device_count(), f.backends.mps.is_available()
f.tensor([1.0, 2.0]).tolist(), f.tensor(3).tolist(), f.tensor([True]).tolist()
f.Size([2, 3]).numel(), f.Size([2, 3])[1:], f.Size([2]) + (3,)
x.view(f.int32).shape, f.tensor([1.0, 2.0]).view(f.int32).tolist(), f.arange(4).view(f.uint8).shape
x.data_ptr() == x.detach().data_ptr(), x.untyped_storage().nbytes(), len(x[0].untyped_storage())
x.diagonal().data_ptr() == x.data_ptr(), x.ravel().data_ptr() == x.data_ptr(), x.unfold(0, 2, 1).data_ptr() == x.data_ptr()
x.swapaxes(0, 1).data_ptr() == x.data_ptr(), f.atleast_3d(x).data_ptr() == x.data_ptr(), f.hsplit(x, 2)[0].data_ptr() == x.data_ptr()
"""
