/**
 * Servers side by side, in one run: the evaluation set's questions, streamed, in a closed loop of some clients, rounds
 * alternating between the servers so that the machine's drift hits all of them.
 *
 *     deno run -A bench/peers.ts --peer ours=http://127.0.0.1:8000 --peer other=http://127.0.0.1:8080
 *         [--clients 16] [--requests 150] [--rounds 3] [--repeated]
 *
 * Pictures are fresh (one pixel differs in every request, so that no cache helps) unless --repeated. TTFT is request sent
 * to first non-empty text.
 */
import { parseArgs } from "node:util";
import { systemClock } from "../lib/core/clock.ts";
import { seededRandom } from "../lib/core/random.ts";
import { normalAnswer } from "../lib/cli/score.ts";
import { decodePicture } from "../lib/image/decode.ts";
import type { Picture } from "../lib/image/image.ts";
import { percentile } from "./percentile.ts";
import { encodePng } from "./png.ts";
import { streamAnswer } from "./client.ts";

interface Row {
  readonly images: readonly string[];
  readonly question: string;
  readonly answer: string;
}

interface Prepared {
  readonly body: string;
  readonly answer: string;
}

interface Figures {
  readonly perSecond: number;
  readonly ttftMs: readonly number[];
  readonly right: number;
  readonly count: number;
}

const SET = new URL("../deploy/eval-set/", import.meta.url);

const { values } = parseArgs({
  options: {
    peer: { type: "string", multiple: true },
    clients: { type: "string", default: "16" },
    requests: { type: "string", default: "150" },
    rounds: { type: "string", default: "3" },
    repeated: { type: "boolean", default: false },
  },
});
const peers = (values.peer ?? []).map((peer) => {
  const [name, url] = [peer.slice(0, peer.indexOf("=")), peer.slice(peer.indexOf("=") + 1)];
  return { name, url };
});
if (peers.length === 0) throw new Error("name at least one server: --peer NAME=URL");

const rows = Deno.readTextFileSync(new URL("questions.jsonl", SET)).trim().split("\n")
  .map((line) => JSON.parse(line) as Row);
const pictures = new Map<string, Picture>();
const random = seededRandom(1);

/** One question as a streamed request; `serial` makes its pictures unlike any other's. */
async function prepare({ images, question, answer }: Row, serial: number): Promise<Prepared> {
  const content: unknown[] = [];
  for (const name of images) {
    let picture = pictures.get(name);
    if (picture === undefined) {
      picture = await decodePicture(Deno.readFileSync(new URL(name, SET)));
      pictures.set(name, picture);
    }
    const rgb = picture.rgb.slice();
    if (!values.repeated) rgb.set([serial & 255, (serial >> 8) & 255, (serial >> 16) & 255], 0);
    const url = `data:image/png;base64,${encodePng({ ...picture, rgb }).toBase64()}`;
    content.push({ type: "image_url", image_url: { url } });
  }
  content.push({ type: "text", text: question });
  const body = JSON.stringify({
    messages: [{ role: "user", content }],
    temperature: 0,
    max_tokens: 96,
    stream: true,
  });
  return { body, answer };
}

async function round(url: string, prepared: readonly Prepared[]): Promise<Figures> {
  const ttftMs: number[] = [];
  let next = 0, right = 0;
  const begun = systemClock.now();
  const client = async () => {
    while (next < prepared.length) {
      const { body, answer } = prepared[next++];
      const sample = await streamAnswer(url, body);
      ttftMs.push(sample.ttftMs);
      if (normalAnswer(sample.text) === normalAnswer(answer)) right++;
    }
  };
  await Promise.all(Array.from({ length: Number(values.clients) }, client));
  const seconds = (systemClock.now() - begun) / 1000;
  return { perSecond: prepared.length / seconds, ttftMs, right, count: prepared.length };
}

const figures = new Map<string, Figures[]>(peers.map(({ name }) => [name, []]));
let serial = 0;
for (let r = 0; r < Number(values.rounds); r++) {
  // The same questions for all, about pictures that differ by a pixel.
  const picks = Array.from(
    { length: Number(values.requests) },
    () => rows[random.nextUint32() % rows.length],
  );
  for (const { name, url } of peers) {
    const prepared = await Promise.all(picks.map((row) => prepare(row, ++serial)));
    if (r === 0) await round(url, prepared.slice(0, 2 * Number(values.clients)));
    figures.get(name)!.push(await round(url, prepared));
  }
}
console.log(
  `${values.clients} clients, ${
    values.repeated ? "repeated" : "fresh"
  } pictures, medians of ${values.rounds} rounds`,
);
console.log("server            requests/s  TTFT p50 ms  TTFT p99 ms  right");
for (const [name, list] of figures) {
  const ttft = list.flatMap((one) => one.ttftMs);
  const right = list.reduce((sum, one) => sum + one.right, 0) / list.reduce((sum, one) => sum + one.count, 0);
  const cells = [
    percentile(list.map((one) => one.perSecond), 0.5).toFixed(1).padStart(10),
    percentile(ttft, 0.5).toFixed(0).padStart(13),
    percentile(ttft, 0.99).toFixed(0).padStart(13),
    `${(100 * right).toFixed(1)} %`.padStart(9),
  ];
  console.log(name.padEnd(18) + cells.join(""));
}
