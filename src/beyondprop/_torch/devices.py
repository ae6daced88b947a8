"""The devices on which PyTorch can compute."""

import torch


def devices() -> dict[str, str]:
    """Return a description of each device, by its name in PyTorch."""
    threads = torch.get_num_threads()
    uses = f"PyTorch uses {threads} thread{'s' * (threads != 1)}"
    found = {"cpu": f"this machine's processor; {uses}"}
    kind = torch.accelerator.current_accelerator()
    if kind is not None and torch.accelerator.is_available():
        module = torch.get_device_module(kind)
        for number in range(torch.accelerator.device_count()):
            named = getattr(module, "get_device_name", None)
            found[f"{kind.type}:{number}"] = named(number) if named else "an accelerator"
    return found
