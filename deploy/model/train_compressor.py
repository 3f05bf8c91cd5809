"""Train the learned compressor of this model on scenes that nobody has seen.

    python train_compressor.py --factors 5 --minutes 60
    python train_compressor.py --factors 5 --init compressor.safetensors --minutes 30

The same recipe as `deno task train-compressor`, with which other models are trained: the frozen model is its own
teacher, and the compressor learns to bring its answers over a short cache near to those over the whole one, in output
distribution and hidden states. Here the questions are asked anew in every step, so that none is learned by heart, and
pictures are drawn from a seed that no evaluation set uses; the words of the answers are the scenes' own. Pictures and what
the model stores of them are computed once, for a pool of scenes.

Writes --out (default: compressor.safetensors beside this file), and the losses of every step with --curves. Factors that
the file has and --factors does not name stay. Needs torch, transformers, safetensors and numpy.
"""

import argparse
import math
import os
import random
import time

import numpy as np
import torch
import torch.nn as nn
import torch.nn.functional as F
from safetensors.torch import load_file, save_file
from tokenizers import Tokenizer
from transformers import LlavaForConditionalGeneration

import scenes as S
import train as T

HERE = os.path.dirname(os.path.abspath(__file__))
KINDS = ("tk", "tv", "ik", "iv")
LINEARS = (0, 3, 6)
MIN_GROUPS = 2


class Text:
    """The frozen text model over a prefix's cache, a few tokens a row."""

    def __init__(self, net):
        self.net = net
        self.layers = len(net.lm.layers)
        for layer in net.lm.layers:
            at = layer.self_attn
            layer.qkv = torch.cat([at.q_proj.weight, at.k_proj.weight, at.v_proj.weight])
            layer.gate_up = torch.cat([layer.mlp.gate_proj.weight, layer.mlp.up_proj.weight])

    def project(self, layer, x, position):
        net = self.net
        y = F.rms_norm(x, (x.shape[-1],), layer.input_layernorm.weight, net.eps)
        qk, v = F.linear(y, layer.qkv).split([(net.h + net.kv) * net.hd, net.kv * net.hd], -1)
        cos, sin = net.cos[position].unsqueeze(-2), net.sin[position].unsqueeze(-2)
        qk = net.rope(qk.unflatten(-1, (net.h + net.kv, net.hd)), cos, sin)
        return qk[..., :net.h, :], qk[..., net.h:, :], v.unflatten(-1, (net.kv, net.hd))

    def finish(self, layer, x, mixed):
        x = x + layer.self_attn.o_proj(mixed)
        y = F.rms_norm(x, (x.shape[-1],), layer.post_attention_layernorm.weight, self.net.eps)
        gate, up = F.linear(y, layer.gate_up).chunk(2, -1)
        return x + layer.mlp.down_proj(F.silu(gate) * up)

    def run(self, ids, position, keys, values, mask):
        """ids, position [R, A]; keys, values [layers, R, kv, S, d]; mask [R, S] additive or None.
        -> output of every layer [R, A, width], own keys and values [layers, R, kv, A, d]."""
        net, (rows, count) = self.net, ids.shape
        rep = net.h // net.kv
        x = net.lm.embed_tokens(ids)
        causal = torch.full((count, count), -1e9).triu(1)
        hidden, own = [], []
        for i, layer in enumerate(net.lm.layers):
            q, k, v = self.project(layer, x, position)
            k, v = k.transpose(1, 2), v.transpose(1, 2)
            own.append((k, v))
            q = (q * net.hd ** -0.5).view(rows, count, net.kv, rep, net.hd).permute(0, 2, 3, 1, 4)
            q = q.reshape(rows, net.kv, rep * count, net.hd)
            seen = (q @ keys[i].transpose(-1, -2)).view(rows, net.kv, rep, count, -1)
            if mask is not None:
                seen = seen + mask[:, None, None, None]
            new = (q @ k.transpose(-1, -2)).view(rows, net.kv, rep, count, count) + causal
            w = torch.softmax(torch.cat([seen, new], -1), -1).reshape(rows, net.kv, rep * count, -1)
            slots = keys[i].shape[2]
            mixed = w[..., :slots] @ values[i] + w[..., slots:] @ v
            mixed = mixed.view(rows, net.kv, rep, count, net.hd).permute(0, 3, 1, 2, 4).reshape(rows, count, -1)
            x = self.finish(layer, x, mixed)
            hidden.append(x)
        return hidden, [torch.stack(part) for part in zip(*own)]

    def logits(self, hidden):
        return self.net.head(F.rms_norm(hidden, (hidden.shape[-1],), self.net.lm.norm.weight, self.net.eps))

    @torch.no_grad()
    def prefix(self, ids, pictures):
        """Keys and values [layers, B, kv, P, d] of a prefix whose pictures are uint8 [B * n, 96, 96, 3]."""
        x = self.net.prefix(torch.tensor(ids), self.net.images(torch.from_numpy(pictures)))
        position, causal, kv = torch.arange(x.shape[1]), torch.full((x.shape[1],) * 2, -1e9).triu(1), []
        for layer in self.net.lm.layers:
            q, k, v = (part.transpose(1, 2) for part in self.project(layer, x, position))
            kv.append((k, v))
            rep = self.net.h // self.net.kv
            mixed = T.attend(q, k.repeat_interleave(rep, 1), v.repeat_interleave(rep, 1), causal)
            x = self.finish(layer, x, mixed.transpose(1, 2).flatten(2))
        return [torch.stack(part) for part in zip(*kv)]


