"""A small DCGAN on 16 x 16 images of blurred bars."""

import numpy as np
import torch
import torch.nn as nn
from torch.utils.data import DataLoader, Dataset

nz, ngf, ndf, batch_size, epochs = 16, 16, 16, 32, 4
rng = np.random.RandomState(7)


class Bars(Dataset):
    """One bright horizontal or vertical bar on noise, in [-1, 1]."""

    def __init__(self, n):
        images = rng.normal(-0.8, 0.05, size=(n, 1, 16, 16))
        for image in images:
            k = rng.randint(2, 13)
            if rng.rand() < 0.5:
                image[0, k : k + 2] = 0.9
            else:
                image[0, :, k : k + 2] = 0.9
        self.images = torch.as_tensor(np.clip(images, -1, 1), dtype=torch.float32)

    def __len__(self):
        return len(self.images)

    def __getitem__(self, index):
        return self.images[index], index


class Generator(nn.Module):
    def __init__(self):
        super(Generator, self).__init__()
        self.main = nn.Sequential(
            nn.ConvTranspose2d(nz, ngf * 2, 4, 1, 0, bias=False),
            nn.BatchNorm2d(ngf * 2),
            nn.ReLU(True),
            nn.ConvTranspose2d(ngf * 2, ngf, 4, 2, 1, bias=False),
            nn.BatchNorm2d(ngf),
            nn.ReLU(True),
            nn.ConvTranspose2d(ngf, 1, 4, 2, 1, bias=False),
            nn.Tanh(),
        )

    def forward(self, input):
        return self.main(input)


class Discriminator(nn.Module):
    def __init__(self):
        super(Discriminator, self).__init__()
        self.main = nn.Sequential(
            nn.Conv2d(1, ndf, 4, 2, 1, bias=False),
            nn.LeakyReLU(0.2, inplace=True),
            nn.Conv2d(ndf, ndf * 2, 4, 2, 1, bias=False),
            nn.BatchNorm2d(ndf * 2),
            nn.LeakyReLU(0.2, inplace=True),
            nn.Conv2d(ndf * 2, 1, 4, 1, 0, bias=False),
            nn.Sigmoid(),
        )

    def forward(self, input):
        return self.main(input).view(-1, 1).squeeze(1)


def weights_init(m):
    classname = m.__class__.__name__
    if classname.find("Conv") != -1:
        m.weight.data.copy_(torch.from_numpy(rng.normal(0.0, 0.05, m.weight.shape)))
    elif classname.find("BatchNorm") != -1:
        m.weight.data.copy_(torch.from_numpy(rng.normal(1.0, 0.02, m.weight.shape)))
        m.bias.data.fill_(0)


def noise(n):
    return torch.from_numpy(rng.randn(n, nz, 1, 1).astype(np.float32))


device = torch.device("cuda" if torch.cuda.is_available() else "cpu")
dataloader = DataLoader(Bars(320), batch_size=batch_size, shuffle=False, drop_last=True)
netG, netD = Generator().to(device), Discriminator().to(device)
netG.apply(weights_init)
netD.apply(weights_init)
criterion = nn.BCELoss()
fixed_noise = noise(8).to(device)
real_label, fake_label = 1, 0
optimizerD = torch.optim.Adam(netD.parameters(), lr=0.0005, betas=(0.5, 0.999))
optimizerG = torch.optim.Adam(netG.parameters(), lr=0.0005, betas=(0.5, 0.999))

for epoch in range(epochs):
    for i, (real, _) in enumerate(dataloader):
        # Update D: maximise log(D(x)) + log(1 - D(G(z))).
        netD.zero_grad()
        real = real.to(device)
        label = torch.full((real.size(0),), real_label, dtype=real.dtype, device=device)
        output = netD(real)
        errD_real = criterion(output, label)
        errD_real.backward()
        D_x = output.mean().item()
        fake = netG(noise(real.size(0)).to(device))
        label.fill_(fake_label)
        output = netD(fake.detach())
        errD_fake = criterion(output, label)
        errD_fake.backward()
        errD = errD_real + errD_fake
        optimizerD.step()
        # Update G: maximise log(D(G(z))).
        netG.zero_grad()
        label.fill_(real_label)
        output = netD(fake)
        errG = criterion(output, label)
        errG.backward()
        optimizerG.step()
        print(
            "[%d/%d][%d/%d] Loss_D: %.7f Loss_G: %.7f D(x): %.4f"
            % (epoch, epochs, i, len(dataloader), errD.item(), errG.item(), D_x)
        )
    with torch.no_grad():
        netG.eval()
        picture = netG(fixed_noise).clamp(-1, 1)
        netG.train()
    print(f"epoch {epoch} pixels mean {picture.mean():.5f} std {picture.std():.5f}")
