"""The actor of a SAC policy as ONNX: flatten and join the observation, a chain of dense layers, tanh of the mean.

    action = tanh(W_m · f(… f(W_1 · [market, portfolio] + b_1) …) + b_m)

Written node by node from the weights: what runs in the bot is this graph and nothing of the training's libraries, and the same
weights give the same bytes. Inputs `market` (1, window, features) and `portfolio` (1, 3), output `action` (1, 1), float32.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np

from shared.domain.errors import ModelError
from shared.strategy.rl_observation import PORTFOLIO, Float32Array

ACTIVATIONS = {"relu": "Relu", "tanh": "Tanh", "elu": "Elu"}
"""Name in the training's configuration -> ONNX operator."""

_OPSET = 18
_IR_VERSION = 10


@dataclass(frozen=True, eq=False, slots=True)
class Actor:
    """Weights of the deterministic part of a SAC actor: hidden layers and the layer of the mean."""

    layers: Sequence[tuple[Float32Array, Float32Array]]
    """(out, in) weights and (out,) biases of each hidden layer"""
    mean: tuple[Float32Array, Float32Array]
    """(1, in) and (1,)"""
    activation: str = "relu"


def actor_onnx(actor: Actor, market_shape: tuple[int, int]) -> bytes:
    """The ONNX file of `actor`. Raises `ModelError` where the layers do not fit the observation or each other."""
    import onnx
    from onnx import TensorProto, helper, numpy_helper

    _check(actor, market_shape)
    nodes: list[Any] = [
        helper.make_node("Flatten", ["market"], ["bars"], axis=1),
        helper.make_node("Concat", ["bars", "portfolio"], ["x0"], axis=1),
    ]
    weights: list[Any] = []

    def dense(place: int, layer: tuple[Float32Array, Float32Array], source: str, target: str) -> None:
        for name, values in zip((f"w{place}", f"b{place}"), layer, strict=True):
            weights.append(numpy_helper.from_array(np.ascontiguousarray(values, dtype=np.float32), name))
        nodes.append(helper.make_node("Gemm", [source, f"w{place}", f"b{place}"], [target], transB=1))

    for place, layer in enumerate(actor.layers):
        dense(place, layer, f"x{place}", f"h{place}")
        nodes.append(helper.make_node(ACTIVATIONS[actor.activation], [f"h{place}"], [f"x{place + 1}"]))
    last = len(actor.layers)
    dense(last, actor.mean, f"x{last}", "mean")
    nodes.append(helper.make_node("Tanh", ["mean"], ["action"]))
    tensor = helper.make_tensor_value_info
    graph = helper.make_graph(
        nodes,
        "sac_actor",
        [
            tensor("market", TensorProto.FLOAT, [1, *market_shape]),
            tensor("portfolio", TensorProto.FLOAT, [1, len(PORTFOLIO)]),
        ],
        [tensor("action", TensorProto.FLOAT, [1, 1])],
        weights,
    )
    model = helper.make_model(graph, opset_imports=[helper.make_opsetid("", _OPSET)], ir_version=_IR_VERSION)
    onnx.checker.check_model(model)
    content: bytes = model.SerializeToString(deterministic=True)
    return content


def _check(actor: Actor, market_shape: tuple[int, int]) -> None:
    if actor.activation not in ACTIVATIONS:
        raise ModelError(f"the policy's activation is {actor.activation!r}; expected one of {' '.join(ACTIVATIONS)}")
    width = market_shape[0] * market_shape[1] + len(PORTFOLIO)
    for place, (weights, biases) in enumerate([*actor.layers, actor.mean]):
        if weights.ndim != 2 or weights.shape[1] != width or biases.shape != weights.shape[:1]:
            raise ModelError(
                f"layer {place} of the policy has weights {weights.shape} and biases {biases.shape}; expected {width} inputs: "
                f"{market_shape[0]} bars x {market_shape[1]} features and {len(PORTFOLIO)} of the portfolio come first"
            )
        width = weights.shape[0]
    if width != 1:
        raise ModelError(f"the policy gives {width} numbers; expected one action")
    if not all(np.isfinite(values).all() for layer in [*actor.layers, actor.mean] for values in layer):
        raise ModelError("the policy's weights are not finite: the training diverged; train again with a smaller learning rate")
