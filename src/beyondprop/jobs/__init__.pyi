from beyondprop.jobs.executor import Executor as Executor
from beyondprop.jobs.job import Job as Job
from beyondprop.jobs.job import Outcome as Outcome
from beyondprop.jobs.job import values as values
from beyondprop.jobs.workers import SERIAL as SERIAL
from beyondprop.jobs.workers import Workers as Workers
