"""The inline executor keeps the contract, as far as one process can."""

from rltune.executors.inline import InlineExecutor
from rltune.testing.executor_suite import ExecutorSuite


class TestInline(ExecutorSuite):
    def make_executor(self, workers, resources):
        return InlineExecutor()
