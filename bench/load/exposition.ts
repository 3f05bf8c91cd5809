/** `/metrics` of a server, in Prometheus' text form. */

/** Value by `name{labels}`, labels as the server wrote them. */
export type Samples = ReadonlyMap<string, number>;

export function parseExposition(text: string): Samples {
  const samples = new Map<string, number>();
  for (const line of text.split("\n")) {
    if (line === "" || line.startsWith("#")) continue;
    const match = /^([^\s{]+(?:\{.*\})?)\s+(\S+)/.exec(line);
    if (match !== null) samples.set(match[1], Number(match[2]));
  }
  return samples;
}

/** null where the server has no metrics. */
export async function scrape(url: string): Promise<Samples | null> {
  try {
    const response = await fetch(`${url}/metrics`);
    const text = await response.text();
    return response.ok ? parseExposition(text) : null;
  } catch {
    return null;
  }
}

/** Sum of a series over its labels; those of `name` and `name{…}`. 0 where there is none. */
export function sumOf(samples: Samples, name: string): number {
  let sum = 0;
  for (const [key, value] of samples) if (key === name || key.startsWith(`${name}{`)) sum += value;
  return sum;
}

/** A series by the value of one of its labels. */
export function byLabel(samples: Samples, name: string, label: string): ReadonlyMap<string, number> {
  const values = new Map<string, number>();
  for (const [key, value] of samples) {
    const found = key.startsWith(`${name}{`)
      ? new RegExp(`[{,]${label}="([^"]*)"`).exec(key)?.[1]
      : undefined;
    if (found !== undefined) values.set(found, (values.get(found) ?? 0) + value);
  }
  return values;
}

/** What counters added between two scrapes. Gauges mean nothing here. */
export function difference(before: Samples, after: Samples): Samples {
  return new Map([...after].map(([key, value]) => [key, value - (before.get(key) ?? 0)]));
}
