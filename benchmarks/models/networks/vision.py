"""Models of images: an MLP-Mixer (Tolstikhin et al. 2021) and a U-Net (Ronneberger et al. 2015)."""

import torch
from torch import Tensor, nn


class MixerBlock(nn.Module):
    """Mix patches, then features."""

    def __init__(self, patches: int, dim: int, hidden: int):
        super().__init__()
        self.norm1 = nn.LayerNorm(dim)
        self.mix_patches = nn.Sequential(
            nn.Linear(patches, hidden), nn.GELU(), nn.Linear(hidden, patches)
        )
        self.norm2 = nn.LayerNorm(dim)
        self.mix_features = nn.Sequential(nn.Linear(dim, hidden), nn.GELU(), nn.Linear(hidden, dim))

    def forward(self, x: Tensor) -> Tensor:
        mixed: Tensor = self.mix_patches(self.norm1(x).transpose(1, 2))  # (batch, dim, patches)
        x = x + mixed.transpose(1, 2)  # (batch, patches, dim)
        return x + self.mix_features(self.norm2(x))


class Mixer(nn.Module):
    """A classifier of images."""

    def __init__(self, side: int, patch: int, dim: int, depth: int, classes: int):
        super().__init__()
        self.embed = nn.Conv2d(3, dim, patch, stride=patch)
        patches = (side // patch) ** 2
        self.blocks = nn.Sequential(*(MixerBlock(patches, dim, 2 * dim) for _ in range(depth)))
        self.norm = nn.LayerNorm(dim)
        self.head = nn.Linear(dim, classes)

    def forward(self, images: Tensor) -> Tensor:
        x = self.embed(images).flatten(2).transpose(1, 2)  # (batch, patches, dim)
        x = self.norm(self.blocks(x)).mean(1)  # (batch, dim)
        return self.head(x)


class DoubleConv(nn.Sequential):
    """Two convolutions with batch norm."""

    def __init__(self, inputs: int, outputs: int):
        super().__init__(
            nn.Conv2d(inputs, outputs, 3, padding=1, bias=False),
            nn.BatchNorm2d(outputs),
            nn.ReLU(inplace=True),
            nn.Conv2d(outputs, outputs, 3, padding=1, bias=False),
            nn.BatchNorm2d(outputs),
            nn.ReLU(inplace=True),
        )


class Up(nn.Module):
    """Upsampling by two, joined with the features of the same resolution from the way down."""

    def __init__(self, inputs: int, outputs: int):
        super().__init__()
        self.up = nn.ConvTranspose2d(inputs, outputs, 2, stride=2)
        self.conv = DoubleConv(2 * outputs, outputs)

    def forward(self, x: Tensor, skip: Tensor) -> Tensor:
        return self.conv(torch.cat([skip, self.up(x)], 1))


class UNet(nn.Module):
    """A classifier of pixels."""

    def __init__(self, width: int, classes: int):
        super().__init__()
        self.inc = DoubleConv(3, width)
        self.down1 = nn.Sequential(nn.MaxPool2d(2), DoubleConv(width, 2 * width))
        self.down2 = nn.Sequential(nn.MaxPool2d(2), DoubleConv(2 * width, 4 * width))
        self.up1 = Up(4 * width, 2 * width)
        self.up2 = Up(2 * width, width)
        self.outc = nn.Conv2d(width, classes, 1)

    def forward(self, images: Tensor) -> Tensor:
        x1 = self.inc(images)  # (batch, width, height, width)
        x2 = self.down1(x1)
        x3 = self.down2(x2)
        x = self.up2(self.up1(x3, x2), x1)
        return self.outc(x)  # (batch, classes, height, width)
