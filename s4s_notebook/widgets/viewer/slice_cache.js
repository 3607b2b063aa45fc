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
  #next = null; // {key, resolve, reject}: the one asked for last, while enough is under way
  #within = new Map(); // key up to its last "/" → how many of these are kept

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
  /** How many slices there is room for, as far as is known. */
  get room() { return this.#largest ? Math.floor(this.#limit / this.#largest) : Infinity; }
  /** How many are kept of those whose keys start with `group` and "/". */
  countOf(group) { return this.#within.get(group) ?? 0; }

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

  /**
   * The slice, asked for at once if it is not here; joins a request under way. Who scrolls past
   * slices faster than they come waits for the last one alone: the others resolve to null.
   */
  get(key) {
    this.#current = key;
    const slice = this.peek(key);
    if (slice) return Promise.resolve(slice);
    this.#failed.delete(key);
    this.#next?.resolve(null);
    this.#next = null;
    const underway = this.#underway.get(key);
    if (underway || this.#underway.size <= this.#parallel) return underway ?? this.#request(key);
    return new Promise((resolve, reject) => { this.#next = { key, resolve, reject }; });
  }

  /** Replaces the wish list (nearest first); what is under way is left to arrive. */
  wish(keys) {
    const near = keys.slice(0, this.room);
    for (let i = near.length - 1; i >= 0; i -= 1) this.peek(near[i]); // nearest used last
    this.#wishes = near.filter((key) => !this.#kept.has(key) && !this.#failed.has(key));
    this.#pump();
  }

  clear() {
    this.#kept.clear();
    this.#within.clear();
    this.#failed.clear();
    this.#wishes = [];
    this.#bytes = 0;
  }

  #pump() {
    const next = this.#next;
    if (next && this.#underway.size <= this.#parallel) {
      this.#next = null;
      this.get(next.key).then(next.resolve, next.reject);
    }
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
    this.#count(key, 1);
    this.#bytes += bytesOf(slice);
    this.#largest = Math.max(this.#largest, bytesOf(slice));
    for (const [old, oldSlice] of this.#kept) {
      if (this.#bytes <= this.#limit) break;
      if (old === key || old === this.#current) continue;
      this.#kept.delete(old);
      this.#count(old, -1);
      this.#bytes -= bytesOf(oldSlice);
    }
  }

  #count(key, by) {
    const group = key.slice(0, Math.max(key.lastIndexOf("/"), 0));
    this.#within.set(group, this.countOf(group) + by);
  }
}

/** Up to `most` of the indexes 0..count-1 by distance from `at`, the direction of travel first. */
export function nearestFirst(count, at, forward = true, most = count) {
  const order = [];
  const step = forward ? 1 : -1;
  if (at >= 0 && at < count) order.push(at);
  for (let distance = 1; distance < count && order.length < most; distance += 1) {
    for (const index of [at + step * distance, at - step * distance]) {
      if (index >= 0 && index < count) order.push(index);
    }
  }
  return order;
}
