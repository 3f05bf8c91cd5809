/** The reference fixtures: model directories with what transformers computes for them. */
import { FAMILIES } from "../../lib/model/families/mod.ts";

/** What the reference expects of one position. */
export interface ReferenceLogprob {
  readonly token_id: number;
  readonly logprob: number;
  /** Best minus second best logit. */
  readonly margin: number;
  readonly top: readonly (readonly [id: number, logprob: number])[];
}

/** A part of an OpenAI chat message; a picture's `url` is a path inside the fixture's folder. */
export type CasePart =
  | { readonly type: "text"; readonly text: string }
  | { readonly type: "image_url"; readonly image_url: { readonly url: string } };

export interface CaseMessage {
  readonly role: string;
  readonly content: string | readonly CasePart[];
}

export interface ReferenceCase {
  readonly id: string;
  readonly messages: readonly CaseMessage[];
  readonly expected: {
    readonly prompt_text: string;
    readonly prompt_token_ids: readonly number[];
    readonly num_prompt_tokens: number;
    readonly generated_token_ids: readonly number[];
    readonly generated_text: string;
    readonly logprobs: readonly ReferenceLogprob[];
    readonly min_top1_margin: number;
    readonly num_image_tokens?: number;
    readonly pixel_values_shape?: readonly number[];
  };
}

export interface Fixture {
  /** The folder's name. */
  readonly name: string;
  readonly dir: string;
  readonly cases: readonly ReferenceCase[];
}

const OWN = new URL("../fixtures", import.meta.url).pathname;

/**
 * The project's fixtures, then every folder of FASTCACHE_REFERENCE_DIR with a `cases.json`, under its own name and the
 * word "given". Families that cannot be served are left out of `fixtures` and named by `unsupportedFixtures`.
 */
export function fixtures(): Fixture[] {
  return folders().flatMap(({ dir, name }) => readFixture(dir, name) ?? []);
}

/** Names of given fixtures whose family cannot be served. */
export function unsupportedFixtures(): string[] {
  return folders().filter(({ dir, name }) => {
    return readIfThere(`${dir}/cases.json`) !== null && readFixture(dir, name) === null;
  }).map(({ name }) => name);
}

function folders(): { dir: string; name: string }[] {
  const given = Deno.env.get("FASTCACHE_REFERENCE_DIR");
  const list = (folder: string, suffix: string) =>
    [...Deno.readDirSync(folder)].filter((entry) => entry.isDirectory)
      .map(({ name }) => ({ dir: `${folder}/${name}`, name: name + suffix }))
      .sort((a, b) => a.name < b.name ? -1 : 1);
  return [...list(OWN, ""), ...(given ? list(given, " (given)") : [])];
}

/** One of the project's own fixtures. */
export function fixture(name: string): Fixture {
  const found = readFixture(`${OWN}/${name}`, name);
  if (found === null) throw new Error(`tests/fixtures/${name} is no fixture of a family that can be served`);
  return found;
}

/** Paths of the pictures of one case, in the order of the messages. */
export function picturePaths(messages: readonly CaseMessage[]): string[] {
  return messages.flatMap(({ content }) =>
    typeof content === "string"
      ? []
      : content.flatMap((part) => part.type === "image_url" ? [part.image_url.url] : [])
  );
}

function readFixture(dir: string, name: string): Fixture | null {
  const cases = readIfThere(`${dir}/cases.json`), config = readIfThere(`${dir}/config.json`);
  if (cases === null || config === null) return null;
  const { architectures } = JSON.parse(config) as { architectures: string[] };
  if (!FAMILIES.some(({ architecture }) => architectures.includes(architecture))) return null;
  return { name, dir, cases: JSON.parse(cases) as ReferenceCase[] };
}

function readIfThere(path: string): string | null {
  try {
    return Deno.readTextFileSync(path);
  } catch (error) {
    if (error instanceof Deno.errors.NotFound) return null;
    throw error;
  }
}
