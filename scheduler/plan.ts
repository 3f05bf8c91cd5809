/**
 * What the device does next. One pure function of what waits, of the budgets, of the pool and of measured costs: stages
 * never race for the device, because only this decides.
 */
import { planDynamic } from "./plan_dynamic.ts";
import { planFcfs } from "./plan_fcfs.ts";
import { planStatic } from "./plan_static.ts";
import type { Decision, Held, PlanView } from "./plan_view.ts";
import { relief } from "./pressure.ts";

export function plan(view: PlanView): Decision {
  const held: Held[] = [];
  const step = relief(view) ?? choose(view, held);
  return { step, held };
}

function choose(view: PlanView, held: Held[]) {
  switch (view.policy.kind) {
    case "dynamic":
      return planDynamic(view, held);
    case "fcfs":
      return planFcfs(view, held);
    case "static":
      return planStatic(view, view.policy, held);
  }
}
