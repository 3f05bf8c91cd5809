/** Bind groups by layout and buffers: a steady load makes none. A group goes when one of its buffers goes. */
import { PARAMS_SLOT_BYTES } from "./params.ts";
import type { Pipeline } from "./pipelines.ts";

/** Groups kept; the oldest goes first. Two steps of a 40-layer model use fewer. */
const GROUPS_MAX = 4096;

export class BindGroups {
  readonly #device: GPUDevice;
  readonly #groupsMax: number;
  readonly #groups = new Map<
    string,
    { readonly group: GPUBindGroup; readonly buffers: readonly GPUBuffer[] }
  >();
  /** Names buffers in keys, and says which keys name a buffer. */
  readonly #uses = new Map<GPUBuffer, { readonly id: number; readonly keys: Set<string> }>();
  #nextId = 0;

  constructor(device: GPUDevice, groupsMax = GROUPS_MAX) {
    this.#device = device;
    this.#groupsMax = groupsMax;
  }

  get size(): number {
    return this.#groups.size;
  }

  /** `buffers` in binding order, the params arena last where the layout has params. */
  get({ key: label, layout }: Pipeline, buffers: readonly GPUBuffer[]): GPUBindGroup {
    const uses = buffers.map((buffer) => this.#use(buffer));
    const key = `${layout.signature}:${uses.map((use) => use.id).join()}`;
    const known = this.#groups.get(key);
    if (known !== undefined) return known.group;
    if (this.#groups.size >= this.#groupsMax) this.#drop(this.#groups.keys().next().value!);
    const group = this.#device.createBindGroup({
      label,
      layout: layout.bindGroupLayout,
      entries: buffers.map((buffer, binding) => ({
        binding,
        resource: layout.hasParams && binding === buffers.length - 1
          ? { buffer, size: PARAMS_SLOT_BYTES }
          : { buffer },
      })),
    });
    this.#groups.set(key, { group, buffers });
    for (const use of uses) use.keys.add(key);
    return group;
  }

  /** Drops every group that names `buffer`, which is about to be destroyed. */
  forget(buffer: GPUBuffer): void {
    const use = this.#uses.get(buffer);
    if (use === undefined) return;
    for (const key of [...use.keys]) this.#drop(key);
    this.#uses.delete(buffer);
  }

  #use(buffer: GPUBuffer): { readonly id: number; readonly keys: Set<string> } {
    const known = this.#uses.get(buffer);
    if (known !== undefined) return known;
    const use = { id: this.#nextId++, keys: new Set<string>() };
    this.#uses.set(buffer, use);
    return use;
  }

  #drop(key: string): void {
    for (const buffer of this.#groups.get(key)!.buffers) this.#uses.get(buffer)?.keys.delete(key);
    this.#groups.delete(key);
  }
}
