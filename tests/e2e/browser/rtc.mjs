// node rtc.mjs play URL SECONDS [sound|pictures]
// node rtc.mjs play URL SECONDS data        and talks in data channels
// node rtc.mjs publish URL SECONDS [h264|vp8|vp9|av1] [simulcast] [data] [sound|pictures]
// node rtc.mjs restart URL SECONDS          plays, and restarts ICE in the middle
//
// A headless Chromium publishes its fake camera and microphone by WHIP, or plays by WHEP, for
// SECONDS. Prints one JSON line with what it saw; fails if that is no moving picture with sound.
// `sound` or `pictures`: that alone is published, or expected of what is played.
import { createServer } from 'node:http';
import { readFile, mkdtemp, rm } from 'node:fs/promises';
import { tmpdir } from 'node:os';
import { dirname, join, normalize } from 'node:path';
import { fileURLToPath } from 'node:url';
import { chromium } from 'playwright-core';

const [mode, url, seconds = '6', ...options] = process.argv.slice(2);
if (!['play', 'publish', 'restart'].includes(mode) || !url) {
  console.error('usage: node rtc.mjs play|publish|restart URL SECONDS [CODEC] [simulcast] [sound|pictures]');
  process.exit(2);
}
const here = dirname(fileURLToPath(import.meta.url));
const pages = createServer(async (request, response) => {
  const path = normalize(new URL(request.url, 'http://x').pathname);
  try {
    const body = await readFile(join(here, path));
    response.writeHead(200, { 'content-type': 'text/html' }).end(body);
  } catch {
    response.writeHead(404).end();
  }
});
await new Promise((ready) => pages.listen(0, '127.0.0.1', ready));