class Compressor(nn.Module):
    """Per layer and kind three linear layers, stored [layers, in, out]; applied to all layers at once."""

    def __init__(self, factor, layers, dim):
        super().__init__()
        self.factor, self.dim = factor, dim
        for kind in KINDS:
            for linear in LINEARS:
                rows = factor * dim if linear == 0 else dim
                setattr(self, "%s_w%d" % (kind, linear), nn.Parameter(torch.zeros(layers, rows, dim)))
                setattr(self, "%s_b%d" % (kind, linear), nn.Parameter(torch.zeros(layers, 1, dim)))

    @torch.no_grad()
    def start_as_mean(self, sizes, lift=2.0):
        """The mean of the group, lifted above zero so that a ReLU passes it on. sizes: mean |x| [layers, dim] by kind."""
        eye = torch.eye(self.dim)
        for kind in KINDS:
            getattr(self, kind + "_w0").copy_(eye.repeat(self.factor, 1) / self.factor)
            getattr(self, kind + "_w3").copy_(eye)
            getattr(self, kind + "_w6").copy_(eye)
            getattr(self, kind + "_b0").copy_(lift * sizes[kind][:, None])
            getattr(self, kind + "_b6").copy_(-lift * sizes[kind][:, None])

    def groups(self, kind, x):
        """x [layers, R, kv, n * factor, d] -> [layers, R, kv, n, d]."""
        layers, rows, heads, slots, dim = x.shape
        y = x.reshape(layers, -1, self.factor * dim)
        for linear in LINEARS:
            y = torch.baddbmm(getattr(self, "%s_b%d" % (kind, linear)), y, getattr(self, "%s_w%d" % (kind, linear)))
            y = F.relu(y) if linear != LINEARS[-1] else y
        return y.view(layers, rows, heads, slots // self.factor, dim)

    def shorten(self, segments, prefix, text, lengths):
        """Keys and values [layers, R, kv, S, d] that remain, and the mask of rows that are shorter [R, S].
        prefix, text: (keys, values) [layers, B, kv, P, d] and [layers, R, kv, A, d]; lengths [R] of the text."""
        f, repeat = self.factor, text[0].shape[1] // prefix[0].shape[1]
        first, end = segments[-1][1:]
        total = lengths + end - first
        n = total // f
        n = torch.where(n < MIN_GROUPS, 0, n)
        kept, most = n + total - n * f, int(n.max())
        j = torch.arange(int(kept.max()))[None]
        index = torch.where(j < n[:, None], j, most + (n * f)[:, None] + j - n[:, None])
        index = torch.where(j < kept[:, None], index, 0)[None, :, None, :, None]
        out = []
        for source, new, part in zip(prefix, text, "kv"):
            shared = []
            for kind, a, b in segments[:-1]:
                count = (b - a) // f
                count = count if count >= MIN_GROUPS else 0
                if count:
                    shared.append(self.groups(kind + part, source[:, :, :, a:a + count * f]))
                shared.append(source[:, :, :, a + count * f:b])
            own = torch.cat([source[:, :, :, first:end].repeat_interleave(repeat, 1), new], 3)
            if most:
                own = F.pad(own, (0, 0, 0, max(0, most * f - own.shape[3])))
                own = torch.cat([self.groups("t" + part, own[:, :, :, :most * f]), own], 3)
            own = own.gather(3, index.expand(own.shape[0], -1, own.shape[2], -1, self.dim))
            out.append(torch.cat([torch.cat(shared, 3).repeat_interleave(repeat, 1), own], 3))
        mask = torch.where(j < kept[:, None], 0.0, -1e9)
        return out[0], out[1], F.pad(mask, (out[0].shape[3] - mask.shape[1], 0))

    def tensors(self):
        named = {}
        for kind in KINDS:
            for linear in LINEARS:
                for part, mark in (("weight", "w"), ("bias", "b")):
                    for layer, values in enumerate(getattr(self, "%s_%s%d" % (kind, mark, linear)).data):
                        name = "factor_%d.compress_%s.%d.%d.%s" % (self.factor, kind, layer, linear, part)
                        named[name] = (values.T if part == "weight" else values[0]).contiguous().half().cpu()
        return named

    @torch.no_grad()
    def load(self, tensors):
        for kind in KINDS:
            for linear in LINEARS:
                for part, mark in (("weight", "w"), ("bias", "b")):
                    for layer, values in enumerate(getattr(self, "%s_%s%d" % (kind, mark, linear))):
                        name = "factor_%d.compress_%s.%d.%d.%s" % (self.factor, kind, layer, linear, part)
                        values.copy_(tensors[name].float().T if part == "weight" else tensors[name].float()[None])


# ---------------------------------------------------------------- questions

def segments_of(ids):
    """(kind, first, end) of each stretch of one kind; the last one goes on in the question."""
    cuts = [0] + [i for i in range(1, len(ids)) if (ids[i] == T.IMAGE) != (ids[i - 1] == T.IMAGE)] + [len(ids)]
    return [("i" if ids[a] == T.IMAGE else "t", a, b) for a, b in zip(cuts, cuts[1:])]


def make_pool(text, tok, rng, size):
    """Scenes by number of pictures and system prompt, with what the model stores of them."""
    plan = [(1, None, 0.60), (2, None, 0.16), (3, None, 0.13), (4, None, 0.09)]
    plan += [(1 + (k % 2), system, 0.008) for k, system in enumerate(S.SYSTEM_PROMPTS)]
    pool = []
    for n, system, share in plan:
        ids, sets, parts = T.prefix_ids(tok, n, system), [], []
        while len(sets) < max(6, int(size * share)):
            level = 1.0 if rng.random() < 0.8 else rng.random()
            drawn = [([S.make_scene(rng, level=level)], None) if n == 1 else S.make_set(rng, n, level) for _ in range(6)]
            parts.append(text.prefix(ids, np.stack([S.render(s) for scene, _ in drawn for s in scene])))
            sets += drawn
        keys, values = (torch.cat(part, 1) for part in zip(*parts))
        pool.append(dict(n=n, ids=ids, keys=keys, values=values, sets=sets, weight=len(sets) * (1.0 if n == 1 else 1.3)))
    return pool


def ask(rng, tok, n, scene, change):
    """Ids of a question, up to the assistant's turn, and of its answer. Most answers of one word are left out: the first
    token comes from the whole cache."""
    while True:
        if rng.random() < 0.02:
            qa = S.q_chat(rng, True)
        elif n == 1:
            kinds = S.SINGLE_TYPES
            kind = rng.choices(kinds, [3.0 if k == "caption" else S.EFFORT[k] for k in kinds])[0]
            qa = S.ask(rng, scene[0], kind)
        else:
            qa = S.ask_multi(rng, scene, change, rng.choices(S.MULTI_TYPES, [3, 6, 7, 3, 7, 2, 3])[0])
        if qa:
            question, answer = (tok.encode(part, add_special_tokens=False).ids for part in qa[:2])
            if len(answer) > 1 or rng.random() < 0.2:
                return question + [T.ASSISTANT], answer + [T.EOS]


def draw(rng, tok, pool, lessons, questions):
    part = rng.choices(pool, [p["weight"] for p in pool])[0]
    count = min(len(part["sets"]), max(1, lessons * (9 - part["n"]) // 8))
    chosen = rng.sample(range(len(part["sets"])), count)
    rows = []
    for i in chosen:
        for _ in range(questions):
            text, answer = ask(rng, tok, part["n"], *part["sets"][i])
            if rng.random() < 0.08:  # a second turn
                text = sum(ask(rng, tok, part["n"], *part["sets"][i]), []) + [T.USER] + text
            rows.append((text, answer))
    return part["ids"], (part["keys"][:, chosen], part["values"][:, chosen]), rows


def pad(rows):
    return torch.tensor([row + [T.PAD] * (max(map(len, rows)) - len(row)) for row in rows])


def by_length(lengths):
    """Rows whose answers are about as long."""
    bounds = (1, 2, 4, 8, 16, 24, 32, 48, 96)
    parts = {}
    for row, length in enumerate(lengths.tolist()):
        parts.setdefault(next(b for b in bounds if length <= b), []).append(row)
    return [torch.tensor(rows) for rows in parts.values()]


# ---------------------------------------------------------------- training

def main():
    ap = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    ap.add_argument("--factors", default="5")
    ap.add_argument("--init", help="start from the factors of this file")
    ap.add_argument("--out", default=os.path.join(HERE, "compressor.safetensors"))
    ap.add_argument("--curves")
    ap.add_argument("--steps", type=int, default=3000)
    ap.add_argument("--minutes", type=float, default=float("inf"), help="end earlier, with the rate at its lowest")
    ap.add_argument("--pool", type=int, default=1200)
    ap.add_argument("--lessons", type=int, default=12, help="scenes a step")
    ap.add_argument("--questions", type=int, default=5, help="questions a scene")
    ap.add_argument("--lr", type=float, default=4e-3)
    ap.add_argument("--hidden", type=float, default=1.0, help="weight of the hidden states")
    ap.add_argument("--seed", default="compressor 1")
    ap.add_argument("--threads", type=int, default=2)
    ap.add_argument("--device", default="cpu")
    args = ap.parse_args()

    torch.set_num_threads(args.threads)
    torch.set_default_device(args.device)
    tok = Tokenizer.from_file(os.path.join(HERE, "tokenizer.json"))
    model = LlavaForConditionalGeneration.from_pretrained(HERE, dtype=torch.float32)
    model = model.to(args.device).eval().requires_grad_(False)
    text = Text(T.Net(model))
    rng = random.Random(args.seed)
    pool = make_pool(text, tok, rng, args.pool)
    print("%d scenes" % sum(len(p["sets"]) for p in pool), flush=True)
    size = lambda x: x.abs().mean((1, 2, 3))
    one = pool[0]
    image = torch.tensor(one["ids"]) == T.IMAGE
    # What text stores has about the size of what pictures store.
    sizes = {"ik": size(one["keys"][:, :, :, image]), "iv": size(one["values"][:, :, :, image]),
             "tk": size(one["keys"][:, :, :, ~image]), "tv": size(one["values"][:, :, :, ~image])}
    comps = {f: Compressor(f, text.layers, text.net.hd) for f in map(int, args.factors.split(","))}
    for comp in comps.values():
        if args.init:
            comp.load(load_file(args.init))
        else:
            comp.start_as_mean(sizes)
    adams = {f: torch.optim.Adam(c.parameters(), lr=args.lr, betas=(0.9, 0.98)) for f, c in comps.items()}
    curves = open(args.curves, "a") if args.curves else None
    begun, recent = time.time(), {f: [] for f in comps}

    def save():
        before = load_file(args.out) if os.path.exists(args.out) else {}
        for comp in comps.values():
            before.update(comp.tensors())
        save_file(before, args.out + ".new")
        os.replace(args.out + ".new", args.out)

    for step in range(args.steps):
        part = max(step / args.steps, (time.time() - begun) / 60 / args.minutes)
        if part >= 1:
            break
        ids, prefix, rows = draw(rng, tok, pool, args.lessons, args.questions)
        repeat = len(rows) // prefix[0].shape[1]
        asked, lengths = pad([q for q, _ in rows]), torch.tensor([len(q) for q, _ in rows])
        answers = torch.tensor([len(a) - 1 for _, a in rows])
        keys, values = (x.repeat_interleave(repeat, 1) for x in prefix)
        position = len(ids) + torch.arange(asked.shape[1])[None].expand(len(rows), -1)
        with torch.no_grad():
            _, new = text.run(asked, position, keys, values, None)
            full = [torch.cat([a, b], 3) for a, b in zip((keys, values), new)]
            mask = torch.where(torch.arange(asked.shape[1])[None] < lengths[:, None], 0.0, -1e9)
            mask = F.pad(mask, (len(ids), 0))
            parts = []
            for at in by_length(answers):
                told = pad([rows[i][1][:-1] for i in at.tolist()])
                valid = torch.arange(told.shape[1])[None] < answers[at][:, None]
                position = len(ids) + lengths[at][:, None] + torch.arange(told.shape[1])[None]
                hidden, _ = text.run(told, position, full[0][:, at], full[1][:, at], mask[at])
                weight = (3.0 / answers[at]).clamp(max=1).sqrt()[:, None].expand(-1, told.shape[1])[valid]
                teacher = F.log_softmax(text.logits(hidden[-1][valid]), -1)
                parts.append((at, told, position, valid, weight, teacher, [h[valid] for h in hidden]))
        total = sum(weight.sum() for *_, weight, _, _ in parts)
        rate = args.lr * (min(1, (step + 1) / 30) * (1 + math.cos(math.pi * part)) / 2 + 0.01)
        for f, comp in comps.items():
            keys, values, mask = comp.shorten(segments_of(ids), prefix, new, lengths)
            output = inner = agreed = 0
            for at, told, position, valid, weight, teacher, states in parts:
                hidden, _ = text.run(told, position, keys[:, at], values[:, at], mask[at])
                student = F.log_softmax(text.logits(hidden[-1][valid]), -1)
                output = output + ((teacher.exp() * (teacher - student)).sum(-1) * weight).sum() / total
                for own, wanted in zip(hidden, states):
                    error = (own[valid] - wanted).square().sum(-1) / wanted.square().sum(-1)
                    inner = inner + (error * weight).sum() / total / text.layers
                agreed += (student.argmax(-1) == teacher.argmax(-1)).sum().item()
            for group in adams[f].param_groups:
                group["lr"] = rate
            adams[f].zero_grad()
            (output + args.hidden * inner).backward()
            nn.utils.clip_grad_norm_(comp.parameters(), 1.0)
            adams[f].step()
            found = (output.item(), inner.item(), agreed / int(answers.sum()))
            recent[f].append(found)
            if curves:
                print("%d,%d,%.5f,%.5f,%.5f" % (f, step + 1, *found), file=curves)
        if step % 50 == 49:
            for f, found in recent.items():
                print("factor %d, step %d: output %.4f, hidden %.4f, agreement %.1f %%, %.2f s a step" % (
                    f, step + 1, *np.mean(found, 0)[:2], 100 * np.mean(found, 0)[2], (time.time() - begun) / (step + 1)), flush=True)
                found.clear()
            save()
    save()


if __name__ == "__main__":
    main()
