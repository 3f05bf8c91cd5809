/** What the routes are given. */
import type { Clock } from "../core/clock.ts";
import type { Fields } from "../core/log.ts";
import type { Random } from "../core/random.ts";
import type { Service } from "./service.ts";

export interface ApiOptions {
  /** Keys that open the server; none leaves it open. */
  readonly apiKeys: readonly string[];
  /** Origins whose pages may call; `*` for all. */
  readonly allowedOrigins: readonly string[];
  /** Hosts from which pictures may be downloaded. */
  readonly allowedMediaHosts: readonly string[];
}

export interface AppParts {
  readonly service: Service;
  readonly options: ApiOptions;
  readonly clock: Clock;
  readonly random: Random;
  /** Takes one line per request; probes leave none. */
  readonly accessLog: (fields: Fields) => void;
}
