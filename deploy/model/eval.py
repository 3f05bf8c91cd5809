"""Accuracy of a model directory on an evaluation set, by question type.

    python eval.py                                    # this model on ../eval-set/
    python eval.py --set OTHER_SET --model OTHER_MODEL
    python eval.py --blind                            # the same questions over plain grey images
    python eval.py --make FOLDER --seed NAME          # write a new set (deterministic)

Each question is asked in a conversation of its own, through the processor's
chat template and `generate` with greedy decoding in float32. An answer counts
when it equals the reference after lower-casing and removal of the final
punctuation. An evaluation set is a folder with images/*.png and
questions.jsonl (id, images, question, answer, type).
"""

import argparse
import collections
import json
import os
import time

HERE = os.path.dirname(os.path.abspath(__file__))


def normal(text):
    return " ".join(text.lower().strip().rstrip(".!?").split())


def main():
    ap = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    ap.add_argument("--model", default=HERE)
    ap.add_argument("--set", default=os.path.join(HERE, "..", "eval-set"))
    ap.add_argument("--blind", action="store_true")
    ap.add_argument("--limit", type=int)
    ap.add_argument("--out", help="write every answer to this jsonl file")
    ap.add_argument("--make", metavar="FOLDER")
    ap.add_argument("--seed", default="shared")
    ap.add_argument("--threads", type=int, default=2)
    args = ap.parse_args()

    if args.make:
        import scenes
        print("%d images, %d questions" % scenes.write_evaluation_set(args.make, args.seed))
        return

    import torch
    from PIL import Image
    from transformers import LlavaForConditionalGeneration, LlavaProcessor
    torch.set_num_threads(args.threads)
    processor = LlavaProcessor.from_pretrained(args.model)
    model = LlavaForConditionalGeneration.from_pretrained(args.model, dtype=torch.float32).eval()
    with open(os.path.join(args.set, "questions.jsonl")) as f:
        rows = [json.loads(line) for line in f]
    if args.limit:
        rows = rows[::max(1, len(rows) // args.limit)]
    table = collections.OrderedDict()
    answers = collections.defaultdict(collections.Counter)
    log, begun = [], time.time()
    for r in rows:
        images = [Image.open(os.path.join(args.set, name)).convert("RGB") for name in r["images"]]
        if args.blind:
            images = [Image.new("RGB", im.size, (128, 128, 128)) for im in images]
        content = [{"type": "image"} for _ in images] + [{"type": "text", "text": r["question"]}]
        prompt = processor.apply_chat_template([{"role": "user", "content": content}], add_generation_prompt=True)
        inputs = processor(text=prompt, images=images, return_tensors="pt", add_special_tokens=False)
        with torch.no_grad():
            out = model.generate(**inputs, do_sample=False, max_new_tokens=96)
        said = processor.tokenizer.decode(out[0, inputs["input_ids"].shape[1]:], skip_special_tokens=True)
        ok = normal(said) == normal(r["answer"])
        t = table.setdefault(r["type"], [0, 0])
        t[0] += ok
        t[1] += 1
        answers[r["type"]][r["answer"]] += 1
        log.append({"id": r["id"], "type": r["type"], "question": r["question"], "answer": r["answer"],
                    "said": said, "correct": bool(ok)})
    if args.out:
        with open(args.out, "w") as f:
            for row in log:
                f.write(json.dumps(row) + "\n")
    print("%-20s %9s %6s  %s" % ("type", "accuracy", "n", "most frequent reference answer"))
    for kind, (good, n) in table.items():
        ans, c = answers[kind].most_common(1)[0]
        print("%-20s %8.1f%% %6d  %s (%.0f%%)" % (kind, 100 * good / n, n, ans, 100 * c / n))
    for label, pick in (("single image", False), ("several images", True), ("all", None)):
        sel = [v for k, v in table.items() if pick is None or k.startswith("multi_") == pick]
        if sel:
            good, n = sum(v[0] for v in sel), sum(v[1] for v in sel)
            print("%-20s %8.1f%% %6d" % (label, 100 * good / n, n))
    print("%.0f s" % (time.time() - begun))


if __name__ == "__main__":
    main()
