"""Published results on tasks like those of our records, with their settings and sources.

Figures are the authors' own, in percent unless another unit is given. None of them was measured
here, and none has the network, the data and the budget of the record that it accompanies; the
settings state the differences.
"""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass

from benchmarks.common.tables import Cells, number


@dataclass(frozen=True)
class Study:
    """A table of a paper, or of the code released with a paper.

    Attributes:
        source: Authors, title, year, and the location of the figures.
        setting: Data, training and the differences from ours.
        figure: The quantity of the numbers.
        columns: The headings, one per network or setting.
        rows: For each rule or method, one number per column, None if there is none.
    """

    source: str
    setting: str
    figure: str
    columns: Sequence[str]
    rows: Mapping[str, Sequence[float | None]]

    def cells(self) -> Cells:
        """Return headings and rows."""
        lines = [[name, *(number(each, "g") for each in row)] for name, row in self.rows.items()]
        return (self.figure, *self.columns), lines


BIOTORCH = (
    "Sanfiz and Akrout, *Benchmarking the accuracy and robustness of feedback alignment "
    "algorithms*, 2021; `Benchmarks.md` of the released code (BioTorch)"
)
LOCAL_LOSSES = (
    "Nøkland and Eidnes, *Training neural networks with local error signals*, ICML 2019; README of "
    "the released code"
)
SLOT_MACHINES = (
    "Aladago and Torresani, *Slot machines: discovering winning combinations of random weights in "
    "neural networks*, ICML 2021; values estimated from the plots of the paper"
)
SOFT_HEBB = (
    "Journé, Garcia Rodriguez, Guo and Moraitis, *Hebbian deep learning without feedback*, ICLR "
    "2023, the paper"
)
LAUNAY = (
    "Launay, Poli, Boniface and Krzakala, *Direct feedback alignment scales to modern deep "
    "learning tasks and architectures*, NeurIPS 2020"
)
ERROR = "test error, %"

