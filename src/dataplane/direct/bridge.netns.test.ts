import { expect, test } from 'vitest';
import { directListener } from '../../../test/make/table.ts';
import { serveVips } from '../../../test/netns/direct-lab.ts';
import { patience } from '../../../test/netns/patience.ts';
import {
  connect,
  direct,
  expectAlive,
  lab,
  lanVip,
  nodes,
  port,
  program,
  putBehindBridge,
  reached,
  startDirect,
  underClients,
} from '../../../test/netns/stand-in-rig.ts';
import { listener } from '../../../test/make/table.ts';

const { signal } = new AbortController();

test.each([
  ['without a stand-in', directListener(lanVip, port, { protocol: 'TCP', isPublished: true })],
  [
    'with HAProxy as the stand-in',
    listener(lanVip, port, port, { dataplane: 'direct', standIn: 'haproxy', isPublished: true }),
  ],
])('%s, direct serves by a bridge whose packets br_netfilter passes through the hooks of IP', async (_, onDirect) => {
  await serveBehindBridge();
  await program(onDirect);
  await direct.audit(signal);
  await expect.poll(() => direct.isForwarding(onDirect.key), patience).toBe(true);
  const before = await reached();
  const long = [await connect(lanVip), await connect(lanVip)];
  const { failed } = await underClients(lanVip, async () => {
    for (let count = 0; count < 10; count++) await expectAlive(long);
  });
  expect(failed).toEqual([]);
  expect(await reached()).toBeGreaterThan(before);
});

let isBehindBridge = false;
async function serveBehindBridge(): Promise<void> {
  if (isBehindBridge) return;
  isBehindBridge = true;
  await putBehindBridge();
  startDirect();
  for (const node of lab.nodes) await serveVips(node, [lanVip], port);
  nodes.areOpen = true;
}
