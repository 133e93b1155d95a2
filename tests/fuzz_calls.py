"""Random calls of tinycnn's public names as lines of Python: half sensible, half hostile (:mod:`tests.fuzz`).

Every line is a whole reproduction: ``from tests.fuzz_calls import *`` and the line.
"""

import inspect

import numpy as np

import tinycnn as tc
from tinycnn import data, models, nn, ops, optim
from tinycnn import functional as F
from tinycnn.compression import container, huffman, prune, quantize, share
from tinycnn.data import transforms as T
from tinycnn.kernels import for_device
from tinycnn.kernels.protocol import FILE_OF
from tinycnn.nn import init

K = for_device("cpu")

# -- what lines are made of --------------------------------------------------------------------------------------------


def arr(shape, dtype="f4", layout="C", seed=0):
    """Return an array of random numbers, in a layout."""
    rng = np.random.default_rng(seed)
    shape = (shape,) if isinstance(shape, int) else tuple(shape)
    values = rng.normal(size=shape) * 3
    if np.dtype(dtype).kind in "OUSMmV":
        array = np.zeros(shape, dtype)
    else:
        array = np.asarray(values).astype(dtype) if np.dtype(dtype).kind != "u" else np.abs(values).astype(dtype)
    if layout == "F":
        return np.asfortranarray(array)
    if layout == "NHWC" and len(shape) == 4:
        return np.ascontiguousarray(array.transpose(0, 2, 3, 1)).transpose(0, 3, 1, 2)
    if layout == "negative" and shape:
        return np.ascontiguousarray(array[..., ::-1])[..., ::-1]
    if layout == "slice" and shape:
        return np.repeat(array, 2, axis=-1)[..., ::2]
    if layout == "zero" and shape:
        return np.broadcast_to(array[..., :1], shape)
    if layout == "unaligned" and array.dtype.kind in "fiub":
        raw = np.zeros(array.nbytes + 1, np.uint8)[1:]
        copy = np.ndarray(shape, array.dtype, raw)
        copy[...] = array
        return copy
    if layout == "readonly":
        array.flags.writeable = False
    return array


def t(shape, dtype="f4", layout="C", grad=False, seed=0):
    """Return a tensor that holds such an array as it is."""
    tensor = tc.Tensor(0.0)
    tensor.data = arr(shape, dtype, layout, seed)
    if grad:
        tensor.requires_grad = True
    return tensor


def back(output, gradient=None):
    """Run backward from an output, or its first tensor."""
    output = output[0] if isinstance(output, tuple) else output
    if isinstance(output, tc.Tensor) and output.requires_grad:
        if gradient is None:
            gradient = np.ones(output.shape, output.dtype)
        output.backward(gradient)
    return output


def node(output, gradient):
    """Call a node's own backward with a gradient."""
    return output.grad_fn.backward(gradient)


def put(tensor, array):
    """Replace a tensor's array, as a user may do."""
    tensor.data = array
    return tensor


def steps(optimizer, count=2, change=None):
    """Step, as training does; ``change`` is put into the first parameter in between."""
    for _ in range(count):
        for group in optimizer.param_groups:
            for parameter in group["params"]:
                parameter.grad = np.ones(parameter.shape, parameter.dtype)
        optimizer.step()
        if change is not None:
            optimizer.param_groups[0]["params"][0].data = change
    return optimizer


def net():
    """Return a small network."""
    return nn.Sequential(nn.Conv2d(3, 4, 3), nn.BatchNorm2d(4), nn.ReLU(), nn.Flatten(), nn.Linear(36, 3))


def run(made, method, *arguments, **options):
    """Call a method, and take a few of what it yields."""
    result = getattr(made, method)(*arguments, **options)
    return [item for item, _ in zip(result, range(3))] if inspect.isgenerator(result) else result


def few(iterable):
    """Take a few items."""
    return [item for item, _ in zip(iterable, range(3))]


# -- values as text ----------------------------------------------------------------------------------------------------

