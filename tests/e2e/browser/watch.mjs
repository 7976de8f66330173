// node watch.mjs hls|mpegts URL [SECONDS]
//
// Opens URL in a headless Chromium, watches for a while, and fails unless time runs on, frames
// and sound are decoded and the picture changes. Prints one JSON line with what it saw.
import { createServer } from 'node:http';
import { readFile, mkdtemp, rm } from 'node:fs/promises';
import { tmpdir } from 'node:os';
import { dirname, join, normalize } from 'node:path';
import { fileURLToPath } from 'node:url';
import { chromium } from 'playwright-core';

const [player, url, seconds = '6'] = process.argv.slice(2);
if (!['hls', 'mpegts'].includes(player) || !url) {
  console.error('usage: node watch.mjs hls|mpegts URL [SECONDS]');
  process.exit(2);
}
const here = dirname(fileURLToPath(import.meta.url));

// The page and the players come from this folder, on a port of their own: so the stream is
// loaded across origins, as it is on a real site.
const pages = createServer(async (request, response) => {
  const path = normalize(new URL(request.url, 'http://x').pathname);
  const type = path.endsWith('.html') ? 'text/html' : 'text/javascript';
  try {
    const body = await readFile(join(here, path));
    response.writeHead(200, { 'content-type': type }).end(body);
  } catch {
    response.writeHead(404).end();
  }
});
await new Promise((ready) => pages.listen(0, '127.0.0.1', ready));

const profile = await mkdtemp(join(tmpdir(), 'millrace-browser-'));
const context = await chromium.launchPersistentContext(profile, {
  executablePath: process.env.CHROMIUM ?? '/usr/bin/chromium',
  headless: true,
  args: [
    '--headless',
    '--no-sandbox',
    '--disable-gpu',
    '--disable-dev-shm-usage',
    '--autoplay-policy=no-user-gesture-required',
    '--disable-background-networking',
    '--disable-component-update',
    '--disable-sync',
    '--no-first-run',
  ],
});
let seen = [];
let verdict = 'never played';
try {
  const page = await context.newPage();
  const query = new URLSearchParams({ player, url });
  await page.goto(`http://127.0.0.1:${pages.address().port}/player.html?${query}`);
  const sleep = (ms) => new Promise((done) => setTimeout(done, ms));
  // How long a slow machine takes to start is not what is tested: look until it has played
  // for `seconds` of media time, with a generous end.
  const end = Date.now() + 60_000;
  let first;
  while (Date.now() < end) {
    await sleep(500);
    const now = await page.evaluate(() => window.look());
    if (now.faults.length) {
      verdict = now.faults.join('; ');
      break;
    }
    if (now.frames === 0) continue;
    first ??= now;
    seen.push(now);
    const pictures = new Set(seen.map((s) => s.picture)).size;
    const played = now.time - first.time;
    if (played >= Number(seconds)) {
      const frames = now.frames - first.frames;
      if (frames <= 0) verdict = 'no frame was decoded while time ran on';
      else if (pictures < 3) verdict = `the picture stands still (${pictures} pictures)`;
      else if (!(now.sound > first.sound)) verdict = 'no sound was decoded';
      else verdict = 'ok';
      break;
    }
    verdict = `played only ${played.toFixed(1)} s, ${pictures} pictures`;
  }
} finally {
  await context.close();
  pages.close();
  pages.closeAllConnections();
  await rm(profile, { recursive: true, force: true });
}
console.log(JSON.stringify({ player, url, verdict, last: seen.at(-1) }));
process.exit(verdict === 'ok' ? 0 : 1);
