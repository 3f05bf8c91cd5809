/**
 * Conversations about one picture: every request carries the turns before it, so that its prompt begins with the whole
 * prompt of the request before. Earlier answers are the right ones, so that requests can be made before the run.
 */
import type { LoadRequest, Message } from "../load/request.ts";
import { askAny, SHORT_KINDS } from "../scenes/questions.ts";
import { render } from "../scenes/render.ts";
import { makeScene } from "../scenes/scene.ts";
import { drawnImage, serials } from "./picture.ts";
import { equals } from "./scoring.ts";
import { lengthOf, type Workload, type WorkloadOptions } from "./workload.ts";

const SYSTEM = "You answer questions about images. Be helpful and honest.";
const TURNS = { least: 3, most: 6 };
/** Conversations that go on at the same time. */
const SIDE_BY_SIDE = 8;

async function conversation(
  { draws, outputTokens }: WorkloadOptions,
  serial: number | null,
): Promise<LoadRequest[]> {
  const scene = makeScene(draws, draws.integer(1, 6));
  const picture = await drawnImage(render(scene)).part(serial);
  const history: Message[] = [{ role: "system", content: SYSTEM }];
  const length = lengthOf(outputTokens);
  const turns = draws.integer(TURNS.least, TURNS.most);
  return Array.from({ length: turns }, (_, turn): LoadRequest => {
    const { question, answer } = askAny(draws, scene, SHORT_KINDS);
    const words = { type: "text", text: question } as const;
    history.push({ role: "user", content: turn === 0 ? [picture, words] : [words] });
    const messages = [...history];
    history.push({ role: "assistant", content: answer });
    return { group: "chat", messages, ...length, score: length.fixedLength ? null : equals(answer) };
  });
}

export const chat: Workload = async (options) => {
  const { count } = options;
  const nextSerial = serials(options.fresh);
  const requests: LoadRequest[] = [];
  while (requests.length < count) {
    const group: LoadRequest[][] = [];
    for (let i = 0; i < SIDE_BY_SIDE; i++) group.push(await conversation(options, nextSerial()));
    for (let turn = 0; turn < TURNS.most; turn++) {
      requests.push(...group.flatMap((turns) => turns[turn] ?? []));
    }
  }
  return requests.slice(0, count);
};
