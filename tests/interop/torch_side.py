"""What PyTorch makes of the small networks of the tests here: outputs and one step.

Apart from the test, so that PyTorch is imported only where a test asks for it.
"""

import copy
import sys

import numpy as np
import torch
import torch_bearpaw
import torch_cornernet
import torch_pose_ae
from conftest import ROOT

sys.path.append(str(ROOT / "benchmarks"))
import torch_hourglass

SIZES = {"num_stacks": 2, "num_joints": 3, "features": 16, "order": 2, "stem_features": 6}
CORNERS = {"tl_heats": 3, "br_heats": 3, "tl_tags": 1, "br_tags": 1}
CENTRES = {"hm": 1, "wh": 2, "hps": 34, "reg": 2, "hm_hp": 17, "hp_offset": 2}
MAKERS = {
    "princeton": lambda: torch_hourglass.StackedHourglass(**SIZES),
    "bearpaw": lambda: torch_bearpaw.StackedHourglass(**SIZES, num_residuals=2),
    "cornernet": lambda: torch_cornernet.Detector(CORNERS | {"tl_regrs": 2, "br_regrs": 2}),
    "squeeze": lambda: torch_cornernet.Detector(CORNERS | {"tl_offs": 2, "br_offs": 2}, lite=True),
    "centernet": lambda: torch_cornernet.Detector(CENTRES, stacks=1),
    "pose_ae": lambda: torch_pose_ae.Network(3, mmpose=False),
    "mmpose_ae": lambda: torch_pose_ae.Network(3, mmpose=True),
}


def make(name):
    """Returns a network with random weights, whose BatchNorms are far from the identity."""
    torch.manual_seed(0)
    network = MAKERS[name]()
    for norm in _norms_of(network):
        norm.weight.data.uniform_(0.5, 1.5)
        norm.bias.data.normal_(0, 0.3)
        norm.running_mean.normal_(0, 0.3)
        norm.running_var.uniform_(0.1, 2)
    return network


def state_dict(network):
    return _arrays_of(network.state_dict())


def heatmaps(network, images):
    """Returns [batch, stacks, height, width, joints] for images [batch, height, width, 3]."""
    with torch.inference_mode():
        return network.eval()(_channels_first(images)).movedim(2, -1).numpy()


def step(network, images, targets):
    """Returns the gradient of one step in float64, and the running statistics after it.

    Both by the names of the state dict. A variance of PyTorch's takes the unbiased variance of the
    batch; here it takes the biased one, as ours does.
    """
    network = copy.deepcopy(network).double().train()
    before = {norm: norm.running_var.clone() for norm in _norms_of(network)}
    counts = {}
    for norm in before:
        norm.register_forward_hook(
            lambda norm, inputs, _: counts.update({norm: inputs[0][:, 0].numel()})
        )
    errors = network(_channels_first(images)) - _channels_first(targets)[:, None]
    (errors**2).mean((0, 2, 3, 4)).sum().backward()
    for norm, old in before.items():
        kept = (1 - norm.momentum) * old
        norm.running_var.copy_(kept + (norm.running_var - kept) * (1 - 1 / counts[norm]))
    gradients = {name: weight.grad for name, weight in network.named_parameters()}
    return _arrays_of({**gradients, **dict(network.named_buffers())})


def _norms_of(network):
    return [module for module in network.modules() if isinstance(module, torch.nn.BatchNorm2d)]


def _arrays_of(tensors):
    return {name: tensor.numpy() for name, tensor in tensors.items()}


def _channels_first(images):
    return torch.from_numpy(np.moveaxis(images, -1, 1))
