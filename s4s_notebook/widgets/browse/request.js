// Requests to the kernel that are repeated until they are answered.

export const REPEAT = 3000; // milliseconds without an answer after which a request is repeated
const MAX_INTERVAL = 30000; // milliseconds between two repeats at most, so that a slow kernel is not flooded

// A kernel that starts or is busy may lose a message. A repeat keeps its number, so that an
// answer that comes late is still an answer.
export class PendingRequest {
  constructor(line) {
    this.line = line;
    this.number = 0;
    this.timer = 0;
  }

  ask(content) {
    this.number += 1;
    this.#send({ ...content, ask: this.number }, REPEAT);
  }

  #send(content, patience) {
    this.stop();
    this.timer = setTimeout(() => this.#send(content, Math.min(2 * patience, MAX_INTERVAL)), patience);
    this.line.send(content);
  }

  // Whether this answers the last request.
  answers({ ask }) {
    if (ask !== this.number) return false;
    this.stop();
    return true;
  }

  stop() {
    clearTimeout(this.timer);
  }
}
