"""A run in TensorBoard, for those who ask for it."""

from pathlib import Path

from ml.training.progress import Epoch
from umbel.base.errors import InvalidInput


class Board:
    """Writes the loss of each step and the metrics of each epoch as TensorBoard events, until it is closed."""

    def __init__(self, folder: Path) -> None:
        """Raises InvalidInput when TensorBoard is not installed."""
        try:
            from torch.utils.tensorboard import SummaryWriter  # noqa: PLC0415 - optional, and slow to import
        except ImportError as error:
            raise InvalidInput("TensorBoard is not installed: pip install tensorboard") from error
        self._writer = SummaryWriter(str(folder))
        self._steps = 0

    def begin(self, done: int) -> None:
        """Go on after this many steps."""
        self._steps = done

    def step(self, loss: float) -> None:
        self._steps += 1
        self._writer.add_scalar("loss/step", loss, self._steps)

    def epoch(self, epoch: Epoch) -> None:
        for name, value in (("loss", epoch.loss), ("arcface", epoch.arcface), ("drift", epoch.drift)):
            self._writer.add_scalar(f"loss/{name}", value, self._steps)
        for of_set, metrics in epoch.metrics.items():
            for name, value in metrics.as_dict().items():
                self._writer.add_scalar(f"{of_set}/{name}", value, self._steps)

    def close(self) -> None:
        self._writer.close()
