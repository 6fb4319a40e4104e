"""Networks of kinds that users bring, each as they write it. NETS: name -> (module, inputs)."""

import torch
from torch import nn
from torch.nn import functional


class Own(nn.Module):
    """A function of a module with parameters of its own."""

    def __init__(self, function, **parameters):
        super().__init__()
        for name, size in parameters.items():
            self.register_parameter(name, nn.Parameter(torch.randn(*size) / size[-1] ** 0.5))
        self.function = function

    def forward(self, *x):
        return self.function(self, *x)


class Recurrent(nn.Module):
    """A recurrent layer of torch that returns outputs and states."""

    def __init__(self, kind, *sizes, **options):
        super().__init__()
        self.r = getattr(nn, kind)(*sizes, **options)

    def forward(self, x, *state):
        state = {0: None, 1: state[0] if state else None}.get(len(state), state)
        y, state = self.r(x, state)
        return (y, *(state if isinstance(state, tuple) else (state,)))


class Cells(nn.Module):
    """A recurrent cell in a loop over time."""

    def __init__(self, kind, **options):
        super().__init__()
        self.cell = getattr(nn, kind)(6, 12, **options)

    def forward(self, x):
        h, c, out = torch.zeros(1, 12), torch.zeros(1, 12), []
        for t in range(x.shape[1]):
            if isinstance(self.cell, nn.LSTMCell):
                h, c = self.cell(x[:, t], (h, c))
            else:
                h = self.cell(x[:, t], h)
            out.append(h)
        return torch.stack(out, 1)


class LstmByHand(nn.Module):
    """One matrix for input and state, the gates written out."""

    def __init__(self):
        super().__init__()
        self.gates = nn.Linear(6 + 12, 48)

    def forward(self, x):
        h, c = torch.zeros(1, 12), torch.zeros(1, 12)
        for t in range(x.shape[1]):
            i, f, g, o = self.gates(torch.cat([x[:, t], h], 1)).chunk(4, 1)
            c = torch.sigmoid(f) * c + torch.sigmoid(i) * torch.tanh(g)
            h = torch.sigmoid(o) * torch.tanh(c)
        return h


class Llama(nn.Module):
    """Grouped heads, rotary positions, RMS norms, a gated MLP."""

    def __init__(self, d=32, heads=4, kept=2):
        super().__init__()
        self.heads, self.kept, self.k = heads, kept, d // heads

        def matrix(n_in, n_out):
            return nn.Linear(n_in, n_out, bias=False)

        self.q, self.o = matrix(d, d), matrix(d, d)
        self.key, self.value = matrix(d, kept * self.k), matrix(d, kept * self.k)
        self.gate, self.up, self.down = matrix(d, 64), matrix(d, 64), matrix(64, d)
        self.norms = nn.ModuleList([nn.RMSNorm(d), nn.RMSNorm(d)])

    def turn(self, x):
        rate = 1 / 10000 ** (torch.arange(0, self.k, 2).float() / self.k)
        angle = torch.outer(torch.arange(x.shape[2]).float(), rate)
        angle = torch.cat([angle, angle], -1)
        a, b = x.chunk(2, -1)
        return x * angle.cos() + torch.cat([-b, a], -1) * angle.sin()

    def forward(self, x):
        b, n, d = x.shape
        y = self.norms[0](x)
        q = self.turn(self.q(y).view(b, n, self.heads, self.k).transpose(1, 2))
        key = self.turn(self.key(y).view(b, n, self.kept, self.k).transpose(1, 2))
        value = self.value(y).view(b, n, self.kept, self.k).transpose(1, 2)
        each = self.heads // self.kept
        key = key[:, :, None].expand(b, self.kept, each, n, self.k).reshape(b, self.heads, n, -1)
        value = value.repeat_interleave(each, 1)
        y = functional.scaled_dot_product_attention(q, key, value, is_causal=True)
        x = x + self.o(y.transpose(1, 2).contiguous().view(b, n, d))
        y = self.norms[1](x)
        return x + self.down(functional.silu(self.gate(y)) * self.up(y))