STUDIES: dict[str, tuple[Study, ...]] = {
    "mnist-mlp": (
        Study(
            BIOTORCH,
            "MNIST, a LeNet; the epoch is chosen on the 10,000 images that are scored.",
            ERROR,
            ("LeNet",),
            {
                "backprop": (0.91,),
                "fa": (1.7,),
                "dfa": (1.61,),
                "usf": (0.94,),
                "brsf": (0.91,),
                "frsf": (0.97,),
            },
        ),
        Study(
            "Nøkland, *Direct feedback alignment provides learning in deep neural networks*, NIPS "
            "2016, abstract",
            "MNIST without the order of its pixels, with dropout.",
            ERROR,
            ("fully connected",),
            {"dfa": (1.45,)},
        ),
        Study(
            LOCAL_LOSSES,
            "MNIST with jitter of 2 pixels, three hidden layers, 100 epochs of Adam, dropout 0.1.",
            ERROR,
            ("MLP, 2.9 M parameters",),
            {"backprop": (0.75,), "dgl (*pred*)": (0.68,), "sim": (0.80,), "predsim": (0.62,)},
        ),
    ),
    "fashion-mlp": (
        Study(
            BIOTORCH,
            "Fashion-MNIST, a LeNet; the epoch is chosen on the 10,000 images that are scored.",
            ERROR,
            ("LeNet",),
            {
                "backprop": (9.2,),
                "fa": (13.06,),
                "dfa": (12.81,),
                "usf": (9.69,),
                "brsf": (10.02,),
                "frsf": (9.61,),
            },
        ),
        Study(
            LOCAL_LOSSES,
            "Fashion-MNIST with jitter of 2 pixels and flips.",
            ERROR,
            ("MLP, 2.9 M parameters",),
            {"backprop": (8.37,), "dgl (*pred*)": (8.60,), "sim": (9.70,), "predsim": (8.54,)},
        ),
    ),
    "cifar-conv": (
        Study(
            BIOTORCH,
            "The original CIFAR-10, a LeNet of 32, 64 and 128 channels (ours has 6 and 16), one "
            "seed, 250 epochs, batches of 128, weight decay 1e-4, the epoch chosen on 5,000 images "
            "apart.",
            ERROR,
            ("SGD with momentum", "Adam"),
            {
                "backprop": (14.23, 15.92),
                "fa": (46.69, 40.67),
                "dfa": (54.21, 37.59),
                "usf": (16.22, 16.34),
                "brsf": (16.02, 17.08),
                "frsf": (16.86, 16.83),
            },
        ),
        Study(
            "Webster, Choi and Ahn, *Learning the connections in direct feedback alignment*, 2021; "
            "README of the released code",
            "The original CIFAR-10, two convolutions and two linear layers, 50 epochs, four runs.",
            "test accuracy, %",
            ("their network",),
            {"backprop": (70.47,), "dfa": (61.02,), "dkp": (67.52,)},
        ),
    ),
    "cifar-resnet20-short": (
        Study(
            BIOTORCH,
            "The original CIFAR-10, one seed, 250 epochs, batches of 128, weight decay 1e-4, the "
            "epoch chosen on 5,000 images apart.",
            ERROR,
            ("ResNet-20, SGD", "ResNet-20, Adam", "ResNet-56, SGD", "ResNet-56, Adam"),
            {
                "backprop": (8.63, 10.01, 8.3, 7.83),
                "fa": (32.16, 29.59, 34.88, 29.23),
                "dfa": (45.94, 32.16, 38.01, 32.02),
                "usf": (10.05, 10.59, 8.2, 9.19),
                "brsf": (11.02, 11.08, 8.69, 10.13),
                "frsf": (11.2, 11.22, 9.49, 10.02),
            },
        ),
    ),
    "cifar-vgg8-narrow": (
        Study(
            LOCAL_LOSSES,
            "The original CIFAR-10 with augmentation, VGG8b at its full width, 400 epochs of Adam.",
            ERROR,
            ("VGG8b, 8.9 M parameters",),
            {"backprop": (5.99,), "dgl (*pred*)": (8.40,), "sim": (7.16,), "predsim": (5.58,)},
        ),
    ),
    "cifar-softhebb": (
        Study(
            SOFT_HEBB,
            "The original CIFAR-10, full width; hidden layers for one epoch, then only the "
            "read-out for 50.",
            "test accuracy, %",
            ("three convolutions",),
            {"softhebb": (80.3,)},
        ),
    ),
    "mnist-softhebb": (
        Study(
            SOFT_HEBB,
            "MNIST, full width; hidden layers for one epoch, then only the read-out for 50.",
            "test accuracy, %",
            ("three convolutions",),
            {"softhebb": (99.4,)},
        ),
    ),
    "slots-mnist": (
        Study(
            SLOT_MACHINES,
            "MNIST, LeNet-300-100.",
            "test accuracy, %",
            ("LeNet-300-100",),
            {"K=2": (97.1,), "K=4": (98.0,), "K=8": (98.2,), "learned weights": (97.95,)},
        ),
    ),
    "slots-cifar": (
        Study(
            SLOT_MACHINES,
            "The original CIFAR-10; ours is CONV-2.",
            "test accuracy, %",
            ("CONV-6",),
            {"K=8": (88.4,), "learned weights": (88.0,)},
        ),
    ),
    "criteo": (
        Study(
            f"{LAUNAY}, by the scripts of its repository, one run each",
            "Criteo; *shallow*: hidden layers do not learn. Adam, batches of 2,048 (Deep & Cross "
            "512), early stopping. Deep & Cross has vectors of 16, 6 cross layers and hidden "
            "layers of 1,024, 1,024; AutoInt vectors of 16, three attention layers of 32 with two "
            "heads, hidden layers of 3 × 400; DeepFM and AFN vectors of 10 and 3 × 400, AFN 1,500 "
            "products. One feedback matrix, uniform in (−1, 1), shared and sliced, divided by the "
            "root of its width. Learning rates of backprop, DFA and shallow: DeepFM 3e-4, 5e-5, "
            "1e-4; Deep & Cross 2e-4, 5e-5, 1e-3; AutoInt 1e-4, 5e-5, 4e-4; AFN 4e-4, 3e-4, 4e-4. "
            "Dropout in the same order: .5, .5, .1; 0, 0, 0; 0, 0, .5; .3, 0, 0.",
            "AUC",
            ("DeepFM", "Deep & Cross", "AutoInt", "AFN", "factorisation machine"),
            {
                "backprop": (0.7954, 0.8104, 0.7937, 0.7933, 0.7915),
                "dfa": (0.7956, 0.8009, 0.7906, 0.7924, None),
                "shallow": (0.7920, 0.7324, 0.7860, 0.7859, None),
            },
        ),
    ),
    "wikitext-103": (
        Study(
            LAUNAY,
            "WikiText-103 in byte pairs, a post-LN decoder of 6 layers, width 512 (2,048 within "
            "feed-forward layers), 8 heads, 128 tokens, batches of 64, gradients clipped at 0.5. "
            "Direct feedback: Adam at 1e-4 with β₂ 0.999, the rate lowered on plateaus; one matrix "
            "of uniform numbers in (−1, 1), sliced to each width, over the root of the widest.",
            "perplexity",
            ("best on validation",),
            {"backprop": (29.8,), "dfa, macro": (52.0,), "dfa, micro": (93.3,)},
        ),
    ),
}
"""The studies by the name of the record, or of the published task, that they accompany."""
