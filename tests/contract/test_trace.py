"""How far a signal walks: calls of the library's own functions in one step, and the page."""

import importlib.util
import sys
from pathlib import Path

import beyondprop as bp

SCRIPT = Path(__file__).parents[2] / "docs" / "trace_step.py"


def loaded():
    spec = importlib.util.spec_from_file_location("trace_step", SCRIPT)
    module = importlib.util.module_from_spec(spec)
    sys.modules[spec.name] = module
    spec.loader.exec_module(module)
    return module


trace_step = loaded()


def within(trace, calls, files):
    found = len(trace.calls), len(trace.files)
    assert found[0] <= calls, trace
    assert found[1] <= files, trace
    return found


def test_forward_of_direct_feedback_alignment():
    forward, _ = trace_step.traced_step(bp.DirectFeedbackAlignment())
    assert within(forward, calls=25, files=5) > (10, 2)


def test_backward_of_direct_feedback_alignment():
    _, backward = trace_step.traced_step(bp.DirectFeedbackAlignment())
    assert within(backward, calls=18, files=5) > (5, 2)


def test_forward_of_a_local_cross_entropy():
    forward, _ = trace_step.traced_step(bp.LocalLoss(bp.CrossEntropy()))
    assert within(forward, calls=62, files=7) > (20, 3)


def test_a_trace_repeats_and_leaves_the_profiler_as_it_was():
    before = sys.getprofile()
    traces = [trace_step.traced_step(bp.DirectFeedbackAlignment()) for _ in range(2)]
    assert traces[0] == traces[1]
    assert sys.getprofile() is before


def test_the_page_shows_the_script_s_output():
    assert trace_step.on_page() == trace_step.shown(), "run docs/trace_step.py --write"
