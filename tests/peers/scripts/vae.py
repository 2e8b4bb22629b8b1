"""A variational autoencoder on synthetic digits-like blobs, checkpointed and resumed half-way."""

import io

import numpy as np
import torch
from torch import nn, optim
from torch.nn import functional as F
from torch.utils.data import DataLoader, TensorDataset

np_rng = np.random.default_rng(3)
SIDE, LATENT = 14, 8


def blobs(count):
    ys, xs = np.mgrid[0:SIDE, 0:SIDE]
    centres = np_rng.uniform(3, SIDE - 4, size=(count, 2, 2))
    widths = np_rng.uniform(1.0, 2.2, size=(count, 2))
    images = np.zeros((count, SIDE, SIDE))
    for k in range(2):
        dy = ys[None] - centres[:, k, 0, None, None]
        dx = xs[None] - centres[:, k, 1, None, None]
        images += np.exp(-(dy**2 + dx**2) / (2 * widths[:, k, None, None] ** 2))
    return np.minimum(images, 1.0).astype("float32")


class VAE(nn.Module):
    def __init__(self):
        super().__init__()
        self.fc1 = nn.Linear(SIDE * SIDE, 128)
        self.fc21 = nn.Linear(128, LATENT)
        self.fc22 = nn.Linear(128, LATENT)
        self.fc3 = nn.Linear(LATENT, 128)
        self.fc4 = nn.Linear(128, SIDE * SIDE)

    def encode(self, x):
        h1 = F.relu(self.fc1(x))
        return self.fc21(h1), self.fc22(h1)

    def reparameterize(self, mu, logvar):
        std = torch.exp(0.5 * logvar)
        eps = torch.from_numpy(np_rng.standard_normal(std.shape, dtype=np.float32))
        return eps.mul(std).add_(mu)

    def decode(self, z):
        h3 = F.relu(self.fc3(z))
        return torch.sigmoid(self.fc4(h3))

    def forward(self, x):
        mu, logvar = self.encode(x.view(-1, SIDE * SIDE))
        z = self.reparameterize(mu, logvar)
        return self.decode(z), mu, logvar


def loss_function(recon_x, x, mu, logvar):
    BCE = F.binary_cross_entropy(recon_x, x.view(-1, SIDE * SIDE), reduction="sum")
    # 0.5 * sum(1 + log(sigma^2) - mu^2 - sigma^2)
    KLD = -0.5 * torch.sum(1 + logvar - mu.pow(2) - logvar.exp())
    return BCE + KLD


def fill(module):
    if isinstance(module, nn.Linear):
        bound = 1 / np.sqrt(module.in_features)
        with torch.no_grad():
            module.weight.copy_(torch.tensor(np_rng.uniform(-bound, bound, module.weight.shape)))
            nn.init.zeros_(module.bias)


def train(epoch, model, optimizer, loader):
    model.train()
    train_loss = 0
    for batch_idx, (data, _) in enumerate(loader):
        optimizer.zero_grad(set_to_none=True)
        recon_batch, mu, logvar = model(data)
        loss = loss_function(recon_batch, data, mu, logvar)
        loss.backward()
        train_loss += loss.item()
        optimizer.step()
        if batch_idx % 4 == 0:
            print(f"Train Epoch: {epoch} [{batch_idx * len(data)}] Loss: {loss.item() / len(data):.6f}")
    print(f"====> Epoch: {epoch} Average loss: {train_loss / len(loader.dataset):.6f}")


def test(model, loader):
    model.eval()
    test_loss = 0
    with torch.no_grad():
        for data, labels in loader:
            recon_batch, mu, logvar = model(data)
            test_loss += loss_function(recon_batch, data, mu, logvar).item()
    print(f"====> Test set loss: {test_loss / len(loader.dataset):.6f}")


def main():
    images = torch.from_numpy(blobs(1536))
    labels = torch.arange(len(images)) % 10
    train_set = TensorDataset(images[:1280], labels[:1280])
    test_set = TensorDataset(images[1280:], labels[1280:])
    train_loader = DataLoader(train_set, batch_size=64)
    test_loader = DataLoader(test_set, batch_size=128)
    model = VAE()
    model.apply(fill)
    optimizer = optim.Adam(model.parameters(), lr=2e-3)
    for epoch in range(1, 4):
        train(epoch, model, optimizer, train_loader)
        test(model, test_loader)

    buffer = io.BytesIO()
    torch.save({"epoch": 3, "model": model.state_dict(), "optimizer": optimizer.state_dict()}, buffer)
    buffer.seek(0)
    checkpoint = torch.load(buffer)
    model = VAE()
    model.load_state_dict(checkpoint["model"])
    optimizer = optim.Adam(model.parameters(), lr=1e-1)
    optimizer.load_state_dict(checkpoint["optimizer"])
    for epoch in range(checkpoint["epoch"] + 1, 7):
        train(epoch, model, optimizer, train_loader)
        test(model, test_loader)


if __name__ == "__main__":
    main()
