import { mkdir, writeFile } from 'node:fs/promises';
import { afterEach, beforeEach, expect, test } from 'vitest';
import { type Machine, type NetLab, startNetLab } from '../../test/netns/net-lab.ts';
import { patience } from '../../test/netns/patience.ts';
import { putWeb, startRun } from '../../test/netns/run-rig.ts';
import { type SimApiServer, startSimApiServer } from '../../test/sim/apiserver.ts';
import { systemClock } from './node/clock.ts';
import { systemExec } from './node/exec.ts';

/** On the LAN of the client. */
const address = '10.10.0.50';
const addresses = `${address}-10.10.0.59`;

let lab: NetLab;
let server: SimApiServer;

beforeEach(async () => {
  lab = await startNetLab({ nodes: 1 });
  server = await startSimApiServer({ seed: 1 });
  putWeb(server);
});
afterEach(async () => {
  await server[Symbol.asyncDispose]();
  await lab[Symbol.asyncDispose]();
});

const hasAddress = async (on: Machine): Promise<boolean> =>
  (await on.exec('ip', '-oneline', 'address')).includes(` ${address}/`);

/** Ends with a host that holds the Lease, knows of another one, and is stopped; the lifetime of its address runs. */
async function serveAndStop(): Promise<void> {
  const other = `{"file":"candidates","version":1}\n{"identity":"lb2_c-d","seen":"2026-01-01T00:00:00Z"}\n`;
  {
    await using first = await startRun({ lab, server }, { addresses });
    await expect.poll(() => hasAddress(lab.balancer), patience).toBe(true);
    await writeFile(`${first.stateDir}/candidates.jsonl`, other);
  }
  await using _second = await startRun({ lab, server }, { addresses });
  await expect
    .poll(() => lab.balancer.exec('ip', 'address', 'show', 'dev', 'furiwake0'), patience)
    .toMatch(/valid_lft 1?\dsec/);
}

/** The deletions of the address that the kernel reports until disposed of. */
function watchDeletions(): AsyncDisposable & { readonly seen: readonly string[] } {
  const stop = new AbortController();
  const monitor = lab.balancer.execPort.spawn('ip', ['-oneline', 'monitor', 'address'], stop.signal);
  const seen: string[] = [];
  const reading = (async () => {
    for await (const line of monitor.lines) if (line.startsWith('Deleted') && line.includes(address)) seen.push(line);
  })().catch(() => undefined); // it ends with the test
  return {
    seen,
    [Symbol.asyncDispose]: async () => {
      stop.abort();
      await reading;
      await monitor[Symbol.asyncDispose]();
    },
  };
}

test('a restart of a holder that is not alone does not remove its addresses for a moment', async () => {
  await serveAndStop();
  // Otherwise the kernel removes it before this machine has started furiwake again, if it is slow.
  await lab.balancer.exec(
    'ip',
    'address',
    'change',
    `${address}/32`,
    'dev',
    'furiwake0',
    'scope',
    'link',
    'valid_lft',
    '600',
    'preferred_lft',
    '600',
  );
  await using deletions = watchDeletions();
  await using again = await startRun({ lab, server }, { addresses });
  await expect
    .poll(async () => (await again.status())?.notReady.join(), patience)
    .toContain('no node takes connections');
  expect([await hasAddress(lab.balancer), deletions.seen]).toEqual([true, []]);
});

test('a start on a state directory that has become read-only serves, and answers furiwake status when it is writable again', async () => {
  const stateDir = `${lab.folder}/state`;
  const run = (program: string, ...args: readonly string[]): Promise<unknown> =>
    systemExec.run(program, args, { signal: AbortSignal.timeout(5_000) });
  await using stack = new AsyncDisposableStack();
  await mkdir(stateDir, { mode: 0o700 });
  await run('mount', '--types', 'tmpfs', '--options', 'mode=700', 'none', stateDir);
  stack.defer(async () => {
    await run('umount', '--lazy', stateDir);
  });
  {
    await using _first = await startRun({ lab, server }, { addresses });
    await expect.poll(() => hasAddress(lab.balancer), patience).toBe(true);
  }
  await run('mount', '--options', 'remount,ro', stateDir);
  const again = stack.use(await startRun({ lab, server }, { addresses }));
  const said = (words: string): boolean => again.log.lines.some(({ message }) => message.includes(words));
  await expect.poll(() => said('addresses assigned'), patience).toBe(true);
  expect([said('admin.sock cannot be created'), await again.status()]).toEqual([true, undefined]);
  expect(await hasAddress(lab.balancer)).toBe(true);
  await run('mount', '--options', 'remount,rw', stateDir);
  await expect.poll(() => again.status(), { ...patience, timeout: 60_000 }).toBeDefined();
});

test('a holder that starts again and again without the API server answers for twelve seconds only, and never beside the other host', async () => {
  const elsewhere = { on: lab.client, hostname: 'lb2', folder: `${lab.folder}/lb2`, addresses };
  await mkdir(elsewhere.folder);
  await serveAndStop();
  const stoppedAt = systemClock.monotonic();
  await using _other = await startRun({ lab, server }, elsewhere);
  let endedAt = 0;
  const look = async (): Promise<readonly boolean[]> => {
    const lookedAt = systemClock.monotonic();
    const both = await Promise.all([hasAddress(lab.balancer), hasAddress(lab.client)]);
    if (both[0]) endedAt = lookedAt;
    expect(both).not.toEqual([true, true]);
    return both;
  };
  let answering = await look();
  while (answering[1] !== true) {
    await using _again = await startRun({ lab, server }, { addresses, isCutOff: true });
    const untilMs = systemClock.monotonic() + 3_000;
    while (systemClock.monotonic() < untilMs) answering = await look();
    expect(systemClock.monotonic() - stoppedAt).toBeLessThan(60_000);
  }
  expect(answering[0]).toBe(false);
  expect(endedAt - stoppedAt).toBeGreaterThan(1_000);
  expect(endedAt - stoppedAt).toBeLessThan(14_000);
});
