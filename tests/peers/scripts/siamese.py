"""A siamese network with contrastive loss, watched by hooks; Adadelta and an exponential schedule."""

import argparse

import numpy as np
import torch
import torch.nn as nn
import torch.nn.functional as F
from torch.optim import Adadelta
from torch.optim.lr_scheduler import ExponentialLR
from torch.utils.data import DataLoader, Dataset, Sampler

rng = np.random.default_rng(99)


class Shapes(Dataset):
    """Pairs of noisy patterns: 1 when both are of one class."""

    def __init__(self, n, classes=6):
        patterns = rng.normal(size=(classes, 1, 12, 12))
        labels = rng.integers(classes, size=(n, 2))
        same = rng.random(n) < 0.5
        labels[same, 1] = labels[same, 0]
        self.a = (patterns[labels[:, 0]] + 0.6 * rng.normal(size=(n, 1, 12, 12))).astype("float32")
        self.b = (patterns[labels[:, 1]] + 0.6 * rng.normal(size=(n, 1, 12, 12))).astype("float32")
        self.y = (labels[:, 0] == labels[:, 1]).astype("float32")

    def __getitem__(self, index):
        return self.a[index], self.b[index], self.y[index]

    def __len__(self):
        return len(self.y)


class NumpySampler(Sampler):
    """Shuffled by NumPy, so that all frameworks see one order."""

    def __init__(self, n):
        self.n = n

    def __iter__(self):
        yield from rng.permutation(self.n).tolist()

    def __len__(self):
        return self.n


class SiameseNetwork(nn.Module):
    def __init__(self, dim=16):
        super().__init__()
        self.cnn = nn.Sequential(
            nn.Conv2d(1, 8, 3, padding=1),
            nn.GroupNorm(2, 8),
            nn.PReLU(),
            nn.AvgPool2d(2),
            nn.Conv2d(8, 16, 3),
            nn.InstanceNorm2d(16, affine=True),
            nn.SiLU(),
            nn.AdaptiveAvgPool2d((2, 2)),
            nn.Flatten(),
        )
        self.head = nn.Sequential(nn.Linear(64, 32), nn.Softplus(), nn.Linear(32, dim))

    def forward_once(self, x):
        return self.head(self.cnn(x))

    def forward(self, x1, x2):
        return self.forward_once(x1), self.forward_once(x2)


class ContrastiveLoss(nn.Module):
    def __init__(self, margin=1.0):
        super().__init__()
        self.margin = margin
        self.register_buffer("calls", torch.tensor(0))

    def forward(self, output1, output2, label):
        self.calls += 1
        distance = F.pairwise_distance(output1, output2, keepdim=True).squeeze(-1)
        return torch.mean(
            label * torch.pow(distance, 2)
            + (1 - label) * torch.pow(torch.clamp(self.margin - distance, min=0.0), 2)
        )


def main(args):
    net, criterion = SiameseNetwork(), ContrastiveLoss(args.margin)
    with torch.no_grad():
        for name, p in net.named_parameters():
            if p.ndim > 1:
                p.copy_(torch.as_tensor(rng.normal(0, 1 / np.sqrt(p[0].numel()), p.shape)))
            elif name.endswith("bias"):
                p.zero_()
    activations, gradients = {}, {}

    def remember(name):
        def hook(module, inputs, output):
            activations[name] = output.detach().abs().mean().item()

        return hook

    handles = [m.register_forward_hook(remember(n)) for n, m in net.cnn.named_children() if n in "25"]
    net.head[0].register_full_backward_hook(
        lambda m, gin, gout: gradients.update(head=gout[0].norm().item())
    )
    net.head[0].weight.register_hook(lambda grad: grad * 0.5)

    train = Shapes(512)
    loader = DataLoader(train, batch_size=args.batch_size, sampler=NumpySampler(len(train)))
    optimizer = Adadelta(net.parameters(), lr=args.lr)
    scheduler = ExponentialLR(optimizer, gamma=args.gamma)
    for epoch in range(1, args.epochs + 1):
        for i, (a, b, y) in enumerate(loader):
            optimizer.zero_grad()
            out1, out2 = net(a, b)
            loss = criterion(out1, out2, y)
            loss.backward()
            optimizer.step()
            if i % 2 == 0:
                print(f"epoch {epoch} batch {i} loss {loss.item():.8f} |g| {gradients['head']:.6f}")
        scheduler.step()
    for handle in handles:
        handle.remove()
    net.eval()
    with torch.no_grad():
        out1, out2 = net(torch.from_numpy(train.a), torch.from_numpy(train.b))
        near = F.pairwise_distance(out1, out2) < args.margin / 2
        accuracy = near.eq(torch.from_numpy(train.y).bool()).float().mean()
    print(f"calls {criterion.calls.item()} accuracy {accuracy:.3f} activations {sorted(activations)}")


if __name__ == "__main__":
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--batch-size", type=int, default=32)
    parser.add_argument("--epochs", type=int, default=5)
    parser.add_argument("--lr", type=float, default=1.0)
    parser.add_argument("--gamma", type=float, default=0.7)
    parser.add_argument("--margin", type=float, default=1.0)
    main(parser.parse_args([]))
