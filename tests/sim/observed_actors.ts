/** The actors of a scheduler with somebody looking on: what is delivered to whom, and whether the device was looked after. */
import type { Actor } from "../../scheduler/actor.ts";
import { ActorSystem } from "../../scheduler/actor.ts";
import { ACTOR_NAMES, type StageMessages } from "../../scheduler/stage.ts";

export type ActorName = keyof StageMessages;

export type DeliveryObserver = <Name extends ActorName>(to: Name, message: StageMessages[Name]) => void;

type StageActors = Parameters<ActorSystem<StageMessages>["start"]>[0];

export class ObservedActors extends ActorSystem<StageMessages> {
  /** Something has woken the loop that a server would run, and `dispatch` has not been called since. */
  woken = false;
  /** Called before each delivery. */
  onDelivery: DeliveryObserver = () => {};

  constructor() {
    super(ACTOR_NAMES);
  }

  override start(actors: StageActors): void {
    const around = <Name extends ActorName>(name: Name): Actor<StageMessages[Name]> => {
      const actor: Actor<StageMessages[Name]> = actors[name];
      return {
        receive: (message) => {
          this.onDelivery(name, message);
          this.pass(name, message, actor);
        },
      };
    };
    super.start({
      intake: around("intake"),
      encode: around("encode"),
      prefill: around("prefill"),
      compress: around("compress"),
      decode: around("decode"),
      emit: around("emit"),
    });
  }

  override deliver(name: ActorName): boolean {
    const delivered = super.deliver(name);
    // The loop looks after the device when mail has been worked off, whatever the mail was.
    if (delivered) this.woken = true;
    return delivered;
  }

  override wake(): void {
    this.woken = true;
    super.wake();
  }

  /** Hands a message over. */
  protected pass<Name extends ActorName>(
    _name: Name,
    message: StageMessages[Name],
    actor: Actor<StageMessages[Name]>,
  ): void {
    actor.receive(message);
  }
}
