"""A character-level LSTM language model on a text made by a small grammar."""

import math

import numpy as np
import torch
import torch.nn as nn
import torch.optim as optim

SEED, BATCH, BPTT, HIDDEN, EPOCHS = 11, 16, 32, 96, 4
rng = np.random.default_rng(SEED)


def make_text(sentences):
    subjects = ["the cat", "a dog", "my friend", "the old sailor", "one lamp"]
    verbs = ["sees", "finds", "keeps", "lights", "follows"]
    objects = ["the sea", "a star", "the harbour", "two boats", "nothing"]
    lines = []
    for _ in range(sentences):
        s, v, o = (rng.integers(5) for _ in range(3))
        lines.append(f"{subjects[s]} {verbs[v]} {objects[o]}.")
    return "\n".join(lines)


class Corpus:
    def __init__(self, text):
        self.chars = sorted(set(text))
        self.index = {ch: i for i, ch in enumerate(self.chars)}
        self.ids = torch.tensor([self.index[ch] for ch in text], dtype=torch.long)

    def batchify(self, bsz):
        nbatch = self.ids.size(0) // bsz
        return self.ids.narrow(0, 0, nbatch * bsz).view(bsz, -1).t().contiguous()


class CharLSTM(nn.Module):
    def __init__(self, ntoken, ninp, nhid, nlayers=2):
        super().__init__()
        self.encoder = nn.Embedding(ntoken, ninp)
        self.rnn = nn.LSTM(ninp, nhid, nlayers)
        self.decoder = nn.Linear(nhid, ntoken)
        self.nlayers, self.nhid = nlayers, nhid
        self.init_weights()

    def init_weights(self):
        with torch.no_grad():
            for p in self.parameters():
                values = rng.uniform(-0.08, 0.08, size=tuple(p.shape))
                p.copy_(torch.from_numpy(values))
            self.decoder.bias.zero_()

    def init_hidden(self, bsz):
        weight = next(self.parameters())
        return (
            weight.new_zeros(self.nlayers, bsz, self.nhid),
            weight.new_zeros(self.nlayers, bsz, self.nhid),
        )

    def forward(self, tokens, hidden):
        emb = self.encoder(tokens)
        output, hidden = self.rnn(emb, hidden)
        decoded = self.decoder(output)
        return decoded.view(-1, decoded.size(-1)), hidden


def repackage_hidden(h):
    if isinstance(h, torch.Tensor):
        return h.detach()
    return tuple(repackage_hidden(v) for v in h)


def get_batch(source, i):
    seq_len = min(BPTT, len(source) - 1 - i)
    return source[i : i + seq_len], source[i + 1 : i + 1 + seq_len].reshape(-1)


corpus = Corpus(make_text(600))
data = corpus.batchify(BATCH)
split = int(data.size(0) * 0.9)
train_data, valid_data = data[:split], data[split:]
model = CharLSTM(len(corpus.chars), 32, HIDDEN)
criterion = nn.CrossEntropyLoss()
optimizer = optim.Adam(model.parameters(), lr=4e-3)
scheduler = optim.lr_scheduler.StepLR(optimizer, step_size=2, gamma=0.5)


@torch.no_grad()
def evaluate(source):
    model.eval()
    total, hidden = 0.0, model.init_hidden(BATCH)
    for i in range(0, source.size(0) - 1, BPTT):
        tokens, targets = get_batch(source, i)
        output, hidden = model(tokens, hidden)
        total += len(tokens) * criterion(output, targets).item()
    return total / (len(source) - 1)


def sample(prompt, length=40):
    model.eval()
    hidden, out = model.init_hidden(1), prompt
    with torch.no_grad():
        for ch in prompt:
            logits, hidden = model(torch.tensor([[corpus.index[ch]]]), hidden)
        for _ in range(length):
            nxt = logits.argmax(dim=-1).item()
            out += corpus.chars[nxt]
            logits, hidden = model(torch.tensor([[nxt]]), hidden)
    return out


for epoch in range(1, EPOCHS + 1):
    model.train()
    hidden = model.init_hidden(BATCH)
    for step, i in enumerate(range(0, train_data.size(0) - 1, BPTT)):
        tokens, targets = get_batch(train_data, i)
        hidden = repackage_hidden(hidden)
        optimizer.zero_grad()
        output, hidden = model(tokens, hidden)
        loss = criterion(output, targets)
        loss.backward()
        norm = torch.nn.utils.clip_grad_norm_(model.parameters(), 0.5)
        optimizer.step()
        if step % 5 == 0:
            print(f"epoch {epoch} step {step} loss {loss.item():.7f} norm {norm:.6f}")
    scheduler.step()
    val = evaluate(valid_data)
    print(f"epoch {epoch} valid loss {val:.7f} ppl {math.exp(val):.4f} lr {scheduler.get_last_lr()[0]}")
print(repr(sample("the ")))
