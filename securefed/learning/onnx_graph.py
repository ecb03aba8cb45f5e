"""Final states as ONNX graphs: raw features in, predictions out, scaling inside.

Input ``features`` is float64 of shape (rows, features). Needs the extra ``onnx``.
"""

from __future__ import annotations

import warnings
from typing import TYPE_CHECKING

import numpy as np
import onnx
from onnx import TensorProto, helper, numpy_helper

from protocols.errors import MisuseError
from securefed.learning.glm import LogisticRegression
from securefed.learning.linear_task import LinearTask
from securefed.learning.person import AnyTask
from securefed.learning.state import FloatArray, State

if TYPE_CHECKING:
    from securefed.learning.torch_task import TorchTask

_OPSET = 18
_IR_VERSION = 10


def onnx_graph(task: AnyTask, state: State) -> bytes:
    """Return an ONNX model of a state, which gives what the task itself predicts.

    Output ``probabilities`` has shape (rows, classes); of ``glm`` with family ``gaussian`` or
    ``poisson`` it is ``predictions``, shape (rows,).

    Raises:
        MisuseError: no such graph for this kind, or torch cannot trace the module.
    """
    if isinstance(task, LogisticRegression):
        return _linear(state, task.parameters.feature_clip, "binomial", 1.0)
    if isinstance(task, LinearTask):
        told = task.parameters
        if told.companies:
            raise MisuseError(
                "a glm with an intercept for each company has no ONNX form; export safetensors"
            )
        return _linear(state, task.design_bound(), told.family, task.family().unit)
    if task.kind == "torch":
        from securefed.learning.torch_task import TorchTask  # noqa: PLC0415 - torch is an extra

        if isinstance(task, TorchTask):
            return _torch(task, state)
    raise MisuseError(
        f"models of kind {task.kind!r} have no ONNX form yet; export safetensors instead"
    )


def _linear(state: State, clip: float, family: str, unit: float) -> bytes:
    coefficients = state["coefficients"].astype(np.float64)
    constants: dict[str, FloatArray] = {
        "mean": state["mean"].astype(np.float64),
        "scale": state["scale"].astype(np.float64),
        "low": np.array(-clip),
        "high": np.array(clip),
        "slopes": coefficients[1:, np.newaxis],
        "intercept": coefficients[:1],
        "unit": np.array(unit),
        "one": np.array(1.0),
    }
    nodes = [
        helper.make_node("Sub", ["features", "mean"], ["centred"]),
        helper.make_node("Div", ["centred", "scale"], ["unbounded"]),
        helper.make_node("Clip", ["unbounded", "low", "high"], ["scaled"]),
        helper.make_node("MatMul", ["scaled", "slopes"], ["sloped"]),
        helper.make_node("Add", ["sloped", "intercept"], ["predictor"]),
    ]
    shape: list[str | int] = ["rows"]
    if family == "binomial":
        output, shape = "probabilities", ["rows", 2]
        nodes += [
            helper.make_node("Sigmoid", ["predictor"], ["positive"]),
            helper.make_node("Sub", ["one", "positive"], ["negative"]),
            helper.make_node("Concat", ["negative", "positive"], [output], axis=1),
        ]
    else:
        output = "predictions"
        link = "Exp" if family == "poisson" else "Identity"
        nodes += [
            helper.make_node(link, ["predictor"], ["column"]),
            helper.make_node("Mul", ["column", "unit"], ["flat"]),
            helper.make_node("Squeeze", ["flat", "last"], [output]),
        ]
    used = {name for node in nodes for name in node.input}
    initial = [numpy_helper.from_array(a, name) for name, a in constants.items() if name in used]
    if "last" in used:
        initial.append(numpy_helper.from_array(np.array([1]), "last"))
    graph = helper.make_graph(
        nodes,
        family,
        [
            helper.make_tensor_value_info(
                "features", TensorProto.DOUBLE, ["rows", len(state["mean"])]
            )
        ],
        [helper.make_tensor_value_info(output, TensorProto.DOUBLE, shape)],
        initial,
    )
    model = helper.make_model(
        graph, opset_imports=[helper.make_opsetid("", _OPSET)], ir_version=_IR_VERSION
    )
    onnx.checker.check_model(model)
    return bytes(model.SerializeToString())


def _torch(task: TorchTask, state: State) -> bytes:
    import torch  # noqa: PLC0415 - an extra

    from securefed.learning.torch_graph import Predictor  # noqa: PLC0415 - torch is an extra

    features = torch.zeros((2, task.parameters.features), dtype=torch.float64)
    try:
        # torch warns of its own deprecated calls.
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")
            program = torch.onnx.export(
                Predictor(task, state).eval(),
                (features,),
                input_names=["features"],
                output_names=["probabilities"],
                dynamic_shapes={"features": {0: torch.export.Dim("rows")}},
                opset_version=_OPSET,
                dynamo=True,
                verbose=False,
            )
    except torch.onnx.OnnxExporterError as error:
        raise MisuseError(
            f"torch finds no ONNX form of the model {task.parameters.model!r}; export safetensors"
        ) from error
    if program is None:
        raise MisuseError("this release of torch gives no ONNX program; update torch")
    return bytes(program.model_proto.SerializeToString())
