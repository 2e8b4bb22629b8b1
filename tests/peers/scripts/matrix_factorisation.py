"""Matrix factorisation with biases on ratings of a hidden low-rank table; then the same with bags of
tags and a dot product in einsum. Adagrad, then RMSprop with a multi-step schedule."""

import numpy as np
import torch
from torch import nn
from torch.utils.data import BatchSampler, DataLoader, SequentialSampler, TensorDataset, random_split

USERS, ITEMS, TAGS, FACTORS = 400, 300, 20, 12
rs = np.random.RandomState(0)


def ratings(n=12000):
    u, i = rs.randint(0, USERS, n), rs.randint(0, ITEMS, n)
    hidden_u, hidden_i = rs.randn(USERS, 4), rs.randn(ITEMS, 4)
    r = 3 + 0.6 * (hidden_u[u] * hidden_i[i]).sum(1) + 0.3 * rs.randn(n)
    tags = rs.randint(0, TAGS, (ITEMS, 3))
    return torch.LongTensor(u), torch.LongTensor(i), torch.FloatTensor(np.clip(r, 1, 5)), tags


class MF(nn.Module):
    def __init__(self, num_users, num_items, emb_size):
        super(MF, self).__init__()
        self.user_emb = nn.Embedding(num_users, emb_size)
        self.item_emb = nn.Embedding(num_items, emb_size)
        self.user_bias = nn.Embedding(num_users, 1)
        self.item_bias = nn.Embedding(num_items, 1)
        self.mean = nn.Parameter(torch.FloatTensor([3.0]), requires_grad=False)
        for table in (self.user_emb, self.item_emb):
            table.weight.data = torch.FloatTensor(rs.uniform(0, 0.25, (table.num_embeddings, emb_size)))
        for table in (self.user_bias, self.item_bias):
            table.weight.data.zero_()

    def forward(self, u, v):
        U, V = self.user_emb(u), self.item_emb(v)
        b_u, b_v = self.user_bias(u).squeeze(), self.item_bias(v).squeeze()
        return (U * V).sum(1) + b_u + b_v + self.mean


class TagMF(MF):
    def __init__(self, *sizes, tags):
        super().__init__(*sizes)
        self.tag_emb = nn.EmbeddingBag(TAGS, sizes[-1], mode="mean")
        self.tag_emb.weight.data.copy_(torch.from_numpy(rs.randn(TAGS, sizes[-1]) * 0.05))
        self.register_buffer("tags", torch.from_numpy(tags))

    def forward(self, u, v):
        item = self.item_emb(v) + self.tag_emb(self.tags[v])
        score = torch.einsum("bf,bf->b", self.user_emb(u), item)
        return score + self.user_bias(u)[:, 0] + self.item_bias(v)[:, 0] + self.mean


def fit(model, optimizer, loader, test, epochs, scheduler=None):
    loss_fn = nn.MSELoss()
    for epoch in range(epochs):
        for step, (u, v, r) in enumerate(loader):
            loss = loss_fn(model(u, v), r)
            optimizer.zero_grad()
            loss.backward()
            optimizer.step()
            if step % 8 == 0:
                print("%d/%d loss %.8f" % (epoch, step, loss.item()))
        if scheduler is not None:
            scheduler.step()
        model.eval()
        with torch.no_grad():
            u, v, r = test
            rmse = ((model(u, v) - r) ** 2).mean().sqrt()
            print("%d test rmse loss %.6f" % (epoch, rmse))
        model.train()


u, v, r, tags = ratings()
full = TensorDataset(u, v, r)
train, held_out = random_split(full, [0.9, 0.1], generator=torch.Generator().manual_seed(1))
# The two halves are random in each framework: what is compared is taken in order.
train.indices, held_out.indices = list(range(10800)), list(range(10800, 12000))
sampler = BatchSampler(SequentialSampler(train), batch_size=256, drop_last=False)
loader = DataLoader(train, batch_sampler=sampler)
test = full[10800:]

model = MF(USERS, ITEMS, FACTORS)
optimizer = torch.optim.Adagrad((p for p in model.parameters() if p.requires_grad), lr=0.08, weight_decay=1e-4)
fit(model, optimizer, loader, test, 3)

tagged = TagMF(USERS, ITEMS, FACTORS, tags=tags)
missing, unexpected = tagged.load_state_dict(model.state_dict(), strict=False)
print("missing", missing, "unexpected", unexpected)
groups = [
    {"params": [p for n, p in tagged.named_parameters() if "emb" in n], "lr": 2e-3},
    {"params": [p for n, p in tagged.named_parameters() if "bias" in n]},
]
optimizer = torch.optim.RMSprop(groups, lr=1e-3, alpha=0.95, momentum=0.5, centered=True)
scheduler = torch.optim.lr_scheduler.MultiStepLR(optimizer, milestones=[1, 2], gamma=0.3)
fit(tagged, optimizer, loader, test, 3, scheduler)
similar = torch.cdist(tagged.item_emb.weight[:5], tagged.item_emb.weight).topk(3, largest=False)
print("nearest", similar.indices[:, 0].tolist())
