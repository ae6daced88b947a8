"""Tasks by name."""

from beyondprop.registry import Registry, Spec
from beyondprop.tasks import (
    adult,
    cifar,
    digits,
    families,
    fashion_small,
    goodness,
    graphs,
    language,
    mnist,
    multimodal,
    random_features,
    slot_machines,
    soft_hebb,
    views,
)
from beyondprop.tasks.base import Task
from beyondprop.tasks.recommenders import movielens


def of_file(name: str) -> str:
    """Return how to write a table file as a task; an empty string for other names."""
    if not name.lower().endswith((".csv", ".csv.gz")):
        return ""
    return f"a CSV file is a task as {{task: from_csv, path: {name}, target: COLUMN}}"


TASKS: Registry[Task] = Registry(
    "task",
    Task,
    {
        task.name: task
        for task in (
            fashion_small.FASHION_SMALL,
            fashion_small.FASHION_SMALL_VIT,
            digits.DIGITS_MLP,
            digits.DIGITS_CONV,
            mnist.MNIST_MLP,
            mnist.FASHION_MLP,
            cifar.CIFAR_CONV,
            cifar.CIFAR_RESNET20,
            cifar.CIFAR_VGG8,
            cifar.CIFAR_VGG8_NARROW,
            cifar.CIFAR_VIT,
            goodness.DIGITS_GOODNESS,
            goodness.MNIST_GOODNESS,
            goodness.CIFAR_GOODNESS,
            slot_machines.DIGITS_SLOTS,
            slot_machines.MNIST_SLOTS,
            slot_machines.ADULT_SLOTS,
            soft_hebb.DIGITS_SOFT_HEBB,
            soft_hebb.MNIST_SOFT_HEBB,
            soft_hebb.CIFAR_SOFT_HEBB,
            random_features.DIGITS_OPTICAL_FEATURES,
            random_features.DIGITS_OPTICAL_COMPLETION,
            random_features.DIGITS_OPTICAL_DEFENCE,
            random_features.MNIST_OPTICAL_FEATURES,
            random_features.MNIST_OPTICAL_DEFENCE,
            movielens.MOVIELENS_FM,
            movielens.MOVIELENS_DEEPFM,
            movielens.MOVIELENS_DCN,
            movielens.MOVIELENS_AUTOINT,
            movielens.MOVIELENS_AFN,
            graphs.CORA_GCN,
            graphs.CORA_CHEB,
            graphs.CORA_GAT,
            graphs.CORA_SAGE,
            graphs.CORA_SPLINE,
            language.SHAKESPEARE_PRE_MACRO,
            language.SHAKESPEARE_PRE_MICRO,
            language.SHAKESPEARE_POST_MACRO,
            language.SHAKESPEARE_POST_MICRO,
            views.VIEWS_SCENE,
            multimodal.MFEAT_ALL,
            multimodal.MFEAT_FEW,
            multimodal.MFEAT_CORRUPTED,
            multimodal.SPOKEN_DIGITS,
            multimodal.CLOTHING_REVIEWS,
            multimodal.GENERATED_AMBIGUOUS,
        )
    }
    | {"adult-mlp": adult.adult}
    | families.FAMILIES,
    key="task",
    makers={"from_csv": Task.from_csv, "from_folder": Task.from_folder},
    lines={
        "adult-mlp": "the adult census table, three linear layers",
        "scaled-fashion": "Fashion-MNIST, linear layers of a chosen width and depth",
        "scaled-fashion-small": "fashion-small, linear layers of a chosen width and depth",
        "scaled-shakespeare": "Tiny Shakespeare, a post-LN decoder of a chosen width and depth",
        "from_csv": "a table: {task: from_csv, path: FILE.csv, target: COLUMN}",
        "from_folder": "images, a folder for each class: {task: from_folder, path: FOLDER}",
    },
    advice=of_file,
)
"""All registered tasks by name, the default first."""


def find(spec: Spec) -> Task:
    """Return the task with this name.

    Args:
        spec: One of `TASKS`, or "my.module:attribute", looked up from the current directory; the
            attribute is a `Task` or a callable that returns one. See `beyondprop.registry.spec` for
            arguments.

    Raises:
        UserError: There is no such task; the message lists the available ones.
    """
    return TASKS.make(spec)
