"""A U-Net that segments discs in noise: skip connections, dice + cross-entropy, plateau schedule."""

import numpy as np
import torch
import torch.nn as nn
import torch.nn.functional as F
from torch.optim import SGD
from torch.optim.lr_scheduler import ReduceLROnPlateau
from torch.utils.data import DataLoader, Dataset, Subset


class Discs(Dataset):
    def __init__(self, count, side=32, transform=None):
        rng = np.random.default_rng(17)
        self.transform = transform
        grid = np.stack(np.meshgrid(np.arange(side), np.arange(side), indexing="ij"))
        self.images, self.masks = [], []
        for _ in range(count):
            centre, radius = rng.uniform(8, side - 8, 2), rng.uniform(3, 7)
            inside = ((grid - centre[:, None, None]) ** 2).sum(0) < radius**2
            image = rng.normal(0, 0.5, (side, side)) + inside * rng.uniform(0.8, 1.6)
            self.images.append(image.astype(np.float32))
            self.masks.append(inside)

    def __len__(self):
        return len(self.images)

    def __getitem__(self, i):
        image = torch.from_numpy(self.images[i])[None]
        mask = torch.from_numpy(self.masks[i].astype(np.int64))
        if self.transform:
            image, mask = self.transform(image, mask, i)
        return {"image": image, "mask": mask, "name": f"disc{i}"}


def flip_odd(image, mask, index):
    if index % 2:
        return image.flip(-1), mask.flip(-1)
    return image, mask


class DoubleConv(nn.Module):
    """(convolution => [BN] => ReLU) * 2"""

    def __init__(self, in_channels, out_channels, mid_channels=None):
        super().__init__()
        mid_channels = mid_channels or out_channels
        self.double_conv = nn.Sequential(
            nn.Conv2d(in_channels, mid_channels, kernel_size=3, padding=1, bias=False),
            nn.BatchNorm2d(mid_channels),
            nn.ReLU(inplace=True),
            nn.Conv2d(mid_channels, out_channels, kernel_size=3, padding=1, bias=False),
            nn.BatchNorm2d(out_channels),
            nn.ReLU(inplace=True),
        )

    def forward(self, x):
        return self.double_conv(x)


class Down(nn.Module):
    def __init__(self, in_channels, out_channels):
        super().__init__()
        self.maxpool_conv = nn.Sequential(nn.MaxPool2d(2), DoubleConv(in_channels, out_channels))

    def forward(self, x):
        return self.maxpool_conv(x)


class Up(nn.Module):
    def __init__(self, in_channels, out_channels, bilinear=True):
        super().__init__()
        if bilinear:
            self.up = nn.Upsample(scale_factor=2, mode="bilinear", align_corners=True)
            self.conv = DoubleConv(in_channels, out_channels, in_channels // 2)
        else:
            self.up = nn.ConvTranspose2d(in_channels, in_channels // 2, kernel_size=2, stride=2)
            self.conv = DoubleConv(in_channels, out_channels)

    def forward(self, x1, x2):
        x1 = self.up(x1)
        diffY = x2.size()[2] - x1.size()[2]
        diffX = x2.size()[3] - x1.size()[3]
        x1 = F.pad(x1, [diffX // 2, diffX - diffX // 2, diffY // 2, diffY - diffY // 2])
        x = torch.cat([x2, x1], dim=1)
        return self.conv(x)


class UNet(nn.Module):
    def __init__(self, n_channels, n_classes, width=8):
        super(UNet, self).__init__()
        self.inc = DoubleConv(n_channels, width)
        self.down1 = Down(width, width * 2)
        self.down2 = Down(width * 2, width * 4)
        self.up1 = Up(width * 4, width * 2, bilinear=False)
        self.up2 = Up(width * 3, width, bilinear=True)
        self.up2.conv = DoubleConv(width * 3, width)
        self.outc = nn.Conv2d(width, n_classes, kernel_size=1)

    def forward(self, x):
        x1 = self.inc(x)
        x2 = self.down1(x1)
        x3 = self.down2(x2)
        x = self.up1(x3, x2)
        x = self.up2(x, x1)
        return self.outc(x)


def dice_coeff(input, target, epsilon=1e-6):
    sum_dim = (-1, -2)
    inter = 2 * (input * target).sum(dim=sum_dim)
    sets_sum = input.sum(dim=sum_dim) + target.sum(dim=sum_dim)
    sets_sum = torch.where(sets_sum == 0, inter, sets_sum)
    return ((inter + epsilon) / (sets_sum + epsilon)).mean()


@torch.inference_mode()
def evaluate(net, loader):
    net.eval()
    score = 0
    for batch in loader:
        pred = net(batch["image"]).argmax(dim=1)
        score += dice_coeff((pred == 1).float(), (batch["mask"] == 1).float())
    net.train()
    return score / max(len(loader), 1)


net = UNet(1, 2)
rng = np.random.default_rng(1)
state = {}
for key, value in net.state_dict().items():
    if value.dim() > 1:
        fan_in = value[0].numel()
        state[key] = torch.from_numpy(rng.normal(0, (2 / fan_in) ** 0.5, value.shape)).to(value.dtype)
    else:
        state[key] = torch.zeros_like(value) if key.endswith("outc.bias") else value.clone()
# The transposed convolution's bias is random in both frameworks.
state["up1.up.bias"] = torch.zeros(state["up1.up.bias"].shape)
print(net.load_state_dict(state))

dataset = Discs(96, transform=flip_odd)
train_loader = DataLoader(Subset(dataset, range(80)), batch_size=8, num_workers=0)
val_loader = DataLoader(Subset(dataset, range(80, 96)), batch_size=8)
optimizer = SGD(net.parameters(), lr=0.02, momentum=0.9, weight_decay=1e-4, nesterov=True)
scheduler = ReduceLROnPlateau(optimizer, "max", patience=1, factor=0.5)
criterion = nn.CrossEntropyLoss(weight=torch.tensor([0.3, 0.7]))
for epoch in range(4):
    for batch in train_loader:
        images, true_masks = batch["image"], batch["mask"]
        masks_pred = net(images)
        loss = criterion(masks_pred, true_masks)
        loss += 1 - dice_coeff(
            F.softmax(masks_pred, dim=1).float(),
            F.one_hot(true_masks, 2).permute(0, 3, 1, 2).float(),
        )
        optimizer.zero_grad(set_to_none=True)
        loss.backward()
        nn.utils.clip_grad_norm_(net.parameters(), 1.0)
        optimizer.step()
        print(f"epoch {epoch} {batch['name'][0]} loss {loss.item():.7f}")
    val_score = evaluate(net, val_loader)
    scheduler.step(val_score)
    print("Validation dice {:.4f} lr {}".format(val_score, optimizer.param_groups[0]["lr"]))