const profile = await mkdtemp(join(tmpdir(), 'millrace-rtc-'));
const context = await chromium.launchPersistentContext(profile, {
  executablePath: process.env.CHROMIUM ?? '/usr/bin/chromium',
  headless: true,
  args: [
    '--headless',
    '--no-sandbox',
    '--disable-gpu',
    '--disable-dev-shm-usage',
    '--autoplay-policy=no-user-gesture-required',
    '--use-fake-device-for-media-stream',
    '--use-fake-ui-for-media-stream',
    '--disable-background-networking',
    '--disable-component-update',
    '--disable-sync',
    '--no-first-run',
  ],
});
const sees = !options.includes('sound');
const hears = !options.includes('pictures');
const sleep = (ms) => new Promise((done) => setTimeout(done, ms));
const seen = [];
let verdict = 'nothing came';
let gone;
let sdp;
let etag;
let talk;
let told;
try {
  const page = await context.newPage();
  page.on('console', (line) => console.error(line.text()));
  await page.goto(`http://127.0.0.1:${pages.address().port}/rtc.html`);
  const codec = options.find((o) => !['simulcast', 'data', 'sound', 'pictures'].includes(o));
  const data = options.includes('data');
  const simulcast = options.includes('simulcast');
  const size = simulcast ? { width: 1280, height: 720 } : {};
  sdp =
    mode === 'publish'
      ? await page.evaluate(([u, o]) => window.publish(u, o), [url, { codec, simulcast, data, audio: hears, pictures: sees, ...size }])
      : await page.evaluate(([u, o]) => window.play(u, o), [url, { data }]);
  const end = Date.now() + 60_000 + Number(seconds) * 1000;
  let first;
  while (Date.now() < end) {
    await sleep(500);
    const now = await page.evaluate(() => window.look());
    now.at = Date.now();
    if (now.faults.length) {
      verdict = now.faults.join('; ');
      break;
    }
    const most = (look, kind, name) =>
      Math.max(0, ...Object.entries(look).filter(([k]) => k.startsWith(kind)).map(([, v]) => v[name] ?? 0));
    const frames = (look) => {
      if (mode === 'publish') return sees ? most(look, 'video-out', 'framesEncoded') : most(look, 'audio-out', 'packetsSent');
      return sees ? (look.video?.framesDecoded ?? 0) : (look.audio?.totalAudioEnergy ?? 0);
    };
    if (!frames(now)) continue;
    first ??= now;
    seen.push(now);
    const over = now.at - first.at;
    if (mode === 'restart' && over >= Number(seconds) * 500 && !etag) {
      etag = await page.evaluate(() => window.restart());
    }
    if (data && mode === 'play') talk ??= await page.evaluate(() => window.talk());
    if (over < Number(seconds) * 1000) continue;
    const pictures = new Set(seen.map((s) => s.picture)).size;
    if (frames(now) <= frames(first)) verdict = 'no frame while time ran on';
    else if (sees && pictures < 3) verdict = `the picture stands still (${pictures} pictures)`;
    else if (hears && mode !== 'publish' && !(now.audio?.totalAudioEnergy > 0)) verdict = 'no sound was heard';
    else verdict = 'ok';
    break;
  }
  // Of each text of the stream, how many ticks the nearest picture is away.
  if (data)
    told = await page.evaluate(() =>
      told.map((one) => {
        const at = one.rtp?.video;
        // In its first second a browser leaves pictures out.
        const within = at >= shown[0] + 90_000 && at <= shown.at(-1);
        return { ...one, within, away: Math.min(...shown.map((rtp) => Math.abs(rtp - at))) };
      }),
    );
  gone = await page.evaluate(() => window.leave());
} catch (error) {
  verdict = `${error}`;
} finally {
  await context.close();
  pages.close();
  pages.closeAllConnections();
  await rm(profile, { recursive: true, force: true });
}
const last = seen.at(-1);
const pick = (stats, names) => Object.fromEntries(names.map((n) => [n, stats?.[n]]));
const inbound = ['codec', 'framesDecoded', 'framesDropped', 'freezeCount', 'totalFreezesDuration', 'packetsLost', 'packetsReceived', 'nackCount', 'pliCount', 'retransmittedPacketsReceived', 'jitterBufferDelay', 'jitterBufferEmittedCount', 'keyFramesDecoded', 'estimatedPlayoutTimestamp', 'totalAudioEnergy', 'totalSamplesReceived', 'concealedSamples', 'audioLevel', 'frameWidth', 'frameHeight', 'framesPerSecond'];
const outbound = ['codec', 'framesEncoded', 'packetsSent', 'nackCount', 'pliCount', 'retransmittedPacketsSent', 'frameWidth', 'frameHeight', 'qualityLimitationReason', 'targetBitrate'];
// How far sound and picture are apart when they are played, in ms: once sender reports have come.
const skews = seen
  .map((s) => [s.video?.estimatedPlayoutTimestamp, s.audio?.estimatedPlayoutTimestamp])
  .filter(([v, a]) => v && a)
  .map(([v, a]) => v - a);
// The same in time, with how much was shown and heard by then.
const looks = seen.map((s) => ({
  ms: s.at - seen[0].at,
  frames: s.video?.framesDecoded ?? 0,
  energy: s.audio?.totalAudioEnergy ?? 0,
  concealed: s.audio?.concealedSamples ?? 0,
  skew: s.video?.estimatedPlayoutTimestamp && s.audio?.estimatedPlayoutTimestamp
    ? s.video.estimatedPlayoutTimestamp - s.audio.estimatedPlayoutTimestamp : null,
}));
const report = { mode, url, verdict, gone, etag, marks: last?.marks, began: seen[0]?.at, skews, looks, talk, told, sdp };
for (const [key, value] of Object.entries(last ?? {})) {
  if (/^(video|audio)$/.test(key)) report[key] = pick(value, inbound);
  if (/-out/.test(key)) report[key] = pick(value, outbound);
  if (/-remote$/.test(key)) report[key] = pick(value, ['roundTripTime', 'fractionLost', 'packetsLost']);
}
if (last?.marks) report.firstPictureMs = last.marks.picture - last.marks.answer;
console.log(JSON.stringify(report));
process.exit(verdict === 'ok' ? 0 : 1);
