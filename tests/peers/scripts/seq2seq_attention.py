"""Reversing sequences with a GRU encoder, additive attention and a GRU decoder; packed sequences,
teacher forcing, masks, gradient clipping, Adamax and a warm-up by LambdaLR."""

import numpy as np
import torch
import torch.nn as nn
import torch.nn.functional as F
from torch import optim
from torch.nn.utils.rnn import pack_padded_sequence, pad_packed_sequence, pad_sequence
from torch.utils.data import DataLoader

PAD, SOS, EOS, VOCAB = 0, 1, 2, 16
rng = np.random.default_rng(42)


def make_pairs(n):
    pairs = []
    for _ in range(n):
        tokens = rng.integers(3, VOCAB, size=rng.integers(3, 9))
        pairs.append((torch.tensor(tokens), torch.tensor([*tokens[::-1], EOS])))
    return pairs


def collate(batch):
    batch = sorted(batch, key=lambda pair: len(pair[0]), reverse=True)
    sources, targets = zip(*batch)
    lengths = torch.tensor([len(s) for s in sources])
    return (
        pad_sequence(sources, batch_first=True, padding_value=PAD),
        lengths,
        pad_sequence(targets, batch_first=True, padding_value=PAD),
    )


class EncoderRNN(nn.Module):
    def __init__(self, input_size, hidden_size):
        super().__init__()
        self.embedding = nn.Embedding(input_size, hidden_size, padding_idx=PAD)
        self.gru = nn.GRU(hidden_size, hidden_size, batch_first=True, bidirectional=True)
        self.reduce = nn.Linear(2 * hidden_size, hidden_size)

    def forward(self, source, lengths):
        packed = pack_padded_sequence(self.embedding(source), lengths, batch_first=True)
        outputs, hidden = self.gru(packed)
        outputs, _ = pad_packed_sequence(outputs, batch_first=True)
        hidden = torch.tanh(self.reduce(torch.cat([hidden[0], hidden[1]], dim=-1)))
        return self.reduce(outputs), hidden


class BahdanauAttention(nn.Module):
    def __init__(self, hidden_size):
        super().__init__()
        self.Wa = nn.Linear(hidden_size, hidden_size)
        self.Ua = nn.Linear(hidden_size, hidden_size)
        self.Va = nn.Linear(hidden_size, 1)

    def forward(self, query, keys, mask):
        scores = self.Va(torch.tanh(self.Wa(query.unsqueeze(1)) + self.Ua(keys))).squeeze(2)
        scores = scores.masked_fill(~mask, -1e9)
        weights = F.softmax(scores, dim=-1)
        context = torch.bmm(weights.unsqueeze(1), keys)
        return context.squeeze(1), weights


class AttnDecoderRNN(nn.Module):
    def __init__(self, hidden_size, output_size):
        super().__init__()
        self.embedding = nn.Embedding(output_size, hidden_size)
        self.attention = BahdanauAttention(hidden_size)
        self.gru = nn.GRUCell(2 * hidden_size, hidden_size)
        self.out = nn.Linear(hidden_size, output_size)

    def forward(self, keys, hidden, mask, target=None, max_length=10, teacher_forcing=1.0):
        batch_size = keys.size(0)
        token = torch.empty(batch_size, dtype=torch.long).fill_(SOS)
        outputs, attentions = [], []
        for t in range(max_length if target is None else target.size(1)):
            context, weights = self.attention(hidden, keys, mask)
            hidden = self.gru(torch.cat((self.embedding(token), context), dim=1), hidden)
            logits = self.out(hidden)
            outputs.append(logits)
            attentions.append(weights)
            if target is not None and rng.random() < teacher_forcing:
                token = target[:, t]
            else:
                _, topi = logits.topk(1)
                token = topi.squeeze(-1).detach()
        return torch.stack(outputs, dim=1), torch.stack(attentions, 1)


hidden_size = 48
encoder, decoder = EncoderRNN(VOCAB, hidden_size), AttnDecoderRNN(hidden_size, VOCAB)
for module in (encoder, decoder):
    for name, param in module.named_parameters():
        if "weight" in name:
            param.data.copy_(torch.from_numpy(rng.normal(0, 0.15, size=param.shape)))
        else:
            nn.init.constant_(param.data, 0)
train_loader = DataLoader(make_pairs(960), batch_size=32, collate_fn=collate)
parameters = list(encoder.parameters()) + list(decoder.parameters())
optimizer = optim.Adamax(parameters, lr=4e-3)
scheduler = optim.lr_scheduler.LambdaLR(optimizer, lambda step: min(1.0, (step + 1) / 20))
criterion = nn.CrossEntropyLoss(ignore_index=PAD)

for epoch in range(3):
    encoder.train(), decoder.train()
    for step, (source, lengths, target) in enumerate(train_loader):
        optimizer.zero_grad()
        keys, hidden = encoder(source, lengths)
        mask = torch.arange(source.size(1))[None, :] < lengths[:, None]
        logits, attention = decoder(keys, hidden, mask, target, teacher_forcing=0.9)
        loss = criterion(logits.transpose(1, 2), target)
        loss.backward()
        nn.utils.clip_grad_norm_(parameters, max_norm=1.0)
        optimizer.step()
        scheduler.step()
        if step % 3 == 0:
            print(f"epoch {epoch} step {step} loss {loss.item():.7f}")

with torch.no_grad():
    encoder.eval(), decoder.eval()
    source, lengths, target = next(iter(train_loader))
    mask = torch.arange(source.size(1)).unsqueeze(0) < lengths.unsqueeze(1)
    logits, attention = decoder(*encoder(source, lengths), mask, max_length=target.size(1))
    hits = (logits.argmax(-1) == target)[target != PAD]
    spread = torch.einsum("bts,bts->", attention, attention) / attention[..., 0].numel()
    print(f"accuracy {hits.float().mean().item():.2f} attention {spread.item():.3f} {tuple(attention.shape)}")
