"""Deletion and insertion curves, pixel by pixel: Petsiuk, Das and Saenko 2018, algorithm 1."""

import torch


def deletion(model, images, classes, maps, absent, steps):
    """Return the class's probability while pixels are taken away, the most important first."""
    return _curves(model, images, classes, maps, absent, steps, shows=False)


def insertion(model, images, classes, maps, absent, steps):
    """Return the class's probability while pixels are put in, the most important first."""
    return _curves(model, images, classes, maps, absent, steps, shows=True)


def _curves(model, images, classes, maps, absent, steps, shows):
    _, _, height, width = images.shape
    curves = []
    for image, chosen, one in zip(images, classes.tolist(), maps, strict=True):
        places = [(i, j) for i in range(height) for j in range(width)]
        places.sort(key=lambda at: -sum(one[c, at[0], at[1]].item() for c in range(len(one))))
        curve = []
        for step in range(steps + 1):
            now = (absent if shows else image).clone()
            for rank, (i, j) in enumerate(places):
                if rank / len(places) < step / steps:
                    now[:, i, j] = (image if shows else absent)[:, i, j]
            with torch.no_grad():
                curve.append(model(now[None]).softmax(1)[0, chosen].item())
        curves.append(curve)
    return torch.tensor(curves)
