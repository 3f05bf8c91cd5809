"""Train the learned compressor of this model on scenes that nobody has seen.

    python train_compressor.py --steps 1200 --threads 1 --factors \
        2:16/1/4/1/8:2,3:32/2/4/1/32:2,5:32/4/8/1/32:2,10:32/16/16/1/32:2

made the file beside this one from nothing, in half an hour of one core. Answers read pictures mostly in the fourth layer, which
keeps them whole; the layers that need them least keep two slots of 64 (bench/LOG.md, "The learned compressor").

The same recipe as `deno task train-compressor`, with which other models are trained: the frozen model is its own
teacher, and the compressor learns to bring its answers over a short cache near to those over the whole one, in output
distribution and hidden states. Here pictures and questions are new in every batch, from a seed that no evaluation set
uses, so that none is learned by heart; the words of the answers are the scenes' own. What the model says over its whole
cache costs more than a step of the compressor, so the last --kept batches are trained on --uses times each on average,
and several factors share them.

Writes --out (default: compressor.safetensors beside this file), and the losses of every step with --curves. Factors that
the file has and --factors does not name stay; --init begins from a file's networks instead of the mean of each group. Needs
torch, transformers, safetensors and numpy.
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
from compressor import Compressor, read

HERE = os.path.dirname(os.path.abspath(__file__))


def product(x, weight):
    """x weight^T with factors rounded to bfloat16, half the time where the processor multiplies those; x keeps its float32."""
    return F.linear(x.bfloat16(), weight).float()


class Text:
    """The frozen text model over a prefix's cache, a few tokens a row."""

    def __init__(self, net):
        self.net = net
        self.layers = len(net.lm.layers)
        for layer in net.lm.layers:
            at = layer.self_attn
            layer.qkv = torch.cat([at.q_proj.weight, at.k_proj.weight, at.v_proj.weight]).bfloat16()
            layer.gate_up = torch.cat([layer.mlp.gate_proj.weight, layer.mlp.up_proj.weight]).bfloat16()
            layer.out, layer.down = at.o_proj.weight.bfloat16(), layer.mlp.down_proj.weight.bfloat16()
        self.head = net.head.weight.bfloat16()

    def project(self, layer, x, position):
        net = self.net
        y = F.rms_norm(x, (x.shape[-1],), layer.input_layernorm.weight, net.eps)
        qk, v = product(y, layer.qkv).split([(net.h + net.kv) * net.hd, net.kv * net.hd], -1)
        cos, sin = net.cos[position].unsqueeze(-2), net.sin[position].unsqueeze(-2)
        qk = net.rope(qk.unflatten(-1, (net.h + net.kv, net.hd)), cos, sin)
        return qk[..., :net.h, :], qk[..., net.h:, :], v.unflatten(-1, (net.kv, net.hd))

    def finish(self, layer, x, mixed):
        x = x + product(mixed, layer.out)
        y = F.rms_norm(x, (x.shape[-1],), layer.post_attention_layernorm.weight, self.net.eps)
        gate, up = product(y, layer.gate_up).chunk(2, -1)
        return x + product(F.silu(gate) * up, layer.down)

    def run(self, ids, position, keys, values, masks):
        """ids, position [R, A]; by layer: keys, values [R, kv, S, d], mask [R, S] additive or None.
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
            if masks[i] is not None:
                seen = seen + masks[i][:, None, None, None]
            new = (q @ k.transpose(-1, -2)).view(rows, net.kv, rep, count, count) + causal
            w = torch.softmax(torch.cat([seen, new], -1), -1).reshape(rows, net.kv, rep * count, -1)
            slots = keys[i].shape[2]
            mixed = w[..., :slots] @ values[i] + w[..., slots:] @ v
            mixed = mixed.view(rows, net.kv, rep, count, net.hd).permute(0, 3, 1, 2, 4).reshape(rows, count, -1)
            x = self.finish(layer, x, mixed)
            hidden.append(x)
        return hidden, [torch.stack(part) for part in zip(*own)]

    def logits(self, hidden):
        return product(F.rms_norm(hidden, (hidden.shape[-1],), self.net.lm.norm.weight, self.net.eps), self.head)

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


# ---------------------------------------------------------------- questions

def segments_of(ids):
    """(kind, first, end) of each stretch of one kind; the last one goes on in the question."""
    cuts = [0] + [i for i in range(1, len(ids)) if (ids[i] == T.IMAGE) != (ids[i - 1] == T.IMAGE)] + [len(ids)]
    return [("i" if ids[a] == T.IMAGE else "t", a, b) for a, b in zip(cuts, cuts[1:])]


def conversations(tok):
    """Beginnings: number of pictures, ids and how often."""
    plan = [(1, None, 0.64), (2, None, 0.14), (3, None, 0.09), (4, None, 0.07)]
    plan += [(1 + (k % 2), system, 0.06 / len(S.SYSTEM_PROMPTS)) for k, system in enumerate(S.SYSTEM_PROMPTS)]
    return [(n, T.prefix_ids(tok, n, system), share) for n, system, share in plan]


def draw(rng, n):
    """n pictures, and what changed between them where something did."""
    level = 1.0 if rng.random() < 0.85 else rng.random()
    return ([S.make_scene(rng, level=level)], None) if n == 1 else S.make_set(rng, n, level)


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

@torch.no_grad()
def lesson(text, tok, rng, plan, scenes, questions):
    """New scenes, questions about them, and what the model says of the answers over its whole cache."""
    n, ids, _ = rng.choices(plan, [share for *_, share in plan])[0]
    chosen = [draw(rng, n) for _ in range(max(2, scenes * (9 - n) // 8))]
    prefix = text.prefix(ids, np.stack([S.render(s) for scene, _ in chosen for s in scene]))
    rows = []
    for scene, change in chosen:
        for _ in range(questions):
            question, answer = ask(rng, tok, n, scene, change)
            if rng.random() < 0.08:  # a second turn
                question = sum(ask(rng, tok, n, scene, change), []) + [T.USER] + question
            rows.append((question, answer))
    asked, lengths = pad([q for q, _ in rows]), torch.tensor([len(q) for q, _ in rows])
    answers = torch.tensor([len(a) - 1 for _, a in rows])
    keys, values = (x.repeat_interleave(questions, 1) for x in prefix)
    position = len(ids) + torch.arange(asked.shape[1])[None].expand(len(rows), -1)
    _, new = text.run(asked, position, keys, values, [None] * text.layers)
    full = [torch.cat([a, b], 3) for a, b in zip((keys, values), new)]
    mask = torch.where(torch.arange(asked.shape[1])[None] < lengths[:, None], 0.0, -1e9)
    mask = F.pad(mask, (len(ids), 0))
    parts = []
    for at in by_length(answers):
        told = pad([rows[i][1][:-1] for i in at.tolist()])
        valid = torch.arange(told.shape[1])[None] < answers[at][:, None]
        position = len(ids) + lengths[at][:, None] + torch.arange(told.shape[1])[None]
        hidden, _ = text.run(told, position, full[0][:, at], full[1][:, at], [mask[at]] * text.layers)
        weight = (3.0 / answers[at]).clamp(max=1).sqrt()[:, None].expand(-1, told.shape[1])[valid]
        teacher = F.log_softmax(text.logits(hidden[-1][valid]), -1)
        parts.append((at, told, position, valid, weight, teacher, [h[valid] for h in hidden]))
    return segments_of(ids), prefix, new, lengths, parts


def losses(text, comp, segments, prefix, new, lengths, parts):
    """Output and hidden loss, and the share of tokens that the model would say over the short cache too."""
    cache = comp.shorten(segments, prefix, new, lengths)
    output = inner = agreed = 0
    total, tokens = sum(part[4].sum() for part in parts), sum(len(part[4]) for part in parts)
    for at, told, position, valid, weight, teacher, states in parts:
        hidden, _ = text.run(told, position, *([part[at] for part in by_layer] for by_layer in cache))
        student = F.log_softmax(text.logits(hidden[-1][valid]), -1)
        output = output + ((teacher.exp() * (teacher - student)).sum(-1) * weight).sum() / total
        for own, wanted in zip(hidden, states):
            error = (own[valid] - wanted).square().sum(-1) / wanted.square().sum(-1)
            inner = inner + (error * weight).sum() / total / text.layers
        agreed += (student.argmax(-1) == teacher.argmax(-1)).sum().item()
    return output, inner, agreed / tokens


def factors_of(plan, layers):
    """{nominal: {"i": factors by layer, "t": factors by layer}} of --factors."""
    found = {}
    for entry in plan.split(","):
        parts = entry.split(":")
        by_layer = [[int(f) for f in part.split("/")] for part in parts + parts[:1] * (3 - len(parts))]
        if any(len(part) not in (1, layers) for part in by_layer[1:]):
            raise SystemExit("--factors: %s needs one number, or one for each of %d layers" % (entry, layers))
        pictures, texts = (part * (layers // len(part)) for part in by_layer[1:])
        found[int(parts[0])] = {"i": pictures, "t": texts}
    return found


def main():
    ap = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    ap.add_argument("--factors", default="5", help="NOMINAL[:PICTURES[:TEXTS]],..: what becomes one, a number or one for each "
                    "layer (32/4/8/1/32; 1: stays as it is); the nominal factor where not given")
    ap.add_argument("--init", help="start from this file, every network from the one of the nearest factor")
    ap.add_argument("--out", default=os.path.join(HERE, "compressor.safetensors"))
    ap.add_argument("--curves")
    ap.add_argument("--steps", type=int, default=3000)
    ap.add_argument("--scenes", type=int, default=12, help="scenes a step")
    ap.add_argument("--questions", type=int, default=5, help="questions a scene")
    ap.add_argument("--uses", type=int, default=4, help="steps that train on the same questions")
    ap.add_argument("--kept", type=int, default=64, help="batches of questions kept for these steps")
    ap.add_argument("--rate", type=float, default=3e-3)
    ap.add_argument("--hidden", type=float, default=1.0, help="weight of the hidden states")
    ap.add_argument("--seed", default="compressor 1")
    ap.add_argument("--threads", type=int, default=2)
    args = ap.parse_args()

    torch.set_num_threads(args.threads)
    tok = Tokenizer.from_file(os.path.join(HERE, "tokenizer.json"))
    model = LlavaForConditionalGeneration.from_pretrained(HERE, dtype=torch.float32)
    text = Text(T.Net(model.eval().requires_grad_(False)))
    rng, plan = random.Random(args.seed), conversations(tok)
    new = lambda: lesson(text, tok, rng, plan, args.scenes, args.questions)
    lessons = [new() for _ in range(max(1, args.kept // 4))]
    comps = {n: Compressor(n, lengths, text.net.hd) for n, lengths in factors_of(args.factors, text.layers).items()}
    given = read(load_file(args.init), text.layers).values() if args.init else []
    for comp in comps.values():
        comp.start_as_mean(*lessons[0][:2])
        comp.start_from(given)
    adams = {f: torch.optim.Adam(c.parameters(), lr=args.rate, betas=(0.9, 0.98)) for f, c in comps.items()}
    curves = open(args.curves, "a") if args.curves else None
    busy, recent = time.process_time(), {f: [] for f in comps}

    def save():
        before = load_file(args.out) if os.path.exists(args.out) else {}
        for comp in comps.values():
            before = {name: values for name, values in before.items() if not name.startswith("factor_%d." % comp.nominal)}
            before.update(comp.tensors())
        save_file(before, args.out + ".new")
        os.replace(args.out + ".new", args.out)

    for step in range(args.steps):
        part = step / args.steps
        if step % args.uses == 0:
            lessons = lessons[-args.kept + 1:] + [new()]
        batch = lessons[-1] if step % args.uses == 0 else rng.choice(lessons)
        rate = args.rate * (min(1, (step + 1) / 30) * (1 + math.cos(math.pi * part)) / 2 + 0.01)
        for f, comp in comps.items():
            output, inner, agreed = losses(text, comp, *batch)
            for group in adams[f].param_groups:
                group["lr"] = rate
            adams[f].zero_grad()
            (output + args.hidden * inner).backward()
            nn.utils.clip_grad_norm_(comp.parameters(), 1.0)
            adams[f].step()
            found = (output.item(), inner.item(), agreed)
            recent[f].append(found)
            if curves:
                print("%d,%d,%.5f,%.5f,%.5f" % (f, step + 1, *found), file=curves)
        if step % 50 == 49:
            for f, found in recent.items():
                output, inner, agreed = np.mean(found, 0)
                print("factor %d, step %d: output %.4f, hidden %.4f, agreement %.1f %%, %.2f s a step" % (
                    f, step + 1, output, inner, 100 * agreed, (time.process_time() - busy) / (step + 1)), flush=True)
                found.clear()
            save()
            if curves:
                curves.flush()
    save()


if __name__ == "__main__":
    main()