HOOKS = ("factor", "rate", "ratio")  # called by schedules with their own numbers, and overridden by users
OPERATORS = [n for n, f in inspect.getmembers(tc.Tensor, inspect.isfunction) if n.startswith("__") and n != "__init__"]
SCALARS = (
    "None -1 0 1 2 3 7 2**31 2**62 2**64 -2**63 0.5 1.5 -0.0 float('nan') float('inf') 1e308 True 'text' '' b'x' 1j () "
    "[] (1,2) (2,2) (0,0) (-1,1) (1,2,3) (2**62,1) (2**31,2**31) [[1.0,2.0],[3.0]] {} {'a':1} object() np.float64(2) "
    "np.int8(3) np.nan 'cpu' 'cuda' 'sum' 'mean' np.float16 int complex str range(3) iter([1,2]) slice(None) ... print "
    "np.uint64(2**63) nn.ReLU() net() nn.ReLU np.array('2020-01-01','M8[D]') np.ma.masked_array([1.0,2.0],[0,1])"
).split()
DTYPES = "f4 f4 f4 f4 f8 f8 f2 i8 i4 u1 ? c8 O U2 >f4 g S3 M8[s]".split()
LAYOUTS = "C C C F NHWC negative slice zero readonly unaligned".split()
SIZES = (0, 1, 1, 2, 3, 4, 5, 7, 16, 17, 33)


