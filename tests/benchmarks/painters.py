"""Who paints best in a given time: `python painters.py '{"painter": "coarse_to_fine", "content": "photo.png", ...}'`.

All minimize the same: VGG-19, relu4_2 and relu1_1 to relu5_1, with the default weights of `stylecore.gatys.paint`.
A painter gives its pictures with the seconds that they took, without the loading of weights and pictures, and stops
where its next step would end too late. The pictures are evaluated afterwards, clipped to what can be shown, by one
objective. The answer is one line of JSON with the curve; the last picture is written.
"""

import contextlib
import dataclasses
import json
import sys
import time
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

sys.path.insert(0, str(Path(__file__).resolve().parents[2]))

import torch
from torch import Tensor

from stylecore.gatys.objective import Objective, build_objective
from stylecore.gatys.paint import GatysConfig, paint
from stylecore.inference.engine import Engine
from stylecore.johnson.style_model import StyleModel
from stylecore.pictures.read import load_picture
from stylecore.pictures.write import save_picture
from stylecore.vgg.network import VGG
from stylecore.vgg.weights import load_vgg

EVALUATED = 20
"""Pictures of a curve, the last one among them."""
ENDLESS = 1_000_000
"""Steps: time is the only budget."""


@dataclasses.dataclass(frozen=True)
class Task:
    """What every painter is given.

    Attributes:
        content: file of the photo, in the size to be painted.
        style: file of the painting, in the size that `stylecore.gatys.paint` looks at it for this content.
        painting: file of the painting as it is, which ours resize themselves.
        network: style file of a network trained on this painting.
        seconds: to paint.
    """

    content: str
    style: str
    painting: str
    network: str
    seconds: float


@dataclasses.dataclass(frozen=True)
class Moment:
    """A picture on its way: seconds since the start, and what gives it, (3, H, W)."""

    seconds: float
    picture: Callable[[], Tensor]


class TimeIsUp(Exception):  # noqa: N818 - it says what happened
    """The next step would end too late."""


def objective(task: Task, vgg: VGG) -> Objective:
    """What all pictures are judged by, and the plain loop minimizes."""
    content, style = load_picture(task.content).pixels, load_picture(task.style).pixels
    return build_objective(content[None], [style[None]], [1.0], vgg, GatysConfig())


def coarse_to_fine(task: Task, vgg: VGG) -> Iterator[Moment]:
    """Ours with its defaults, but for the border."""
    return _ours(task, vgg, _config(task.seconds))


def one_scale(task: Task, vgg: VGG) -> Iterator[Moment]:
    """Ours at the full size only."""
    return _ours(task, vgg, _config(task.seconds, scales=1))


def from_network(task: Task, vgg: VGG) -> Iterator[Moment]:
    """Ours, starting from what a network made of the photo, which is within the time."""
    content = load_picture(task.content).pixels
    engine = Engine(StyleModel.load(task.network), "cpu")
    began = time.perf_counter()
    start = engine.stylize(content)
    taken = time.perf_counter() - began
    yield Moment(taken, lambda: start)
    for moment in _ours(task, vgg, _config(max(task.seconds - taken, 1e-3)), start):
        yield Moment(moment.seconds + taken, moment.picture)


def _config(seconds: float, **settings: Any) -> GatysConfig:
    """Time is the only budget. No border: the loss of what is around the picture is another objective."""
    return GatysConfig(steps=ENDLESS, seconds=seconds, border=0, **settings)


def _ours(task: Task, vgg: VGG, config: GatysConfig, start: Tensor | None = None) -> Iterator[Moment]:
    content, painting = load_picture(task.content).pixels, load_picture(task.painting).pixels
    # Steps keep their pictures, so evaluating them can wait until the time is over.
    for step in paint(content, painting, vgg, config, start=start):
        yield Moment(step.elapsed, step.picture)


def pastiche(task: Task, vgg: VGG) -> Iterator[Moment]:
    """The package, given the same weights; it does not clip, and what it made before its first step is free."""
    from pastiche.pastiche import VGG_MEAN

    artist, mean = pastiche_artist(task, objective(task, vgg)), torch.tensor(VGG_MEAN).view(3, 1, 1)

    def moment(seconds: float) -> Moment:
        values = artist.pastiche.detach()[0].clone()
        return Moment(seconds, lambda: (values + mean).flip(0) / 255)

    began, before, now = time.perf_counter(), 0.0, 0.0
    while now + (now - before) <= task.seconds:
        artist.draw()
        before, now = now, time.perf_counter() - began
        yield moment(now)


