"""The last step before the network: a batch of bytes becomes varied, normalised floats, in one pass."""

import torch
from fastai.torch_core import TensorImage
from fasttransform import Transform
from torchvision.transforms.v2.functional import resize

from fastrec.preprocess.augment import LEVELS, Augmentation


class Prepare(Transform):
    """fastai's ``IntToFloatTensor``, ``aug_transforms`` and ``Normalize`` as one transform.

    Parameters
    ----------
    mean, std
        Per channel, on the scale 0 to 1.
    augmentation
        For training; without one the levels are those that separate transforms would give, bit by bit.

    Attributes
    ----------
    side
        To which side the pictures are resized before all else, with antialiasing; None leaves them.
    mirrored
        Which pictures of the next batch a flip mirrors, bool (n,), forgotten with it; None lets each have its own draw.
    """

    side: int | None = None
    mirrored: torch.Tensor | None = None

    def __init__(self, mean: list[float], std: list[float], augmentation: Augmentation | None = None) -> None:
        super().__init__()
        self.mean, self.std = (torch.tensor(values).view(1, -1, 1, 1) for values in (mean, std))
        self.augmentation = augmentation or Augmentation(LEVELS["none"])

    def encodes(self, images: TensorImage) -> TensorImage:
        """Turn uint8 (n, channels, side, side) into float, resize, augment and normalise."""
        mean, std = self.mean.to(images.device), self.std.to(images.device)
        plain = images.as_subclass(torch.Tensor)  # fastai's subclass costs time at every operation
        if self.side not in (None, plain.shape[-1]):
            plain = resize(plain, [self.side, self.side], antialias=True)
        mirrored, self.mirrored = self.mirrored, None
        return TensorImage(self.augmentation(plain, lambda part: part.sub_(mean).div_(std), mirrored))

    def decodes(self, images: TensorImage) -> TensorImage:
        """Return levels 0 to 1, for showing."""
        return images * self.std.to(images.device) + self.mean.to(images.device)
