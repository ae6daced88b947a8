"""The devices that PyTorch can compute on here."""

import torch


def devices() -> dict[str, str]:
    """Return what each device is, by the name that PyTorch knows it by."""
    found = {"cpu": f"this machine's processor, {torch.get_num_threads()} threads by PyTorch"}
    kind = torch.accelerator.current_accelerator()
    if kind is not None and torch.accelerator.is_available():
        module = torch.get_device_module(kind)
        for number in range(torch.accelerator.device_count()):
            named = getattr(module, "get_device_name", None)
            found[f"{kind.type}:{number}"] = named(number) if named else "an accelerator"
    return found
