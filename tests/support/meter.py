"""What each pass of a simulated node costs, in entries that came, went or were walked over."""

from collections.abc import Callable

from tests.sim.node import SimNode


class Meter:
    """Notes the cost of every pass, and of what is done with each result of another thread.

    A pass counts what it does in the tip, and in the workspaces of transactions.
    """

    def __init__(self, node: SimNode) -> None:
        self.node = node
        self.worst = 0
        self._run_pass = node.run_pass
        node.run_pass = self._measured_pass  # type: ignore[method-assign]
        for executor in (node.reader, node.writer):
            executor.submit = self._measured(executor.submit)  # type: ignore[method-assign]

    def _work(self) -> int:
        open_ = self.node.jobs.transactions._attempts()
        return self.node.tip.work + sum(attempt.workspace.tip.work for attempt in open_)

    def _measure(self, step: Callable[[], object]) -> None:
        before = self._work()
        step()
        self.worst = max(self.worst, self._work() - before)

    def _measured_pass(self, work: Callable[[], object]) -> None:
        self._measure(lambda: self._run_pass(work))

    def _measured(self, submit: Callable) -> Callable:
        def measured(work: Callable, completion: Callable) -> None:
            submit(work, lambda result, error: self._measure(lambda: completion(result, error)))

        return measured
