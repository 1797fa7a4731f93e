"""What TensorBoard shows of a training run."""

from collections.abc import Iterator
from contextlib import ExitStack, contextmanager
from functools import cache
from importlib.util import find_spec
from pathlib import Path

from matchme_train.loop import Progress, Watch
from spairc.types import BadInput


def check_board() -> None:
    """Raise BadInput where TensorBoard is not installed."""
    if find_spec("tensorboard") is None:
        raise BadInput(
            "--tensorboard needs the package tensorboard: pip install spairc[tensorboard]"
        )


@contextmanager
def board(folder: Path) -> Iterator[Watch]:
    """Yield a watcher that writes losses by step and validation by epoch, stage by stage.

    Args:
        folder: For TensorBoard's files; those of earlier parts of the same run may be there.
    """
    from torch.utils.tensorboard import SummaryWriter  # noqa: PLC0415 -- needs an extra

    with ExitStack() as stack:

        @cache
        def writer() -> SummaryWriter:  # the run's folder is there once there is something to tell
            made = SummaryWriter(str(folder))
            stack.callback(made.close)
            return made

        def watch(told: Progress) -> None:
            if told.validation_pck is not None:
                name = f"{told.stage}/validation_pck"
                writer().add_scalar(name, told.validation_pck, told.epoch + 1)
                return
            step = told.epoch * told.steps + told.step
            for name, value in told.losses.items():
                writer().add_scalar(f"{told.stage}/{name}", value, step)

        yield watch