def pastiche_artist(task: Task, same: Objective) -> Any:
    """Minimizes `same`. Its Gram matrices are divided by H * W, ours by C * H * W; both then take means."""
    from pastiche.pastiche import PasticheArtist

    sides = [max(load_picture(file).pixels.shape[-2:]) for file in (task.content, task.style)]
    return PasticheArtist(
        task.content,
        [task.style],
        size=sides[0],
        style_size=sides[1],
        device="cpu",
        content_layer_weights=[same.weights["content/relu4_2"]],
        style_layer_weights=[
            same.weights[str(term)] / gram.shape[-1] ** 2 for term, gram in same.gram_targets.items()
        ],
    )


def plain_loop(task: Task, vgg: VGG) -> Iterator[Moment]:
    """As tutorials write it: every loss by autograd, pixels clipped in the closure, torch.optim.LBFGS as it comes.

    The loss is counted in units of its first value, which changes no minimum: as large as these weights make it, the
    loop leaps out of what can be shown in its second step and never comes back.
    """
    same = objective(task, vgg)
    pixels = load_picture(task.content).pixels[None].contiguous().requires_grad_()
    optimizer = torch.optim.LBFGS([pixels])
    unit = plain_loss(pixels, same).item()
    moments: list[Moment] = []
    began = time.perf_counter()

    def closure() -> Tensor:
        with torch.no_grad():
            pixels.clamp_(0, 1)
        now, picture = time.perf_counter() - began, pixels.detach()[0].clone()
        moments.append(Moment(now, lambda: picture))
        if len(moments) > 1 and now + (now - moments[-2].seconds) > task.seconds:
            raise TimeIsUp
        optimizer.zero_grad()
        loss = plain_loss(pixels, same) / unit
        loss.backward()
        return loss

    with contextlib.suppress(TimeIsUp):
        while True:
            optimizer.step(closure)
    return iter(moments)


def plain_loss(pixels: Tensor, same: Objective) -> Tensor:
    """`same`, written down."""
    style_layers = [term.layer for term in same.gram_targets]
    activations = same.vgg.activations(pixels, [*same.content_targets, *style_layers, "pool5"])
    loss = pixels.new_zeros(())
    for layer, wanted in same.content_targets.items():
        loss = loss + same.weights[f"content/{layer}"] * (activations[layer] - wanted).square().mean()
    for term, gram in same.gram_targets.items():
        features = activations[term.layer].flatten(2)[0]
        made = features @ features.T / features.numel()
        loss = loss + same.weights[str(term)] * (made - gram).square().mean()
    return loss


PAINTERS: dict[str, Callable[[Task, VGG], Iterator[Moment]]] = {
    painter.__name__: painter for painter in (coarse_to_fine, one_scale, from_network, pastiche, plain_loop)
}


def judge(task: Task, vgg: VGG, moments: list[Moment]) -> dict[str, Any]:
    """The curve, [seconds, loss] of evenly chosen pictures and the last; and the last one's loss before clipping."""
    same = objective(task, vgg)
    chosen = moments[:: -(-len(moments) // EVALUATED)]
    curve = []
    for moment in [*chosen, *moments[-1:] * (chosen[-1] is not moments[-1])]:
        picture = moment.picture()
        curve.append([moment.seconds, same.evaluate(picture.clamp(0, 1)[None])[0]["total"]])
    answer: dict[str, Any] = {"curve": curve, "steps": len(moments)}
    if picture.min() < 0 or picture.max() > 1:
        answer["unclipped"] = same.evaluate(picture[None])[0]["total"]
    return answer


def main(painter: str, picture: str, **task: Any) -> None:
    wanted, vgg = Task(**task), load_vgg("vgg19")
    # Loading too: weights are read from the disk when first used, and the first optimizer imports a compiler.
    objective(wanted, vgg)
    torch.optim.LBFGS([torch.zeros(1, requires_grad=True)])
    moments = list(PAINTERS[painter](wanted, vgg))
    save_picture(moments[-1].picture().clamp(0, 1), picture)
    print(json.dumps(judge(wanted, vgg, moments)), flush=True)


if __name__ == "__main__":
    main(**json.loads(sys.argv[1]))
