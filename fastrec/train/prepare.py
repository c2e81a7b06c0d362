"""The last step before the network: a batch of bytes becomes varied, normalised floats, in one pass."""

import torch
from fastai.torch_core import TensorImage
from fasttransform import Transform

from fastrec.preprocess.augment import LEVELS, Augmentation


class Prepare(Transform):
    """fastai's ``IntToFloatTensor``, ``aug_transforms`` and ``Normalize`` as one transform.

    Parameters
    ----------
    mean, std
        Per channel, on the scale 0 to 1.
    augmentation
        For training; without one the levels are those that separate transforms would give, bit by bit.
    """

    def __init__(self, mean: list[float], std: list[float], augmentation: Augmentation | None = None) -> None:
        super().__init__()
        self.mean, self.std = (torch.tensor(values).view(1, -1, 1, 1) for values in (mean, std))
        self.augmentation = augmentation or Augmentation(LEVELS["none"])

    def encodes(self, images: TensorImage) -> TensorImage:
        """Turn uint8 (n, 3, side, side) into float, augment and normalise."""
        mean, std = self.mean.to(images.device), self.std.to(images.device)
        plain = images.as_subclass(torch.Tensor)  # fastai's subclass costs time at every operation
        return TensorImage(self.augmentation(plain, lambda part: part.sub_(mean).div_(std)))

    def decodes(self, images: TensorImage) -> TensorImage:
        """Return levels 0 to 1, for showing."""
        return images * self.std.to(images.device) + self.mean.to(images.device)
