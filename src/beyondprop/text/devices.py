"""Messages on devices."""

from beyondprop._torch.devices import devices
from beyondprop.errors import UserError
from beyondprop.text.hint import did_you_mean

KINDS = ("cuda", "mps", "xpu")
"""Kinds of accelerators that a name may mean, also if this machine has none."""


def unusable(name: str, error: Exception) -> UserError:
    """Return the error for a device that PyTorch refuses.

    Args:
        name: The device's name, as it was given.
        error: PyTorch's reason, which is a list of all devices that it could be built for if it
            does not know the name.
    """
    reason = str(error).partition("\n")[0]
    if not reason.startswith(("Expected one of", "Invalid device string")):
        return UserError(f"device {name!r} cannot be used here ({reason}); try cpu")
    hint = did_you_mean(name, (*devices(), *KINDS)) or "; try cpu"
    return UserError(f"device {name!r} cannot be used here, since PyTorch has none{hint}")
