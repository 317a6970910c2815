// Waiting, always with a deadline.

import { setTimeout as sleep } from 'node:timers/promises';

export { sleep };

/** Resolves once `holds` does; what it waits for is named when it does not within so many seconds. */
export async function until(what, seconds, holds) {
  const deadline = Date.now() + seconds * 1000;
  while (!(await holds())) {
    if (Date.now() > deadline) {
      throw new Error(`${what}: not within ${seconds} s`);
    }
    await sleep(100);
  }
}
