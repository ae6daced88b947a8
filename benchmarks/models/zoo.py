"""The table of models that the tests and the record of coverage share."""

from benchmarks.models import geometric, hugging_face, lucidrains, plain

MODELS = {
    case.name: case
    for case in (*plain.CASES, *hugging_face.CASES, *lucidrains.CASES, *geometric.CASES)
}
"""The models by their names, in the order of the table."""
