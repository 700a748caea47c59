"""Two trainings as others write them, on small data: they log with the JournaledTracker and know nothing else of it.

`text` is the loop of Accelerate's complete_nlp_example.py, `pictures` that of fast_neural_style in pytorch/examples.
Each is a function of the tracker, the folder for its files, and the seconds that a step waits, as if the network were
larger.
"""

import time
from pathlib import Path

import torch
from accelerate import Accelerator
from accelerate.utils import set_seed
from torch import nn
from torch.nn import functional as F
from torch.utils.data import DataLoader, TensorDataset

from training.tracking import JournaledTracker, sender


def text(tracker: JournaledTracker, folder: Path, pause: float) -> None:
    """Train a classifier of random tokens, evaluate it after each epoch and save it."""
    config = {"lr": 2e-3, "num_epochs": 2, "seed": 42, "batch_size": 8}
    accelerator = Accelerator(cpu=True, log_with=tracker)
    set_seed(config["seed"])
    accelerator.init_trackers("complete_nlp_example", config)
    tokens = torch.randint(0, 50, (160, 12))
    labels = (tokens[:, 0] > tokens[:, 1]).long()
    train_loader = DataLoader(TensorDataset(tokens[:128], labels[:128]), shuffle=True, batch_size=config["batch_size"])
    eval_loader = DataLoader(TensorDataset(tokens[128:], labels[128:]), batch_size=config["batch_size"])
    model = nn.Sequential(nn.Embedding(50, 16), nn.Flatten(), nn.Linear(192, 32), nn.ReLU(), nn.Linear(32, 2))
    optimizer = torch.optim.AdamW(model.parameters(), lr=config["lr"])
    scheduler = torch.optim.lr_scheduler.LinearLR(optimizer, 1.0, 0.0, total_iters=32)
    model, optimizer, train_loader, eval_loader, scheduler = accelerator.prepare(
        model, optimizer, train_loader, eval_loader, scheduler
    )
    overall_step = 0
    for epoch in range(config["num_epochs"]):
        model.train()
        total_loss = torch.zeros(())
        for inputs, targets in train_loader:
            loss = F.cross_entropy(model(inputs), targets)
            total_loss += loss.detach()
            accelerator.backward(loss)
            optimizer.step()
            scheduler.step()
            optimizer.zero_grad()
            overall_step += 1
            accelerator.log({"loss": loss, "lr": scheduler.get_last_lr()[0]}, step=overall_step)
            time.sleep(pause * accelerator.num_processes)
        model.eval()
        correct = 0
        for inputs, targets in eval_loader:
            with torch.no_grad():
                predictions = model(inputs).argmax(dim=-1)
            predictions, targets = accelerator.gather_for_metrics((predictions, targets))
            correct += int((predictions == targets).sum())
        accelerator.log(
            {"accuracy": correct / 32, "train_loss": total_loss.item() / len(train_loader), "epoch": epoch}, step=epoch
        )
        accelerator.save_model(model, folder / f"epoch_{epoch}")
        tracker.log_artifacts(folder / f"epoch_{epoch}", f"epoch_{epoch}")
    accelerator.end_training()


def pictures(tracker: JournaledTracker, folder: Path, pause: float) -> None:
    """Train a transformation network for a random style, with pictures and checkpoints on the way."""
    config = {"lr": 1e-3, "content_weight": 1e5, "style_weight": 1e10, "batch_size": 2}
    accelerator = Accelerator(cpu=True, log_with=tracker)
    set_seed(42)
    accelerator.init_trackers("fast_neural_style", config)
    train_loader = DataLoader(TensorDataset(torch.rand(64, 3, 24, 24)), shuffle=True, batch_size=config["batch_size"])
    test_picture = torch.rand(1, 3, 24, 24)
    vgg = nn.ModuleList([nn.Conv2d(3, 8, 3, 2, 1), nn.Conv2d(8, 16, 3, 2, 1)]).requires_grad_(False)
    style = [gram_matrix(layer) for layer in layers_of(vgg, torch.rand(1, 3, 24, 24))]
    transformer = nn.Sequential(
        nn.Conv2d(3, 8, 3, padding=1), nn.InstanceNorm2d(8, affine=True), nn.ReLU(), nn.Conv2d(8, 3, 3, padding=1)
    )
    optimizer = torch.optim.Adam(transformer.parameters(), config["lr"])
    transformer, optimizer, train_loader = accelerator.prepare(transformer, optimizer, train_loader)
    for batch_id, (x,) in enumerate(train_loader, 1):
        optimizer.zero_grad()
        y = transformer(x)
        of_x, of_y = layers_of(vgg, x), layers_of(vgg, y)
        content_loss = config["content_weight"] * F.mse_loss(of_y[1], of_x[1])
        of_style = [gram.expand(len(x), -1, -1) for gram in style]
        style_loss = config["style_weight"] * sum(map(F.mse_loss, map(gram_matrix, of_y), of_style))
        accelerator.backward(content_loss + style_loss)
        optimizer.step()
        accelerator.log({"content": content_loss, "style": style_loss}, step=batch_id)
        if batch_id % 4 == 0:
            with torch.no_grad():
                stylized = accelerator.unwrap_model(transformer)(test_picture)
            tracker.log_images({"stylized": stylized[0], "batch": list(y[:2])}, step=batch_id)
        if batch_id % 8 == 0:
            accelerator.save_model(transformer, folder)
            tracker.log_checkpoint(folder / "model.safetensors", batch_id, metrics={"content": content_loss.item()})
        time.sleep(pause * accelerator.num_processes)
    accelerator.end_training()


def layers_of(vgg: nn.ModuleList, x: torch.Tensor) -> list[torch.Tensor]:
    layers = []
    for convolution in vgg:
        x = convolution(x).relu()
        layers.append(x)
    return layers


def gram_matrix(y: torch.Tensor) -> torch.Tensor:
    features = y.flatten(2)
    return features @ features.mT / y[0].numel()


TRAININGS = {"text": text, "pictures": pictures}


def run(training: str, folder: Path, pause: float) -> None:
    """One process of a training."""
    # A server that comes back is asked again soon.
    sender.FIRST_PAUSE, sender.LONGEST_PAUSE, sender.GATHER_SECONDS = 0.2, 1.0, 0.5
    TRAININGS[training](JournaledTracker(folder, system_metrics=False), folder / "files", pause)
