"""Optimizers by name: PyTorch's own where it has them, since fastai's loop over single weights costs a step dear."""

from __future__ import annotations

import difflib
from collections.abc import Callable, Iterable
from functools import partial
from typing import Any

import torch
from fastai.optimizer import Lamb, Larc, OptimWrapper, QHAdam, ranger, set_item_pg
from timm.optim import Lion

from fastrec.files import FastrecError

_ADAM: dict[str, Any] = {"betas": (0.9, 0.99), "eps": 1e-5}  # as in fastai

_TORCH: dict[str, Callable[..., torch.optim.Optimizer]] = {
    "adamw": partial(torch.optim.AdamW, **_ADAM, fused=True),
    "sgd": partial(torch.optim.SGD, momentum=0.9, nesterov=True, foreach=True),  # fused fails where a layer joins
    "rmsprop": partial(torch.optim.RMSprop, momentum=0.9),
    "radam": partial(torch.optim.RAdam, **_ADAM, decoupled_weight_decay=True),
    "nadam": partial(torch.optim.NAdam, **_ADAM, decoupled_weight_decay=True),
    "lion": Lion,
}
_FASTAI = {"lamb": Lamb, "larc": Larc, "qhadam": QHAdam, "ranger": ranger}


def names() -> list[str]:
    """List the names that :func:`named` knows."""
    return sorted({*_TORCH, *_FASTAI})


def named(name: str) -> Callable[..., Any]:
    """Return what makes an optimizer of layer groups: the ``opt_func`` of a fastai Learner.

    None of them lets biases and the weights of normalisations decay.  The rate that suits differs: ``sgd`` takes
    ten to a hundred times that of ``adamw``, ``lion`` a tenth of it.

    Raises
    ------
    FastrecError
        If the name is unknown (names the nearest).
    """
    if name in _TORCH:
        return partial(LayerGroups, make=_TORCH[name])
    if name in _FASTAI:
        return _FASTAI[name]
    near = difflib.get_close_matches(name, names(), n=3, cutoff=0.5)
    hint = f"did you mean {' or '.join(near)}?" if near else f"take one of {', '.join(names())}."
    raise FastrecError(f"optimizer {name!r} is unknown: {hint}")


class LayerGroups(OptimWrapper):
    """An optimizer of PyTorch's that fastai freezes and schedules by layer group.

    Matrices and kernels decay, vectors (biases, normalisations) do not, so PyTorch gets two groups of weights;
    only where the layer groups differ in a setting, it gets two for each, since every group costs time at each step.

    Parameters
    ----------
    groups
        The layer groups' weights, from the first layer to the head.
    make
        PyTorch's optimizer class.
    **settings
        Passed to it.
    """

    def __init__(self, groups: Iterable[Iterable[torch.Tensor]], make: Callable[..., Any], **settings: Any) -> None:
        self._lists = [list(group) for group in groups]
        super().__init__([{"params": part} for part in _parted(self._lists)], make, **settings)
        self._hypers = [dict(super(LayerGroups, self).hypers[0]) for _ in self._lists]
        self._changed = {"wd"}  # which settings PyTorch must be told

    @property
    def param_lists(self) -> list[list[torch.Tensor]]:
        """The weights of each layer group."""
        return self._lists

    @property
    def hypers(self) -> list[dict[str, Any]]:
        """The settings of each layer group, by fastai's names."""
        return self._hypers

    def _weights(self) -> list[torch.Tensor]:
        return [one for group in self._lists for one in group]

    def _set_hyper(self, name: str, values: Iterable[float]) -> None:
        self._changed.add(name)
        for hyper, value in zip(self._hypers, values, strict=True):
            hyper[name] = float(value)

    def step(self) -> None:
        """Tell PyTorch the settings, and step."""
        alike = all(hyper == self._hypers[0] for hyper in self._hypers)
        self._regroup([self._weights()] if alike else self._lists)
        for number, group in enumerate(self.opt.param_groups):
            for name in self._changed:
                decays = name != "wd" or number % 2 == 0
                set_item_pg(group, self.bwd_map[name], self._hypers[number // 2][name] if decays else 0.0)
        self.opt.step()

    def _regroup(self, lists: list[list[torch.Tensor]]) -> None:
        """Give PyTorch other groups; what it remembers of each weight is kept apart from them."""
        if len(self.opt.param_groups) != 2 * len(lists):
            settings = {name: value for name, value in self.opt.param_groups[0].items() if name != "params"}
            self.opt.param_groups = [{"params": part, **settings} for part in _parted(lists)]

    def state_dict(self) -> dict[str, Any]:
        """Return settings and state weight by weight, however they are grouped."""
        return {"hypers": self._hypers, "state": [dict(self.opt.state.get(one, {})) for one in self._weights()]}

    def load_state_dict(self, state: dict[str, Any]) -> None:
        """Take over what :meth:`state_dict` of an equal optimizer gave."""
        self._hypers = [dict(hyper) for hyper in state["hypers"]]
        self._changed |= {"lr", "mom"} & set(self.bwd_map)
        known = dict(zip(self._weights(), state["state"], strict=True))
        weights = [one for group in self.opt.param_groups for one in group["params"]]
        told = {number: known[one] for number, one in enumerate(weights) if known[one]}
        self.opt.load_state_dict({"state": told, "param_groups": self.opt.state_dict()["param_groups"]})


def _parted(lists: list[list[torch.Tensor]]) -> list[list[torch.Tensor]]:
    """Return for each list its matrices and its vectors."""
    return [[one for one in group if (one.ndim > 1) == matrices] for group in lists for matrices in (True, False)]
