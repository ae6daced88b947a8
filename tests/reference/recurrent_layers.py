"""One recurrent layer run over one sequence, step by step, and its backward pass by hand.

Errors go back in time: at each step the error at the state is that of the step's own output and
what the next step sent back through ``B_U`` (``weight_hh``). Where the state is projected,
``h = P m`` with ``m`` of the LSTM, the error goes to ``m`` through ``B_P``.
"""

from dataclasses import dataclass

import numpy as np

from tests.reference import recurrent_cells as cells


@dataclass
class Found:
    outputs: np.ndarray
    ended: list
    at_inputs: np.ndarray
    at_states: list
    gradients: dict


def run(kind, inputs, states, named, backward, errors):
    """Return outputs and gradients of a layer of its kind.

    Args:
        kind: "tanh", "relu", "gru", "lstm" or "projected".
        inputs: (steps, features).
        states: ``h``, and ``c`` of an LSTM, to begin with.
        named: Weights and biases, by PyTorch's names.
        backward: What replaces each weight in the backward pass, by the same names.
        errors: The gradient of the loss at the outputs, (steps, features), and at the last states.
    """
    w, u, bw, bu = (named[f"{n}_l0"] for n in ("weight_ih", "weight_hh", "bias_ih", "bias_hh"))
    project = named.get("weight_hr_l0")
    h, c = states[0], states[1] if len(states) > 1 else None
    seen, outputs = [], []
    for x in inputs:
        seen.append((x, h, c))
        _, h, c = forward(kind, x, h, c, (w, u, bw, bu), project)
        outputs.append(h)
    ended = [h] if c is None else [h, c]

    gradients = {name: np.zeros(value.shape) for name, value in named.items()}
    at_inputs = np.zeros(inputs.shape)
    at_h, at_c = errors[1], errors[2] if c is not None else None
    for step in reversed(range(len(inputs))):
        x, h, c = seen[step]
        at_h = at_h + errors[0][step]
        a, b = cells.product(w, x, bw), cells.product(u, h, bu)
        direct = np.zeros(len(h))
        if kind in ("tanh", "relu"):
            _, at_a = cells.elman(a, b, at_h, kind == "relu")
            at_u = at_a
        elif kind == "gru":
            _, at_a, at_u, direct = cells.gru(a, b, h, at_h)
        else:
            inner, _, _ = forward(kind, x, h, c, (w, u, bw, bu), project)
            if project is not None:
                gradients["weight_hr_l0"] += np.outer(at_h, inner)
                at_h = cells.behind(backward["weight_hr_l0"], at_h)
            _, _, at_a, at_c = cells.lstm(a, b, c, at_h, at_c)
            at_u = at_a
        gradients["weight_ih_l0"] += np.outer(at_a, x)
        gradients["weight_hh_l0"] += np.outer(at_u, h)
        gradients["bias_ih_l0"] += at_a
        gradients["bias_hh_l0"] += at_u
        at_inputs[step] = cells.behind(backward["weight_ih_l0"], at_a)
        at_h = cells.behind(backward["weight_hh_l0"], at_u) + direct
    at_states = [at_h] if at_c is None else [at_h, at_c]
    return Found(np.array(outputs), ended, at_inputs, at_states, gradients)


def forward(kind, x, h, c, weights, project):
    """Return the state before it is projected, the next ``h`` and the next ``c``."""
    w, u, bw, bu = weights
    a, b = cells.product(w, x, bw), cells.product(u, h, bu)
    none = np.zeros(len(b))
    if kind in ("tanh", "relu"):
        new, _ = cells.elman(a, b, none, kind == "relu")
        return new, np.array(new), None
    if kind == "gru":
        new = cells.gru(a, b, h, none)[0]
        return new, np.array(new), None
    new, c, _, _ = cells.lstm(a, b, c, np.zeros(len(c)), np.zeros(len(c)))
    out = new if project is None else cells.product(project, new, np.zeros(len(project)))
    return new, np.array(out), np.array(c)
