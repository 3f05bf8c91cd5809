import { deepEqual, equal } from "node:assert/strict";
import fc from "fast-check";
import { StopMatcher } from "../../../lib/text/stop.ts";

/** What leaves the matcher for these pieces, and whether it stopped. */
function run(stops: readonly string[], pieces: readonly string[]): { text: string; stopped: boolean } {
  const matcher = new StopMatcher(stops);
  let text = "";
  for (const piece of pieces) {
    const result = matcher.push(piece);
    text += result.text;
    if (result.stopped) return { text, stopped: true };
  }
  return { text: text + matcher.flush(), stopped: false };
}

Deno.test("StopMatcher passes text through at once when there are no stop strings", () => {
  deepEqual(new StopMatcher([]).push("anything"), { text: "anything", stopped: false });
});

Deno.test("StopMatcher holds back exactly the longest possible beginning of a stop string", () => {
  const matcher = new StopMatcher(["\n\nUser:", "ab"]);
  equal(matcher.push("x\n").text, "x");
  equal(matcher.push("y").text, "\ny");
  equal(matcher.push("\n\n\n").text, "\n");
  equal(matcher.push("Use").text, "");
  equal(matcher.push("d a").text, "\n\nUsed ");
  deepEqual(matcher.push("b!"), { text: "", stopped: true });
});

Deno.test("StopMatcher finds a stop string across pieces and emits nothing after it", () => {
  const matcher = new StopMatcher(["STOP"]);
  deepEqual(matcher.push("go S"), { text: "go ", stopped: false });
  deepEqual(matcher.push("TO"), { text: "", stopped: false });
  deepEqual(matcher.push("P more"), { text: "", stopped: true });
  deepEqual(matcher.push("more"), { text: "", stopped: true });
  equal(matcher.flush(), "");
});

Deno.test("StopMatcher gives back what it held when the text ends", () => {
  deepEqual(run(["STOP"], ["go ST"]), { text: "go ST", stopped: false });
});

Deno.test("StopMatcher takes the string that is complete first, and of those the longest", () => {
  deepEqual(run(["abcd", "bc"], ["xabcdy"]), { text: "xa", stopped: true });
  deepEqual(run(["bc", "abc"], ["xabcy"]), { text: "x", stopped: true });
  deepEqual(run(["abc", "bc"], ["xabcy"]), { text: "x", stopped: true });
});

Deno.test("StopMatcher starts again inside a beginning that came to nothing", () => {
  deepEqual(run(["aab"], ["a", "a", "a", "b"]), { text: "a", stopped: true });
  deepEqual(run(["abab"], ["aba", "abab"]), { text: "aba", stopped: true });
});

Deno.test("StopMatcher gives the same whatever the pieces, and equals a search in the whole text", () => {
  const letters = fc.string({ unit: fc.constantFrom("a", "b", "c"), maxLength: 12 });
  const stop = fc.string({ unit: fc.constantFrom("a", "b", "c"), minLength: 1, maxLength: 4 });
  fc.assert(
    fc.property(fc.array(letters, { maxLength: 8 }), fc.array(stop, { maxLength: 4 }), (pieces, stops) => {
      const whole = pieces.join("");
      const expected = naive(stops, whole);
      deepEqual(run(stops, pieces), expected);
      deepEqual(run(stops, [...whole]), expected);
      deepEqual(run(stops, [whole]), expected);
    }),
  );
});

/** Looks after every character whether the text ends with a stop string. */
function naive(stops: readonly string[], text: string): { text: string; stopped: boolean } {
  for (let end = 1; end <= text.length; end++) {
    const found = stops.filter((stop) => text.slice(0, end).endsWith(stop));
    if (found.length > 0) {
      const longest = Math.max(...found.map((stop) => stop.length));
      return { text: text.slice(0, end - longest), stopped: true };
    }
  }
  return { text, stopped: false };
}