class WindowAttention(nn.Module):
    """A map cut into windows by view and permute, attention by einsum, as in MaxViT."""

    def __init__(self, c=16, size=4, heads=2):
        super().__init__()
        self.size, self.heads = size, heads
        self.stem, self.qkv, self.o = (
            nn.Conv2d(3, c, 3, padding=1),
            nn.Linear(c, 3 * c),
            nn.Linear(c, c),
        )
        self.near = nn.Parameter(torch.randn(heads, size**2, size**2) / 10)

    def forward(self, x):
        x = self.stem(x)
        (b, c, h, w), p = x.shape, self.size
        y = x.reshape(b, c, h // p, p, w // p, p).permute(0, 2, 4, 3, 5, 1)
        y = y.contiguous().view(-1, p * p, c)
        q, k, v = (
            self.qkv(y).view(len(y), p * p, 3, self.heads, -1).permute(2, 0, 3, 1, 4).unbind(0)
        )
        a = torch.einsum("bhid,bhjd->bhij", q, k) * (c // self.heads) ** -0.5
        y = torch.einsum("bhij,bhjd->bhid", (a + self.near).softmax(-1), v)
        y = self.o(y.transpose(1, 2).reshape(-1, p * p, c))
        y = y.view(b, h // p, w // p, p, p, c).permute(0, 5, 1, 3, 2, 4)
        return x + y.contiguous().view(b, c, h, w)


class Shuffled(nn.Module):
    """Channels in groups, changed over by view, transpose, contiguous and view."""

    def __init__(self):
        super().__init__()
        self.a, self.b = nn.Conv2d(3, 8, 3, padding=1), nn.Conv2d(8, 3, 3, padding=1)

    def forward(self, x):
        y = functional.relu(self.a(x))
        n, c, h, w = y.shape
        y = y.view(n, 2, c // 2, h, w).transpose(1, 2).contiguous().view(n, c, h, w)
        return self.b(y)


class Tokens(nn.Module):
    """Integer inputs, embedding, attention, the embedding's matrix at the end again."""

    def __init__(self):
        super().__init__()
        self.e = nn.Embedding(40, 16)
        self.block = nn.TransformerEncoderLayer(16, 2, 32, batch_first=True, dropout=0.0)

    def forward(self, ids):
        return self.block(self.e(ids)) @ self.e.weight.T


class Sparse(nn.Module):
    """A graph convolution: the edges are a sparse constant."""

    def __init__(self):
        super().__init__()
        self.l = nn.Linear(6, 4)
        edges = torch.rand(9, 9) * (torch.rand(9, 9) > 0.6)
        self.register_buffer("edges", edges.to_sparse())

    def forward(self, x):
        return torch.sparse.mm(self.edges, self.l(x[0]))


def spectral(m, x):
    """Multiply low frequencies by a complex matrix each, as Fourier neural operators do."""
    low = torch.fft.rfft2(x)[:, :, :4, :3]
    y = torch.einsum("bixy,ioxy->boxy", low, torch.view_as_complex(m.w))
    return torch.fft.irfft2(functional.pad(y, (0, 2, 0, 4)), s=(8, 8))


def depth_to_space(m, x):
    y = functional.conv2d(x, m.w, padding=1).view(1, 3, 2, 2, 6, 6)
    return y.permute(0, 1, 4, 2, 5, 3).contiguous().view(1, 3, 12, 12)


def memory_format(m, x):
    y = functional.conv2d(x, m.w, padding=1).to(memory_format=torch.channels_last)
    return y.flatten(2).transpose(1, 2).clone(memory_format=torch.contiguous_format).view(1, -1)


def einsum(equation, shape, **parameters):
    def function(m, x):
        return torch.einsum(equation, x, *(getattr(m, name) for name in parameters))

    return Own(function, **parameters), (torch.randn(*shape),)


def own(function, shape, **parameters):
    return Own(function, **parameters), (torch.randn(*shape),)


def layer(kind, *sizes, shape, **options):
    return getattr(nn, kind)(*sizes, **options), (torch.randn(*shape),)


def recurrent(kind, *sizes, shape=(1, 5, 6), states=0, **options):
    options = {"batch_first": True} | options
    more = [torch.randn(1, 1, 12) for _ in range(states)]
    return Recurrent(kind, *sizes, **options), (torch.randn(*shape), *more)


def nets():
    """Build all, from one seed."""
    torch.manual_seed(1)
    return {
        # a constant, however it is written
        "einsum, columns of several heads": einsum("bnd,hdk->bhnk", (1, 6, 16), w=(4, 16, 8)),
        "einsum, a matrix for each head": einsum("bhnd,hdk->bnhk", (1, 4, 6, 16), w=(4, 16, 8)),
        "einsum, a sum besides": einsum("bnd,dk->bk", (1, 5, 6), w=(6, 4)),
        "einsum, implicit": einsum("bi,ij", (1, 8), w=(8, 3)),
        "einsum, ellipsis": einsum("...i,ji->...j", (1, 4, 3, 8), w=(5, 8)),
        "einsum, two constants": einsum("bi,ij,jk->bk", (1, 8), v=(8, 6), w=(6, 4)),
        "einsum, rows over two axes": einsum("bijn,ijk->bkn", (1, 3, 4, 7), w=(3, 4, 5)),
        "einsum, constant first": own(
            lambda m, x: torch.einsum("oc,bchw->bohw", m.w, x), (1, 3, 5, 6), w=(8, 3)
        ),
        "einsum, two activations and a constant": own(
            lambda m, x: torch.einsum("bnd,de,bme->bnm", x, m.w, torch.relu(x)),
            (1, 5, 6),
            w=(6, 6),
        ),
        "einsum, bilinear": own(
            lambda m, x: torch.einsum("zQ,oQJ,zJ->zo", x, m.w, x.tanh()), (1, 5), w=(4, 5, 5)
        ),
        "einsum, two of each": own(
            lambda m, x: torch.einsum("bi,ij,jk,bk->bj", x, m.v, m.w, x[:, :4]),
            (1, 5),
            v=(5, 6),
            w=(6, 4),
        ),
        "multiplied and summed": own(
            lambda m, x: (x.unsqueeze(-1) * m.w).sum(-2), (1, 3, 5), w=(5, 6)
        ),
        "several factors": own(
            lambda m, x: torch.linalg.multi_dot([x, m.v, m.w]), (1, 5), v=(5, 6), w=(6, 4)
        ),
        "bmm": own(lambda m, x: torch.bmm(x.view(3, 4, 5), m.w), (1, 3, 4, 5), w=(3, 5, 6)),
        "bmm, constant left": own(
            lambda m, x: torch.bmm(m.w, x.view(3, 4, 5)), (1, 3, 4, 5), w=(3, 6, 4)
        ),
        "matmul, constant left": own(lambda m, x: m.w @ x, (1, 2, 4, 9), w=(7, 4)),
        "matmul, broadcast": own(lambda m, x: x.unsqueeze(1) @ m.w, (1, 6, 4), w=(3, 4, 5)),
        "matmul, one matrix in a stack": own(lambda m, x: x @ m.w, (1, 6, 4), w=(1, 4, 5)),
        "mv": own(lambda m, x: torch.mv(m.w, x[0]), (1, 4), w=(7, 4)),
        "vector at matrix": own(lambda m, x: x[0] @ m.w, (1, 4), w=(4, 7)),
        "tensordot": own(
            lambda m, x: torch.tensordot(x, m.w, ([2, 1], [0, 1])), (1, 3, 5), w=(5, 3, 6)
        ),
        "inner": own(lambda m, x: torch.inner(x, m.w), (1, 3, 5), w=(6, 5)),
        "baddbmm": own(
            lambda m, x: torch.baddbmm(m.c, x.view(3, 4, 5), m.w, beta=0.5, alpha=2),
            (1, 3, 4, 5),
            w=(3, 5, 6),
            c=(3, 4, 6),
        ),
        "addmm, constant left": own(
            lambda m, x: torch.addmm(m.c, m.w, x[0]), (1, 4, 5), w=(7, 4), c=(7, 5)
        ),
        "unfold and matmul": own(
            lambda m, x: (m.w @ functional.unfold(x, 3, padding=1)).view(1, 6, 5, 6),
            (1, 3, 5, 6),
            w=(6, 27),
        ),
        "bilinear": (nn.Bilinear(5, 6, 7), (torch.randn(1, 5), torch.randn(1, 6))),
        "bilinear over positions": (
            nn.Bilinear(5, 6, 7, bias=False),
            (torch.randn(1, 4, 5), torch.randn(1, 4, 6)),
        ),
        "complex numbers": own(
            lambda m, x: torch.view_as_real(torch.view_as_complex(x) @ torch.view_as_complex(m.w)),
            (1, 5, 6, 2),
            w=(6, 4, 2),
        ),
        "complex constant, real input": own(
            lambda m, x: torch.einsum(
                "bnd,dk->bnk", x.to(torch.complex64), torch.view_as_complex(m.w)
            ).abs(),
            (1, 5, 6),
            w=(6, 4, 2),
        ),
        "filter in the spectrum": own(spectral, (1, 3, 8, 8), w=(3, 5, 4, 3, 2)),
        "sparse constant": (Sparse(), (torch.randn(1, 9, 6),)),
        "system of equations": own(
            lambda m, x: torch.linalg.solve(
                torch.linalg.inv(x @ m.w @ x.mT / 9 + torch.eye(5)), x @ m.w
            ),
            (1, 5, 6),
            w=(6, 6),
        ),
        # series and volumes
        "conv1d": layer("Conv1d", 3, 4, 5, stride=2, padding=2, dilation=2, shape=(1, 3, 20)),
        "conv1d, groups, same": layer(
            "Conv1d", 4, 8, 4, padding="same", groups=2, shape=(1, 4, 20)
        ),
        "conv3d": layer("Conv3d", 3, 4, 3, padding=1, shape=(1, 3, 5, 6, 7)),
        "conv3d, all bends": layer(
            "Conv3d",
            4,
            6,
            (3, 2, 3),
            stride=(2, 1, 2),
            padding=(2, 0, 1),
            dilation=(2, 1, 1),
            groups=2,
            shape=(1, 4, 9, 6, 7),
        ),
        "conv3d, same": layer("Conv3d", 2, 3, (2, 3, 4), padding="same", shape=(1, 2, 5, 6, 7)),
        "transposed 1d": layer(
            "ConvTranspose1d", 3, 4, 5, stride=2, padding=1, output_padding=1, shape=(1, 3, 10)
        ),
        "transposed 1d, groups, dilated": layer(
            "ConvTranspose1d", 4, 6, 3, stride=3, dilation=2, groups=2, shape=(1, 4, 10)
        ),
        "transposed 3d": layer(
            "ConvTranspose3d", 3, 4, 3, stride=2, padding=1, output_padding=1, shape=(1, 3, 4, 5, 6)
        ),
        "transposed 3d, all bends": layer(
            "ConvTranspose3d",
            4,
            6,
            (4, 2, 3),
            stride=(3, 1, 2),
            padding=(2, 0, 1),
            dilation=(1, 2, 1),
            groups=2,
            shape=(1, 4, 4, 5, 6),
        ),
        "u-net over volumes": (
            nn.Sequential(
                nn.Conv3d(1, 4, 3, padding=1),
                nn.ReLU(),
                nn.MaxPool3d(2),
                nn.ConvTranspose3d(4, 2, 2, 2),
            ),
            (torch.randn(1, 1, 4, 6, 6),),
        ),
        # state over time
        "lstm": recurrent("LSTM", 6, 12),
        "lstm, both ways, two layers": recurrent("LSTM", 6, 12, 2, bidirectional=True),
        "lstm, time first": recurrent("LSTM", 6, 12, batch_first=False, shape=(5, 1, 6)),
        "lstm, no batch": recurrent("LSTM", 6, 12, batch_first=False, shape=(5, 6)),
        "lstm, projections": recurrent("LSTM", 6, 12, 2, proj_size=5, bidirectional=True),
        "lstm, no bias": recurrent("LSTM", 6, 12, bias=False),
        "lstm, state from outside": recurrent("LSTM", 6, 12, states=2),
        "gru, both ways, two layers": recurrent("GRU", 6, 12, 2, bidirectional=True),
        "gru, state from outside": recurrent("GRU", 6, 12, states=1),
        "rnn": recurrent("RNN", 6, 12),
        "rnn, relu, two layers": recurrent("RNN", 6, 12, 2, nonlinearity="relu"),
        "lstm cell": (Cells("LSTMCell"), (torch.randn(1, 5, 6),)),
        "gru cell": (Cells("GRUCell"), (torch.randn(1, 5, 6),)),
        "rnn cell": (Cells("RNNCell", nonlinearity="relu"), (torch.randn(1, 5, 6),)),
        "lstm by hand": (LstmByHand(), (torch.randn(1, 8, 6),)),
        # layouts
        "channel shuffle": (Shuffled(), (torch.randn(1, 3, 8, 8),)),
        "depth to space by hand": own(depth_to_space, (1, 3, 6, 6), w=(12, 3, 3, 3)),
        "memory format": own(memory_format, (1, 3, 4, 5), w=(4, 3, 3, 3)),
        "frames in the batch": own(
            lambda m, x: functional.conv2d(x.view(3, 1, 6, 6), m.w, padding=1).view(1, 12, 6, 6),
            (1, 3, 6, 6),
            w=(4, 1, 3, 3),
        ),
        "llama block": (Llama(), (torch.randn(1, 10, 32),)),
        "window attention": (WindowAttention(), (torch.randn(1, 3, 8, 8),)),
        "tokens": (Tokens(), (torch.randint(0, 40, (1, 12)),)),
    }


NETS = nets()
