// Slices in the browser's memory: pulled from a source a few at a time, the nearest first,
// kept up to a limit in bytes, the least recently used dropped first.

const bytesOf = (slice) => slice.pixels.byteLength;

/**
 * @param fetch    key → Promise of a slice with `pixels`
 * @param limit    bytes of pixels to keep at most
 * @param parallel how many may be asked for at once
 * @param arrived  called with (key, slice) for each slice that comes in
 */
export class Slices {
  #fetch;
  #limit;
  #parallel;
  #arrived;
  #kept = new Map(); // key → slice, least recently used first
  #underway = new Map(); // key → Promise
  #failed = new Map(); // key → Error
  #wishes = [];
  #bytes = 0;
  #largest = 0;
  #current = null;

  constructor(fetch, { limit = 512 * 1024 * 1024, parallel = 3, arrived = () => {} } = {}) {
    this.#fetch = fetch;
    this.#limit = limit;
    this.#parallel = parallel;
    this.#arrived = arrived;
  }

  get bytes() { return this.#bytes; }
  get limit() { return this.#limit; }
  get count() { return this.#kept.size; }
  get idle() { return this.#underway.size === 0; }

  has(key) { return this.#kept.has(key); }
  errorOf(key) { return this.#failed.get(key) ?? null; }

  /** The slice if it is here; it counts as used now. */
  peek(key) {
    const slice = this.#kept.get(key);
    if (slice) {
      this.#kept.delete(key);
      this.#kept.set(key, slice);
    }
    return slice ?? null;
  }

  /** The slice, asked for at once if it is not here; joins a request under way. */
  get(key) {
    this.#current = key;
    const slice = this.peek(key);
    if (slice) return Promise.resolve(slice);
    this.#failed.delete(key);
    return this.#underway.get(key) ?? this.#request(key);
  }

  /** Replaces the wish list (nearest first); what is under way is left to arrive. */
  wish(keys) {
    const room = this.#largest ? Math.floor(this.#limit / this.#largest) : keys.length;
    const near = keys.slice(0, room);
    for (let i = near.length - 1; i >= 0; i -= 1) this.peek(near[i]); // nearest used last
    this.#wishes = near.filter((key) => !this.#kept.has(key) && !this.#failed.has(key));
    this.#pump();
  }

  clear() {
    this.#kept.clear();
    this.#failed.clear();
    this.#wishes = [];
    this.#bytes = 0;
  }

  #pump() {
    while (this.#underway.size < this.#parallel && this.#wishes.length) {
      const key = this.#wishes.shift();
      if (!this.#kept.has(key) && !this.#underway.has(key)) {
        this.#request(key).catch(() => {}); // kept in #failed, shown when the person gets there
      }
    }
  }

  #request(key) {
    const promise = this.#fetch(key).then(
      (slice) => {
        this.#underway.delete(key);
        this.#keep(key, slice);
        this.#pump();
        this.#arrived(key, slice);
        return slice;
      },
      (error) => {
        this.#underway.delete(key);
        this.#failed.set(key, error);
        this.#pump();
        throw error;
      },
    );
    this.#underway.set(key, promise);
    return promise;
  }

  #keep(key, slice) {
    this.#kept.set(key, slice);
    this.#bytes += bytesOf(slice);
    this.#largest = Math.max(this.#largest, bytesOf(slice));
    for (const [old, oldSlice] of this.#kept) {
      if (this.#bytes <= this.#limit) break;
      if (old === key || old === this.#current) continue;
      this.#kept.delete(old);
      this.#bytes -= bytesOf(oldSlice);
    }
  }
}

/** Indexes 0..count-1 by distance from `at`, the direction of travel first. */
export function nearestFirst(count, at, forward = true) {
  const order = [];
  const step = forward ? 1 : -1;
  if (at >= 0 && at < count) order.push(at);
  for (let distance = 1; distance < count; distance += 1) {
    for (const index of [at + step * distance, at - step * distance]) {
      if (index >= 0 && index < count) order.push(index);
    }
  }
  return order;
}
