// The pods: processes of the lab's sample app, one for each pod, replaced one by one as a rollout does.

import { spawn } from 'node:child_process';
import { mkdirSync, writeFileSync } from 'node:fs';
import { join } from 'node:path';

import { until } from './wait.mjs';

export class Fleet {
  #program;
  #directory;
  #pods = [];
  #started = 0;
  #failure;

  constructor(program, directory) {
    this.#program = program;
    this.#directory = directory;
  }

  /** Starts a pod of an app and returns it once it listens. */
  async start(app, release) {
    const name = `${app}-${++this.#started}`;
    const root = join(this.#directory, name);
    // Where an image has the versions of its runtime and of its stack.
    for (const [layer, file, version] of [
      ['runtime', 'version', release.java],
      ['stack', 'openssl', release.openssl],
    ]) {
      mkdirSync(join(root, 'layers', layer), { recursive: true });
      writeFileSync(join(root, 'layers', layer, file), version);
    }
    const child = spawn(this.#program, {
      env: { APP_ROOT: root, APP_NAME: app, HOSTNAME: name, ADDRESS: '127.0.0.1', PORT: '0', DRAIN_DELAY: '1' },
      stdio: ['ignore', 'ignore', 'pipe'],
    });
    const pod = { app, name, child, address: undefined, leaving: false };
    child.stderr.setEncoding('utf8');
    let log = '';
    child.stderr.on('data', (text) => {
      log += text;
      pod.address ??= /listening on (\S+)/.exec(log)?.[1];
    });
    child.on('error', (error) => (this.#failure ??= error));
    child.on('exit', () => {
      if (!pod.leaving) {
        this.#failure ??= new Error(`the pod ${name} ended by itself: ${log}`);
      }
    });
    await until(`the pod ${name} listens`, 10, () => {
      if (this.#failure) throw this.#failure;
      return pod.address;
    });
    this.#pods.push(pod);
  }

  /** Ends the oldest pod of an app. */
  end(app) {
    const pod = this.#pods.find((one) => one.app === app);
    this.#pods = this.#pods.filter((one) => one !== pod);
    pod.leaving = true;
    pod.child.kill('SIGTERM');
  }

  endAll() {
    for (const { app } of [...this.#pods]) {
      this.end(app);
    }
  }

  /** What Prometheus is to scrape. */
  targets() {
    if (this.#failure) throw this.#failure;
    return this.#pods.map(({ app, address, name }) => ({
      targets: [address],
      labels: { namespace: app, pod: name, job: 'kubernetes-pods' },
    }));
  }
}
