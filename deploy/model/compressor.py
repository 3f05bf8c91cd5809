"""The learned compressor of this model: networks that make one slot of a group of slots.

A layer's pictures (`ik`, `iv`: keys, values) and texts (`tk`, `tv`) have networks of their own, and groups of their own length:
what a span becomes shorter by may differ by layer and by kind. Where it is 1, that layer has no network for that kind
and keeps those spans as they are. The nominal factor only names the set, as a request does.
"""

import math
import re

import torch
import torch.nn as nn
import torch.nn.functional as F

KINDS = ("tk", "tv", "ik", "iv")
LINEARS = (0, 3, 6)
MIN_GROUPS = 2
NAME = re.compile(r"factor_(\d+)\.compress_(t|i)k\.(\d+)\.0\.weight")


def groups_in(tokens, factor):
    """How many groups a span makes: none where they would be fewer than two. The rest of the span stays as it is."""
    groups = tokens // factor
    return groups * (groups >= MIN_GROUPS) * (factor > 1)


class Compressor(nn.Module):
    """factors: of "t" (texts) and "i" (pictures) the tokens of a group, by layer."""

    def __init__(self, nominal, factors, dim):
        super().__init__()
        self.nominal, self.factors, self.dim = nominal, factors, dim
        self.layers = len(factors["t"])
        self.both = nn.ParameterDict()
        for kind, layer in self.networks():
            for linear in LINEARS:
                rows = factors[kind[0]][layer] * dim if linear == 0 else dim
                self.both["%s_%d_%d" % (kind, layer, linear)] = nn.Parameter(torch.zeros(rows + 1, dim))

    def networks(self):
        return [(kind, layer) for kind in KINDS for layer in range(self.layers) if self.factors[kind[0]][layer] > 1]

    def linear(self, kind, layer, linear):
        """Weight [in, out] and bias [out]: the last row of what is trained."""
        both = self.both["%s_%d_%d" % (kind, layer, linear)]
        return both[:-1], both[-1]

    @torch.no_grad()
    def start_as_mean(self, segments, prefix, lift=2.0):
        """The mean of the group, lifted above zero by twice the mean size so that a ReLU passes it on."""
        eye = torch.eye(self.dim)
        for kind, layer in self.networks():
            source, factor = prefix["kv".index(kind[1])][layer], self.factors[kind[0]][layer]
            size = torch.cat([source[:, :, a:b] for k, a, b in segments if k == kind[0]], 2).abs().mean((0, 1, 2))
            (w0, b0), (w3, _), (w6, b6) = (self.linear(kind, layer, linear) for linear in LINEARS)
            w0.copy_(eye.repeat(factor, 1) / factor)
            w3.copy_(eye)
            w6.copy_(eye)
            b0.copy_(lift * size)
            b6.copy_(-lift * size)

    @torch.no_grad()
    def start_from(self, others):
        """For every network the one of the nearest factor among others' same layer and kind, where they have any."""
        for kind, layer in self.networks():
            mine = self.factors[kind[0]][layer]
            given = [other for other in others if other.factors[kind[0]][layer] > 1]
            if given:
                other = min(given, key=lambda o: abs(math.log(o.factors[kind[0]][layer] / mine)))
                for linear in LINEARS:
                    name = "%s_%d_%d" % (kind, layer, linear)
                    theirs = other.both[name]
                    if linear == 0:
                        theirs = spread(theirs, other.factors[kind[0]][layer], mine)
                    self.both[name].copy_(theirs)

    def groups(self, kind, layer, x):
        """x [R, kv, n * factor, d] -> [R, kv, n, d]."""
        y = x.unflatten(2, (-1, self.factors[kind[0]][layer])).flatten(3)
        for linear in LINEARS:
            weight, bias = self.linear(kind, layer, linear)
            y = y @ weight + bias
            y = F.relu(y) if linear != LINEARS[-1] else y
        return y

    def shorten(self, segments, prefix, text, lengths):
        """Keys and values [R, kv, S, d] that remain, and the mask of rows that are shorter [R, S]: lists by layer.
        prefix, text: (keys, values) [layers, B, kv, P, d] and [layers, R, kv, A, d]; lengths [R] of the text."""
        repeat = text[0].shape[1] // prefix[0].shape[1]
        first, end = segments[-1][1:]
        keys, values, masks = [], [], []
        for layer in range(self.layers):
            f = self.factors["t"][layer]
            total = lengths + end - first
            n = groups_in(total, f)
            kept, most = total - n * (f - 1), int(n.max())
            j = torch.arange(int(kept.max()))[None]
            index = torch.where(j < n[:, None], j, most + (n * f)[:, None] + j - n[:, None])
            index = torch.where(j < kept[:, None], index, 0)[:, None, :, None]
            for source, new, part, out in zip(prefix, text, "kv", (keys, values)):
                source, new, shared = source[layer], new[layer], []
                for kind, a, b in segments[:-1]:
                    factor = self.factors[kind][layer]
                    cut = a + groups_in(b - a, factor) * factor
                    if cut > a:
                        shared.append(self.groups(kind + part, layer, source[:, :, a:cut]))
                    shared.append(source[:, :, cut:b])
                own = torch.cat([source[:, :, first:end].repeat_interleave(repeat, 0), new], 2)
                if most:
                    own = F.pad(own, (0, 0, 0, max(0, most * f - own.shape[2])))
                    own = torch.cat([self.groups("t" + part, layer, own[:, :, :most * f]), own], 2)
                own = own.gather(2, index.expand(-1, own.shape[1], -1, self.dim))
                out.append(torch.cat([torch.cat(shared, 2).repeat_interleave(repeat, 0), own], 2))
            mask = torch.where(j < kept[:, None], 0.0, -1e9)
            masks.append(F.pad(mask, (keys[-1].shape[2] - mask.shape[1], 0)))
        return keys, values, masks

    def named(self):
        """(name in the file, values [in, out] or [out]) of every tensor; views of what is trained."""
        for kind, layer in self.networks():
            for linear in LINEARS:
                weight, bias = self.linear(kind, layer, linear)
                name = "factor_%d.compress_%s.%d.%d." % (self.nominal, kind, layer, linear)
                yield name + "weight", weight
                yield name + "bias", bias

    @torch.no_grad()
    def tensors(self):
        return {name: values.t().contiguous().half().cpu() for name, values in self.named()}

    @torch.no_grad()
    def load(self, tensors):
        for name, values in self.named():
            values.copy_(tensors[name].float().t())


