// A Prometheus of its own on a free port of the loopback, with what it has seen in a directory that is thrown away.

import { spawn } from 'node:child_process';
import { once } from 'node:events';
import { createWriteStream, readFileSync, renameSync, writeFileSync } from 'node:fs';
import { createServer } from 'node:net';
import { join } from 'node:path';

import { until } from './wait.mjs';

/** How often the pods are scraped, in seconds. */
export const SCRAPE = 5;

async function freePort() {
  const server = createServer().listen(0, '127.0.0.1');
  await once(server, 'listening');
  const { port } = server.address();
  server.close();
  await once(server, 'close');
  return port;
}

export class Prometheus {
  #directory;
  #child;
  address;

  static async start(program, directory) {
    const prometheus = new Prometheus();
    prometheus.#directory = directory;
    prometheus.address = `127.0.0.1:${await freePort()}`;
    prometheus.scrape([]);
    const configuration = {
      global: { scrape_interval: `${SCRAPE}s` },
      scrape_configs: [
        {
          job_name: 'pods',
          metrics_path: '/actuator/prometheus',
          file_sd_configs: [{ files: ['targets.json'] }],
        },
      ],
    };
    writeFileSync(join(directory, 'prometheus.yml'), JSON.stringify(configuration));
    const flags = ['--config.file=prometheus.yml', '--storage.tsdb.path=data'];
    prometheus.#child = spawn(program, [...flags, `--web.listen-address=${prometheus.address}`], {
      cwd: directory,
      stdio: ['ignore', 'ignore', 'pipe'],
    });
    await once(prometheus.#child, 'spawn');
    const log = join(directory, 'prometheus.log');
    prometheus.#child.stderr.pipe(createWriteStream(log));
    await prometheus.#ready(log);
    return prometheus;
  }

  async #ready(log) {
    const answers = () => fetch(`http://${this.address}/-/ready`).then(({ ok }) => ok, () => false);
    await until('Prometheus is ready', 30, () => {
      if (this.#child.exitCode !== null) {
        throw new Error(`Prometheus ended: ${readFileSync(log, 'utf8')}`);
      }
      return answers();
    }).catch(async (error) => {
      await this.end();
      throw error;
    });
  }

  /** Scrapes these targets and no others. */
  scrape(targets) {
    // Whole or not at all, because it is read when it changes.
    const next = join(this.#directory, 'next.json');
    writeFileSync(next, JSON.stringify(targets));
    renameSync(next, join(this.#directory, 'targets.json'));
  }

  async end() {
    this.#child.kill('SIGTERM');
    await until('Prometheus ends', 30, () => this.#child.exitCode !== null || this.#child.signalCode !== null);
  }
}
