"""Convolutions of every kind, and the modules around them."""

import torch
from torch import Tensor, nn

from .case import Case


class ChannelsLast(nn.Module):
    def forward(self, x: Tensor) -> Tensor:
        return x.contiguous(memory_format=torch.channels_last)


class UNet(nn.Module):
    """Down, up, and a skip between; a class for every pixel or for the image."""

    def __init__(self, pixels: bool) -> None:
        super().__init__()
        self.pixels = pixels
        self.before = nn.Sequential(nn.Conv2d(2, 3, 3, padding=1), nn.ReLU())
        self.down = nn.Sequential(nn.Conv2d(3, 4, 2, stride=2), nn.ReLU())
        self.up = nn.Sequential(nn.ConvTranspose2d(4, 3, 2, stride=2), nn.ReLU())
        self.head = nn.Conv2d(6, 4, 1)

    def forward(self, x: Tensor) -> Tensor:
        before = self.before(x)
        logits = self.head(torch.cat([before, self.up(self.down(before))], 1))
        return logits if self.pixels else logits.mean((2, 3))


class Squeezed(nn.Module):
    """Squeeze and excite: a block scales its channels by what a small net makes of their means."""

    def __init__(self) -> None:
        super().__init__()
        self.conv = nn.Conv2d(2, 4, 3, padding=1)
        self.excite = nn.Sequential(nn.Linear(4, 2), nn.ReLU(), nn.Linear(2, 4), nn.Sigmoid())

    def forward(self, x: Tensor) -> Tensor:
        x = self.conv(x)
        return x * self.excite(x.mean((2, 3)))[:, :, None, None]


class Autoencoder(nn.Module):
    """A class head on the code, and a reconstruction that only goes into the head's input."""

    def __init__(self) -> None:
        super().__init__()
        self.encoder = nn.Sequential(nn.Conv1d(2, 4, 3, stride=2, padding=1), nn.Tanh())
        self.decoder = nn.Sequential(
            nn.ConvTranspose1d(4, 2, 3, stride=2, padding=1, output_padding=1), nn.Tanh()
        )
        self.head = nn.Linear(16 + 16, 4)

    def forward(self, x: Tensor) -> Tensor:
        code = self.encoder(x)
        return self.head(torch.cat([code.flatten(1), self.decoder(code).flatten(1)], 1))


def convnet() -> nn.Module:
    return nn.Sequential(
        nn.Conv2d(2, 4, 3, padding=1),
        nn.BatchNorm2d(4),
        nn.ReLU(inplace=True),
        nn.Conv2d(4, 6, 3, stride=2, groups=2, bias=False),
        nn.ReLU(),
        nn.AdaptiveAvgPool2d(2),
        nn.Flatten(),
        nn.Linear(24, 4),
    )


def group_normed() -> nn.Module:
    """The convnet with norms that do not couple samples."""
    model = convnet()
    model[1] = nn.GroupNorm(2, 4)
    return model


def normed() -> nn.Module:
    return nn.Sequential(
        nn.Conv2d(2, 4, 3, padding=1),
        nn.GroupNorm(2, 4),
        nn.PReLU(4),
        nn.Conv2d(4, 4, 3, padding="same", dilation=2, groups=4),
        nn.InstanceNorm2d(4, affine=True),
        nn.ReLU(),
        nn.Conv2d(4, 4, (1, 2), padding=(0, 1), padding_mode="circular"),
        nn.Tanh(),
        nn.Flatten(),
        nn.Linear(4 * 4 * 5, 4),
    )


def volumes() -> nn.Module:
    return nn.Sequential(
        nn.Conv3d(1, 3, 2), nn.ReLU(), nn.Conv3d(3, 2, 2), nn.Flatten(), nn.Linear(2, 4)
    )


def sounds() -> nn.Module:
    return nn.Sequential(
        nn.Conv1d(2, 4, 3, padding="same"),
        nn.BatchNorm1d(4),
        nn.ReLU(),
        nn.Conv1d(4, 4, 3, stride=2, dilation=2),
        nn.ReLU(),
        nn.Flatten(),
        nn.Linear(8, 4),
    )


def channels_last() -> nn.Module:
    # Not with a group norm: PyTorch 2.13 crashes on the gradient of its weight or bias alone.
    model = nn.Sequential(ChannelsLast(), *convnet())
    return model.to(memory_format=torch.channels_last)


PIXELS = {
    "sim": "compares samples, but here every position",
    "predsim": "compares samples, but here every position",
}
IMAGES = ((6, 2, 4, 4),)
UNET = ["before", "down", "up", "head"]

CASES = [
    Case("convnet", convnet, inputs=((6, 2, 8, 8),)),
    Case("conv-group-norm", group_normed, inputs=((6, 2, 8, 8),)),
    Case("conv-norms-paddings", normed, inputs=IMAGES),
    Case("conv-channels-last", channels_last, inputs=((6, 2, 8, 8),)),
    Case("conv-1d", sounds, inputs=((6, 2, 8),)),
    Case("conv-3d", volumes, inputs=((6, 1, 3, 3, 3),)),
    Case("unet", lambda: UNet(False), inputs=IMAGES, blocks=UNET),
    Case(
        "unet-pixels",
        lambda: UNet(True),
        inputs=((6, 2, 6, 6),),
        targets=(6, 6, 6),
        blocks=UNET,
        logits=lambda out: [out.movedim(1, -1)],
        refused=PIXELS,
    ),
    Case(
        "squeeze-excite",
        lambda: nn.Sequential(Squeezed(), nn.ReLU(), nn.Flatten(), nn.Linear(64, 4)),
        inputs=IMAGES,
    ),
    Case("autoencoder", Autoencoder, inputs=((6, 2, 8),), blocks=["encoder", "decoder", "head"]),
]
