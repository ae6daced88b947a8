"""Independent work fanned out: in this process, on its cores, or on a cluster."""

from beyondprop.jobs.executor import Executor
from beyondprop.jobs.job import Job, Outcome, values
from beyondprop.jobs.workers import SERIAL, Workers

__all__ = ["SERIAL", "Executor", "Job", "Outcome", "Workers", "values"]
