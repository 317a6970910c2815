// Serves the page with what it asks for, opens it in a browser and takes the picture.

import { once } from 'node:events';
import { readFile } from 'node:fs/promises';
import { createServer } from 'node:http';
import { extname, join } from 'node:path';

import { chromium } from 'playwright-core';

const WIDTH = 1600;
const TYPES = { html: 'text/html', js: 'text/javascript', css: 'text/css', svg: 'image/svg+xml', woff2: 'font/woff2' };

const ICONS = '/public/build/img/icons/';
const RIGHT = 'unicons/angle-double-right.svg';
/** The package lacks this one, which is the other turned round. */
const LEFT = 'unicons/angle-double-left.svg';

/** Reads what the page asks for by the name that it has in Grafana from where it is here. */
async function content(path, { modules, page }) {
  const icons = join(modules, '@grafana/ui/dist/public/img/icons');
  if (path === ICONS + LEFT) {
    const icon = await readFile(join(icons, RIGHT), 'utf8');
    return icon.replace('<svg', '<svg transform="scale(-1 1)"');
  }
  if (path.startsWith(ICONS)) {
    return readFile(join(icons, path.slice(ICONS.length)));
  }
  if (path.startsWith('/public/fonts/inter/')) {
    // One file has all weights.
    return readFile(join(modules, '@fontsource-variable/inter/files/inter-latin-wght-normal.woff2'));
  }
  return readFile(join(page, path));
}

/** Serves until it is closed. `answers` are the JSON documents, `prometheus` is where questions to it go. */
async function serve({ answers, prometheus, ...folders }) {
  const server = createServer(async (request, response) => {
    const { pathname, search } = new URL(request.url, 'http://page');
    try {
      if (pathname in answers) {
        response.setHeader('content-type', 'application/json').end(JSON.stringify(answers[pathname]));
      } else if (pathname.startsWith('/api/v1/')) {
        const answer = await fetch(`http://${prometheus}${pathname}${search}`);
        response.setHeader('content-type', 'application/json').end(await answer.text());
      } else {
        const path = pathname === '/' ? '/index.html' : pathname;
        const body = await content(path, folders);
        response.setHeader('content-type', TYPES[extname(path).slice(1)] ?? 'application/octet-stream').end(body);
      }
    } catch (error) {
      response.writeHead(404).end(String(error));
    }
  });
  server.listen(0, '127.0.0.1');
  await once(server, 'listening');
  return server;
}

/** Takes the picture; throws when anything of the dashboard is not as a person should see it. */
export async function take({ browser, picture, ...served }) {
  const server = await serve(served);
  const flags = ['--no-sandbox', '--disable-gpu', '--no-first-run', '--disable-background-networking'];
  const chrome = await chromium.launch({ executablePath: browser, args: flags });
  try {
    const page = await chrome.newPage({ viewport: { width: WIDTH, height: 900 }, locale: 'en-GB', timezoneId: 'UTC' });
    const problems = [];
    page.on('pageerror', (error) => problems.push(error.stack ?? String(error)));
    page.on('response', (answer) => {
      if (!answer.ok()) problems.push(`${answer.status()} ${new URL(answer.url()).pathname}`);
    });
    await page.goto(`http://127.0.0.1:${server.address().port}/`);
    await page.waitForFunction('window.picture', null, { timeout: 30_000 });
    problems.push(...(await page.evaluate('window.picture.problems')));
    await page.waitForLoadState('networkidle');
    if (problems.length === 0) problems.push(...(await unseen(page, served.answers['/dashboard.json'])));
    if (problems.length > 0) throw new Error(`the dashboard is not drawn:\n${problems.join('\n')}`);
    await page.locator('#picture').screenshot({ path: picture, animations: 'disabled' });
  } finally {
    await chrome.close();
    server.close();
  }
}

/** Returns what is wrong with the panels as they stand on the page. */
async function unseen(page, dashboard) {
  const wrong = [];
  for (const { title } of dashboard.panels) {
    const panel = page.locator(`[data-panel=${JSON.stringify(title)}]`);
    const text = (await panel.count()) === 1 ? await panel.innerText() : '';
    if (!text.includes(title)) wrong.push(`the panel ${title} is not there`);
    if (text.trim() === title) wrong.push(`the panel ${title} is empty`);
    if (/no data|error/i.test(text)) wrong.push(`the panel ${title} says: ${text}`);
  }
  return wrong;
}
