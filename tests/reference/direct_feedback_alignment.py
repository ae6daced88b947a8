"""Direct feedback alignment (Nøkland 2016): ``δ_l = (B_l e) ⊙ f'(a_l)`` for every hidden layer.

``feedback[l]`` has shape (width of layer l, classes).
"""

from .network import output_error, through_tanh


def deltas(feedback):
    def of_sample(states, target):
        error = output_error(states[-1], target)
        hidden = [
            through_tanh(matrix @ error, h)
            for matrix, h in zip(feedback, states[1:-1], strict=True)
        ]
        return [*hidden, error]

    return of_sample
