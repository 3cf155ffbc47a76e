"""`papermill --engine stockkit`: plain papermill with warm kernels.

papermill imports this module by its entry point while it is itself imported: import papermill first.
"""

from __future__ import annotations

from typing import Any

from papermill.engines import NBClientEngine

from stockkit.workbook.kernels.provisioner import WarmManager, WarmProvisioner, shared

FIRST = 2  # kernels of one process that are forked before the parent imports more for those that may follow


class Manager(WarmManager):
    """Forks from the parent that this process has for its kernels."""

    async def _async_launch_kernel(self, kernel_cmd: list[str], **options: Any) -> None:
        if isinstance(self.provisioner, WarmProvisioner):
            self.provisioner.source = shared(kernel_cmd, after=FIRST)
        await super()._async_launch_kernel(kernel_cmd, **options)


class Engine(NBClientEngine):  # type: ignore[misc]
    """What papermill runs a notebook with."""

    @classmethod
    def execute_managed_notebook(cls, nb_man: Any, kernel_name: str, **options: Any) -> Any:
        """Run the notebook in a kernel that is forked where that is possible."""
        return super().execute_managed_notebook(nb_man, kernel_name, kernel_manager_class=Manager, **options)
