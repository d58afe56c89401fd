import { mkdir, readFile, writeFile } from 'node:fs/promises';
import { afterEach, beforeEach, expect, test } from 'vitest';
import { type Machine, type NetLab, startNetLab } from '../../test/netns/net-lab.ts';
import { patience } from '../../test/netns/patience.ts';
import { cleanUp, putWeb, startRun } from '../../test/netns/run-rig.ts';
import { type SimApiServer, startSimApiServer } from '../../test/sim/apiserver.ts';

/** On the LAN of the client. */
const address = '10.10.0.50';

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

const hasAddress = async (machine: Machine = lab.balancer): Promise<boolean> =>
  (await machine.exec('ip', '-oneline', 'address')).includes(` ${address}/`);

/** As a boot does: the addresses of furiwake are gone, and the kernel has another ID. */
async function boot(isSame = false): Promise<void> {
  await lab.balancer.exec('ip', 'link', 'delete', 'furiwake0');
  if (isSame) return;
  const path = `${lab.folder}/state/tenure.jsonl`;
  await writeFile(path, (await readFile(path, 'utf8')).replace(/"boot":"[^"]+"/, '"boot":"before"'));
}

test.each([
  ['a boot, waits for the Lease with an address that another machine has', false, true, false],
  ['a boot, adds an address that no other machine has', false, false, true],
  ['a restart, adds an address that another machine has', true, true, true],
])('a lone host that is cut off and starts after %s', async (_, isSame, isTaken, adds) => {
  const options = { addresses: `${address}-10.10.0.59` };
  {
    await using first = await startRun({ lab, server }, options);
    await expect.poll(() => hasAddress(), patience).toBe(true);
    const tenure = (): Promise<string> => readFile(`${first.stateDir}/tenure.jsonl`, 'utf8').catch(() => '');
    await expect.poll(tenure, patience).toContain('"boot":"');
  }
  await boot(isSame);
  if (isTaken) await lab.client.exec('ip', 'address', 'add', `${address}/32`, 'dev', 'eth0');
  server.faults.isDown = true;

  await using second = await startRun({ lab, server }, options);
  const notReady = async (): Promise<string | undefined> => (await second.status())?.notReady.join();
  await expect.poll(notReady, patience).toContain('connecting to the API server');
  await expect.poll(notReady, patience).not.toContain('nothing is programmed yet');
  const saysWhy = async (): Promise<boolean | undefined> =>
    (await notReady())?.includes(`another machine on the LAN answers for ${address}`);
  // On a busy machine adding an address outlasts the pass that begins it.
  await expect.poll(async () => [await hasAddress(), await saysWhy()], patience).toEqual([adds, !adds]);
  server.faults.isDown = false;
  await expect.poll(() => hasAddress(), patience).toBe(true);
});

test.each([true, false])(
  'a lone host that is cut off, and whose cable is out, has an address again when it is in, unless another machine has it: %s',
  async (isTaken) => {
    await using run = await startRun({ lab, server }, { addresses: `${address}-10.10.0.59` });
    await expect.poll(() => hasAddress(), patience).toBe(true);
    server.faults.isDown = true;
    server.faults.resetConnections();
    const cable = (state: 'up' | 'down'): Promise<string> => lab.client.exec('ip', 'link', 'set', 'eth0', state);
    await cable('down');
    await expect.poll(() => hasAddress(), patience).toBe(false); // its Lease has ended
    if (isTaken) await lab.client.exec('ip', 'address', 'add', `${address}/32`, 'dev', 'lo');
    await cable('up');
    const words = 'not served here: another machine on the LAN answers for addresses that another host may still have';
    const isSeen = (): boolean => run.log.lines.some(({ message }) => message === words);
    await expect.poll(async () => [await hasAddress(), isSeen()], patience).toEqual([!isTaken, isTaken]);
    server.faults.isDown = false;
    await expect.poll(() => hasAddress(), patience).toBe(true);
  },
);

test('a host that replaces a stopped one is not ready, and leaves it its addresses, until that one is cleaned', async () => {
  const addresses = `${address}-10.10.0.59`;
  {
    await using _first = await startRun({ lab, server }, { addresses });
    await expect.poll(() => hasAddress(), patience).toBe(true);
  }
  expect(await hasAddress()).toBe(true);
  const elsewhere = { on: lab.client, hostname: 'lb2', folder: `${lab.folder}/lb2`, addresses };
  await mkdir(elsewhere.folder);
  await using second = await startRun({ lab, server }, elsewhere);
  const notReady = async (): Promise<string | undefined> => (await second.status())?.notReady.join();
  await expect.poll(notReady, patience).toContain('host lb1 may still answer for its addresses');
  const isReplaced = (): Promise<boolean> => hasAddress(lab.client);
  expect(await isReplaced()).toBe(false);
  await cleanUp({ lab, server }, { addresses });
  expect(await hasAddress()).toBe(false);
  await expect.poll(isReplaced, patience).toBe(true);
  await expect.poll(notReady, patience).not.toContain('lb1');
});