def spread(both, theirs, mine):
    """First weights of groups of so many tokens spread over groups of another length: each token takes the part of them that
    lies over it when both groups are drawn equally long."""
    edge = torch.arange(max(mine, theirs) + 1.0)
    a, b = edge[:mine + 1] / mine, edge[:theirs + 1] / theirs
    share = torch.minimum(a[1:, None], b[1:]) - torch.maximum(a[:-1, None], b[:-1])
    share = share.clamp(min=0) * theirs
    return torch.cat([torch.einsum("ij,jdo->ido", share, both[:-1].unflatten(0, (theirs, -1))).flatten(0, 1), both[-1:]])


def read(tensors, layers):
    """Every compressor of a file, by nominal factor; how long its groups are is read off the first weights [d, factor * d]."""
    factors = {}
    for name, values in tensors.items():
        found = NAME.fullmatch(name)
        if found:
            nominal, kind, layer = int(found[1]), found[2], int(found[3])
            factors.setdefault(nominal, {"t": [1] * layers, "i": [1] * layers})[kind][layer] = values.shape[1] // values.shape[0]
            dim = values.shape[0]
    found = {nominal: Compressor(nominal, lengths, dim) for nominal, lengths in factors.items()}
    for comp in found.values():
        comp.load(tensors)
    return found
