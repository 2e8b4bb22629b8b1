"""Mixed precision, as `torch.amp`: `autocast` and the gradient scaler."""

from fanal.amp.autocast import autocast, custom_bwd, custom_fwd, is_autocast_available
from fanal.amp.grad_scaler import GradScaler

__all__ = ["GradScaler", "autocast", "custom_bwd", "custom_fwd", "is_autocast_available"]
