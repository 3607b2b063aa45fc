// Questions to the kernel that are asked again until they are answered.

export const AGAIN = 3000; // milliseconds without an answer after which a question is asked again
const SLOWEST = 30000; // milliseconds between two askings at most: a slow kernel is not flooded

// A kernel that starts or is busy may lose a message. A repeat keeps its number, so that an
// answer that comes late is still an answer.
export class Question {
  constructor(line) {
    this.line = line;
    this.number = 0;
    this.timer = 0;
  }

  ask(content) {
    this.number += 1;
    this.#send({ ...content, ask: this.number }, AGAIN);
  }

  #send(content, patience) {
    this.stop();
    this.timer = setTimeout(() => this.#send(content, Math.min(2 * patience, SLOWEST)), patience);
    this.line.send(content);
  }

  // Whether this answers what was asked last.
  answers({ ask }) {
    if (ask !== this.number) return false;
    this.stop();
    return true;
  }

  stop() {
    clearTimeout(this.timer);
  }
}