class Lines:
    """Makes one line after another from a seed."""

    def __init__(self, seed):
        self.rng = np.random.default_rng(seed)

    def pick(self, choices):
        """Return one of some choices."""
        return choices[int(self.rng.integers(len(choices)))]

    def chance(self, probability):
        """Return True with a probability."""
        return self.rng.random() < probability

    def shape(self):
        """Return a shape of 0 to 5 dimensions."""
        return tuple(int(self.pick(SIZES)) for _ in range(self.pick((0, 1, 1, 2, 2, 3, 4, 4, 4, 5))))

    def array(self, shape=None, dtype=None):
        """Return the text of an array, of a shape or any."""
        shape = self.shape() if shape is None else shape
        return f"arr({shape}, {dtype or self.pick(DTYPES)!r}, {self.pick(LAYOUTS)!r}, {self.rng.integers(9)})"

    def tensor(self, shape=None, dtype=None):
        """Return the text of a tensor, of a shape or any."""
        kind = dtype or self.pick(DTYPES[:8])
        grad = kind in ("f4", "f8") and self.chance(0.6)
        text = self.array(self.shape() if shape is None else shape, kind)
        return f"t{text[3:-1]}".replace(", ", ", ", 1).rsplit(", ", 1)[0] + f", {grad})"

    def hostile(self):
        """Return the text of something that few functions take."""
        return self.pick((lambda: self.pick(SCALARS), lambda: self.pick(SCALARS), self.array, self.tensor))()

    def small(self):
        """Return the text of a size or of a pair of them."""
        one = [self.pick((1, 1, 2, 3, 3, 4, 5)) for _ in range(2)]
        return str(tuple(one)) if self.chance(0.3) else str(one[0])

    def guess(self, name):
        """Return the text of a value that an argument of this name may take."""
        if name in ("kernel_size", "stride", "dilation", "output_size", "size", "groups", "num_features"):
            return self.small()
        if name == "padding":
            return self.pick(("0", "1", "(1, 0)", "2", "'same'", "'valid'"))
        if name in ("dim", "dim0", "dim1", "start_dim", "end_dim", "axis"):
            return self.pick(("0", "1", "-1", "2", "3", "None", "(0, 1)"))
        if name in ("params", "parameters"):
            return self.pick(("net().parameters()", "[nn.Parameter(arr((3, 4)))]", "nn.Parameter(arr(3))", "[]"))
        if name == "optimizer":
            return "optim.SGD([nn.Parameter(arr((3, 4)))], lr=0.1)"
        if name in ("model", "module", "net"):
            return self.pick(("net()", "nn.Linear(4, 3)", "nn.ReLU()"))
        if name in ("dataset", "data_set"):
            return "data.ArrayDataset(arr((6, 3, 5, 5)), np.arange(6) % 2, ['a', 'b'])"
        if name in ("rng",):
            return "np.random.default_rng(0)"
        if name in ("images",):
            return self.array((3, 3, 8, 8), self.pick(("f4", "u1")))
        if name in ("weights", "values", "array", "counts", "symbols", "lengths"):
            return self.array(None, self.pick(("f4", "f8", "i8", "u1")))
        if name in ("tensors", "arrays", "parts"):
            return f"[{self.tensor((2, 3))}, {self.tensor((2, 3))}]"
        if name in ("shape", "pad", "dims", "milestones", "mean", "std", "input_shape"):
            return self.pick(("(2, 3)", "(1,)", "(0, 1)", "(1, 1, 1, 1)", "(3, 8, 8)", "[1, 0]", "(-1,)"))
        if name in ("function", "change", "hook"):
            return self.pick(("lambda *a: None", "F.relu", "lambda x: x"))
        if name in ("num_classes", "in_channels", "out_channels", "in_features", "out_features", "width", "depth"):
            return self.pick(("1", "2", "3", "4", "16"))
        if name in ("input", "x", "tensor", "a", "b", "target", "logits", "image", "self", "data", "value", "grad"):
            return self.pick((self.tensor, self.tensor, self.array))()
        return self.pick(("0", "1", "0.5", "2", "True", "None", "0.1"))

    def fill(self, function, skip=0, hostile=0.25):
        """Return the text of arguments for a function by the names of its parameters."""
        try:
            parameters = list(inspect.signature(function).parameters.values())[skip:]
        except (ValueError, TypeError):
            return ", ".join(self.hostile() for _ in range(self.pick((0, 1, 2))))
        texts = []
        for parameter in parameters:
            if parameter.kind is parameter.VAR_POSITIONAL:
                texts += [self.guess("x") if self.chance(0.6) else self.hostile() for _ in range(self.pick((0, 1, 2)))]
                continue
            if parameter.kind is parameter.VAR_KEYWORD or (
                parameter.default is not parameter.empty and self.chance(0.5)
            ):
                continue
            value = self.hostile() if self.chance(hostile) else self.guess(parameter.name)
            named = parameter.kind is parameter.KEYWORD_ONLY or parameter.default is not parameter.empty
            texts.append(f"{parameter.name}={value}" if named else value)
        return ", ".join(texts)

    def spoil(self, arguments, probability=0.5):
        """Return arguments (texts by name) with, perhaps, one or two replaced by hostile ones."""
        while self.chance(probability):
            arguments[self.pick(list(arguments))] = self.hostile()
            probability /= 2
        return ", ".join(f"{name}={value}" for name, value in arguments.items())

    # -- kinds of lines ------------------------------------------------------------------------------------------------

    def line(self):
        """Return a line of a random kind."""
        kinds = (self.functional, self.functional, self.method, self.method, self.layer, self.layer, self.name)
        others = (self.optimizer, self.operation, self.kernel, self.gradient, self.name, self.module)
        return self.pick(kinds + others)()

    def sizes(self):
        """Return N, C, H, W and a dtype."""
        pick = self.pick
        return pick((1, 2, 3)), pick((1, 2, 3, 16, 17)), pick((1, 3, 5, 8)), pick((1, 4, 7)), pick(("f4", "f8"))

    def functional(self):
        """Return a call of the functional API, mostly with arguments that fit."""
        n, c, h, w, dtype = self.sizes()
        images, pick = self.tensor((n, c, h, w), dtype), self.pick
        name = pick([name for name in F.__all__ if name != "pad"] + ["conv2d"] * 4 + ["cross_entropy"] * 2)
        if name == "linear":
            arguments = {"input": self.tensor((n, c), dtype), "weight": self.tensor((4, c), dtype)}
            arguments["bias"] = pick(("None", self.tensor((4,), dtype)))
        elif name == "conv2d":
            groups = pick((1, 1, 1, c))
            outputs = groups * pick((1, 2, 16 // groups or 1))
            arguments = {"input": images, "weight": self.tensor((outputs, c // groups, min(h, 3), min(w, 3)), dtype)}
            arguments |= {"bias": pick(("None", self.tensor((outputs,), dtype))), "groups": str(groups)}
            arguments |= {"stride": self.small(), "padding": self.guess("padding"), "dilation": pick(("1", "1", "2"))}
            arguments["algorithm"] = pick(("None", "'direct'", "'im2col'", "'winograd'", "'auto'"))
        elif name in ("batch_norm",):
            arguments = {
                "input": images,
                "running_mean": self.array((c,), dtype),
                "running_var": self.array((c,), dtype),
            }
            arguments |= {"weight": self.tensor((c,), dtype), "bias": self.tensor((c,), dtype)}
            arguments["training"] = pick(("True", "False"))
        elif name in ("cross_entropy", "nll_loss"):
            labels = f"np.arange({n}) % {c}"
            arguments = {"input": self.tensor((n, c), dtype), "target": labels, "reduction": pick(("'mean'", "'none'"))}
            arguments |= {"weight": pick(("None", self.array((c,), dtype))), "ignore_index": pick(("-100", "0"))}
        elif name == "mse_loss":
            arguments = {"input": images, "target": self.tensor((n, c, h, w), dtype), "reduction": "'mean'"}
        else:
            arguments = {"input": images}
            for parameter in list(inspect.signature(getattr(F, name)).parameters.values())[1:]:
                if parameter.default is parameter.empty or self.chance(0.5):
                    arguments[parameter.name] = self.guess(parameter.name)
        call = f"F.{name}({self.spoil(arguments)})"
        return call if self.chance(0.4) else f"back({call}" + (f", {self.hostile()})" if self.chance(0.2) else ")")

    def method(self):
        """Return a call of a method or an operator of a tensor."""
        name = self.pick([n for n in dir(tc.Tensor) if not n.startswith("_")] + OPERATORS)
        tensor = self.tensor()
        if isinstance(inspect.getattr_static(tc.Tensor, name), property) or not callable(
            getattr(tc.Tensor, name, None)
        ):
            writable = name in ("data", "grad", "requires_grad")
            return f"setattr({tensor}, {name!r}, {self.hostile()})" if writable else f"{tensor}.{name}"
        if name in ("__getitem__", "__setitem__") and self.chance(0.7):
            part = ("0", "-1", "slice(None, None, -1)", "None", "...", "[0, 0]", "arr((2,), 'i8')", "arr((2, 2), '?')")
            index = ", ".join(
                self.pick((*part, "slice(0, 2)", "2**62", "slice(2**62, -2**62)", "t((2,), 'i8')")) for _ in "ab"
            )
            extra = f", {self.hostile()}" if name == "__setitem__" else ""
            return f"back({tensor}.{name}(({index}){extra}))"
        return f"back(run({tensor}, {name!r}, {self.fill(getattr(tc.Tensor, name), 1, 0.4)}))"

    def layer(self):
        """Return a layer that is made and applied."""
        n, c, h, w, _ = self.sizes()
        name = self.pick(
            [
                n
                for n in nn.__all__
                if n not in ("Activation", "Module", "Parameter", "init", "Sequential", "ModuleList")
            ]
        )
        known = {
            "Linear": {"in_features": str(w), "out_features": "3"},
            "Conv2d": {
                "in_channels": str(c),
                "out_channels": "4",
                "kernel_size": "1",
                "padding": self.guess("padding"),
            },
            "BatchNorm2d": {"num_features": str(c), "momentum": self.pick(("0.1", "None"))},
            "MaxPool2d": {"kernel_size": "1", "ceil_mode": "True"},
            "LocalResponseNorm": {"size": "3"},
        }
        options = self.spoil(known[name], 0.3) if name in known else self.fill(getattr(nn, name), 0, 0.3)
        x = self.tensor((n, c, h, w), "f4") if self.chance(0.7) else self.hostile()
        if name.endswith("Loss"):
            return f"back(nn.{name}({options})({self.tensor((n, c), 'f4')}, np.arange({n}) % {c}))"
        return f"back(nn.{name}({options})({x}))"

    def module(self):
        """Return a call of a method of a module, an optimizer, a loader, a generator or a transform."""
        objects = {
            "net()": tc.nn.Module,
            "nn.Sequential(nn.ReLU(), nn.Linear(4, 3))": nn.Sequential,
            "nn.ModuleList([nn.ReLU()])": nn.ModuleList,
            "nn.BatchNorm2d(3)": nn.BatchNorm2d,
            "optim.SGD([nn.Parameter(arr((3, 4)))], lr=0.1, momentum=0.9)": optim.SGD,
            "optim.Adam([nn.Parameter(arr((3, 4)))])": optim.Adam,
            "optim.StepLR(optim.SGD([nn.Parameter(arr(3))]), 2)": optim.StepLR,
            "optim.ReduceLROnPlateau(optim.SGD([nn.Parameter(arr(3))]))": optim.ReduceLROnPlateau,
            "tc.Generator(3)": tc.Generator,
            "data.DataLoader(data.ArrayDataset(arr((6, 3, 5, 5)), np.arange(6) % 2, ['a', 'b']), 2)": data.DataLoader,
            "data.ArrayDataset(arr((6, 3, 5, 5)), np.arange(6) % 2, ['a', 'b'])": data.ArrayDataset,
        }
        made = self.pick(list(objects))
        names = [n for n in dir(objects[made]) if not n.startswith("_")] + [
            "__getitem__",
            "__len__",
            "__repr__",
            "__call__",
        ]
        name = self.pick([n for n in names if n not in ("save", "load", *HOOKS) and hasattr(objects[made], n)])
        if not callable(getattr(objects[made], name)):
            return f"{made}.{name}"
        if name == "load_state_dict" and self.chance(0.7):
            state = self.pick(("{{}}", "{0}.state_dict()", "dict.fromkeys({0}.state_dict(), {1})", "{1}"))
            return f"{made}.load_state_dict({state.format(made, self.hostile())})"
        return f"run({made}, {name!r}, {self.fill(getattr(objects[made], name), 1, 0.5)})"

    def optimizer(self):
        """Return steps of an optimizer, perhaps with an array of another kind in between."""
        name = self.pick(("SGD", "Adam", "AdamW"))
        options = self.fill(getattr(optim, name), 1, 0.3)
        change = f", change={self.array()}" if self.chance(0.4) else ""
        return (
            f"steps(optim.{name}([nn.Parameter({self.array(None, 'f4')})]{', ' if options else ''}{options}){change})"
        )

    def operation(self):
        """Return a call of ``Function.apply``."""
        found = [
            (module.__name__.rsplit(".", 1)[1], name, function)
            for module in (ops.elementwise, ops.matmul, ops.reduction, ops.shape, ops.activation, ops.convolution,
                           ops.pooling, ops.normalization, ops.loss)
            for name, function in vars(module).items()
            if inspect.isclass(function) and issubclass(function, tc.Function) and function is not tc.Function
        ]  # fmt: skip
        module, name, function = self.pick(found)
        return f"back(ops.{module}.{name}.apply({self.fill_named(function.forward, 1)}))"

    def kernel(self):
        """Return a call of a kernel."""
        name = self.pick([name for name, file in FILE_OF.items() if file != "memory"])
        return f"K.{name}({self.fill_named(getattr(K, name), 0)})"

    def fill_named(self, function, skip):
        """Return arguments where arrays are positional and options have names, as ``Function.apply`` takes them."""
        pairs, shape = {"stride", "padding", "dilation", "kernel_size", "output_size"}, self.pick(((2, 3, 5, 5), None))
        texts = []
        for parameter in list(inspect.signature(function).parameters.values())[skip:]:
            if parameter.kind is parameter.VAR_POSITIONAL:
                texts += [self.tensor(shape), self.tensor(shape)]
                continue
            array = (
                parameter.name
                in (
                    "x a b grad out weight bias input logits target columns taken mean inv_std var condition "
                    "log_probabilities parameter momentum_buffer exp_avg exp_avg_sq scale running_mean "
                    "running_var images"
                ).split()
            )
            if self.chance(0.2):
                value = self.hostile()
            elif array:
                value = self.array(shape if self.chance(0.7) else None, self.pick(("f4", "f4", "f8", "i8")))
            elif parameter.name in pairs:
                value = str(tuple(self.pick((0, 1, 1, 2, 3, -1)) for _ in range(2)))
            else:
                value = self.guess(parameter.name)
            if array and skip and self.chance(0.7):
                value = value if not value.startswith("arr") else self.tensor(shape, "f4")
            texts.append(value if array else f"{parameter.name}={value}")
        return ", ".join(texts)

    def gradient(self):
        """Return a node's own backward with any gradient, or an operation on a tensor whose array was replaced."""
        n, c, h, w, dtype = self.sizes()
        x = f"t(({n}, {c}, {h}, {w}), {dtype!r}, 'C', True)"
        weight = f"t((4, {c}, 1, 1), {dtype!r}, 'C', True)"
        output = self.pick((
            f"F.conv2d({x}, {weight})", f"F.max_pool2d({x}, 1)", f"F.avg_pool2d({x}, 1)", f"F.relu({x})",
            f"F.softmax({x}, 1)", f"F.batch_norm({x}, None, None)", f"F.local_response_norm({x}, 3)",
            f"F.dropout({x})", f"F.sigmoid({x})", f"({x} * 2)", f"{x}.sum(1)", f"{x}.max(1)[0]", f"{x}[..., :1]",
            f"tc.concatenate([{x}, {x}], 1)", f"tc.pad({x}, (1, 1))", f"F.adaptive_avg_pool2d({x}, 1)",
        ))  # fmt: skip
        if self.chance(0.5):
            return f"node({output}, {self.array(None, self.pick(('f4', 'f4', 'f8', 'i8')))})"
        function = self.pick(
            ("F.relu(%s)", "F.conv2d(%s, t((4, 3, 1, 1)))", "%s + 1", "%s.sum()", "F.softmax(%s)", "repr(%s)")
        )
        return f"back({function % f'put(t((2, 3, 5, 5), grad=True), {self.hostile()})'})"

    def name(self):
        """Return a call of any other public name."""
        spaces = {
            "tc": (tc, [n for n in tc.__all__ if callable(getattr(tc, n))]),
            "init": (init, [n for n in vars(init) if n.endswith("_") or n in ("gain", "fan_in_and_out")]),
            "optim": (optim, optim.__all__),
            "data": (data, ["ArrayDataset", "DataLoader", "Glyphs", "load"]),
            "T": (T, [n for n, v in vars(T).items() if inspect.isclass(v) and v.__module__ == T.__name__]),
            "models": (
                models,
                ["build", "lenet5", "resnet8", "plain8", "squeezenet1_1", "vgg11", "alexnet", "cifar_resnet"],
            ),
            "container": (container, ["encode", "decode", "entries"]),
            "huffman": (huffman, ["entropy", "word_lengths", "fixed_lengths", "words", "encode", "decode"]),
            "prune": (prune, ["density", "masks", "cubic", "apply", "weights_of"]),
            "quantize": (quantize, ["quantize"]),
            "share": (share, ["rate", "kmeans", "share"]),
        }
        space = self.pick(list(spaces))
        module, names = spaces[space]
        name = self.pick(names)
        call = f"{space}.{name}({self.fill(getattr(module, name))})"
        if space == "T" and self.chance(0.8):
            images = self.guess("images") if self.chance(0.7) else self.hostile()
            return f"{call}({images}, np.random.default_rng(0))"
        if space == "tc" and name == "set_num_threads":
            return f"tc.set_num_threads({self.pick((*SCALARS[:4], '2', '1.5', 'None', repr('x')))})"
        return f"back({call})" if self.chance(0.5) else call
