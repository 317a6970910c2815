// usage: node picture.mjs PROMETHEUS BROWSER SAMPLE_APP PAGE [MINUTES]
// Lets three apps be patched under the eyes of a Prometheus and takes the dashboard's picture of it.

import { mkdtempSync, readFileSync, rmSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { dirname, join } from 'node:path';
import { fileURLToPath } from 'node:url';

import { take } from './camera.mjs';
import { Fleet } from './fleet.mjs';
import { Prometheus, SCRAPE } from './prometheus.mjs';
import { sleep } from './wait.mjs';

// A person reads it, so no stack; the exit waits for the pods, which end by then.
process.on('uncaughtException', (error) => {
  console.error(`error: ${error.message}`);
  process.exitCode = 1;
});

const here = dirname(fileURLToPath(import.meta.url));
const [, , program, browser, sampleApp, page, given] = process.argv;
const dashboard = JSON.parse(readFileSync(join(here, '../kpack-dashboard.json'), 'utf8'));
const minutes = Number(given ?? /^now-(\d+)m$/.exec(dashboard.time.from)?.[1]);
if (!(minutes >= 4 && minutes <= 60)) {
  throw new Error(`\`${given ?? dashboard.time.from}\` is not between 4 and 60 minutes`);
}

const APPS = { foo: 5, bar: 4, baz: 3 };
const OLD = { java: '11.0.5', openssl: 'OpenSSL 1.1.1  11 Sep 2018 built on: Thu Jun 20 17:36:28 2019 UTC' };
const JVM_UPDATE = { ...OLD, java: '11.0.6' };
const STACK_UPDATE = { ...JVM_UPDATE, openssl: 'OpenSSL 1.1.1  11 Sep 2018 built on: Tue Nov 12 16:58:35 2019 UTC' };

/** When which app gets what, as a share of the whole time; `pods` where the picture is taken before all have it. */
const ROLLOUTS = [
  { at: 0.2, app: 'foo', release: JVM_UPDATE },
  { at: 0.3, app: 'bar', release: JVM_UPDATE },
  { at: 0.4, app: 'baz', release: JVM_UPDATE },
  { at: 0.75, app: 'foo', release: STACK_UPDATE },
  { at: 0.92, app: 'bar', release: STACK_UPDATE, pods: 2 },
];

const directory = mkdtempSync(join(tmpdir(), 'picture-'));
const fleet = new Fleet(sampleApp, directory);
let prometheus;
let interrupted = false;
for (const signal of ['SIGINT', 'SIGTERM']) {
  process.on(signal, () => (interrupted = true));
}

/** Sleeps until that moment, and no longer than until somebody wants it to end. */
async function until(moment) {
  while (Date.now() < moment) {
    if (interrupted) throw new Error('interrupted');
    await sleep(Math.min(500, moment - Date.now()));
  }
}

/** Replaces pods of an app: first the new one, then, once it was seen, an old one. */
async function roll({ app, release, pods = APPS[app] }) {
  for (let pod = 0; pod < pods; pod++) {
    await fleet.start(app, release);
    prometheus.scrape(fleet.targets());
    await until(Date.now() + SCRAPE * 1000);
    fleet.end(app);
    prometheus.scrape(fleet.targets());
  }
}

try {
  prometheus = await Prometheus.start(program, directory);
  for (const [app, pods] of Object.entries(APPS)) {
    for (let pod = 0; pod < pods; pod++) await fleet.start(app, OLD);
  }
  prometheus.scrape(fleet.targets());
  // By then each of them was scraped.
  await until(Date.now() + 2 * SCRAPE * 1000);
  const started = Date.now();
  const whole = minutes * 60_000;
  for (const rollout of ROLLOUTS) {
    await until(started + rollout.at * whole);
    console.log(`${rollout.app}: Java ${rollout.release.java}, ${rollout.release.openssl}`);
    await roll(rollout);
  }
  await until(started + whole);
  fleet.targets();
  await take({
    browser,
    picture: join(here, '../kpack-dashboard.png'),
    modules: join(here, 'node_modules'),
    page,
    prometheus: prometheus.address,
    answers: {
      '/dashboard.json': dashboard,
      '/surroundings.json': {
        source: 'Prometheus',
        scrape: `${SCRAPE}s`,
        time: given && { from: `now-${minutes}m`, to: 'now' },
      },
    },
  });
} finally {
  fleet.endAll();
  await prometheus?.end();
  rmSync(directory, { recursive: true });
}
