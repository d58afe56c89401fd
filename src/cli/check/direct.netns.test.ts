import { afterAll, beforeAll, expect, test } from 'vitest';
import { makeNode } from '../../../test/make/service.ts';
import { addressOf } from '../../../test/make/table.ts';
import { filesOf } from '../../../test/sim/harness.ts';
import { type PlacementRig, startPlacementRig } from '../../../test/netns/placement-rig.ts';
import type { Node } from '../../core/model/node.ts';
import { systemClock } from '../../main/node/clock.ts';
import type { Exec } from '../../ports/exec.ts';
import { directTable } from '../../dataplane/direct/table/ruleset.ts';
import { checkDirect } from './direct.ts';

const { signal } = new AbortController();
let rig: PlacementRig;

beforeAll(async () => {
  rig = await startPlacementRig();
  await rig.network.refresh(signal);
});
afterAll(() => rig[Symbol.asyncDispose]());

/** `nodes`: of the cluster. Their kube-proxies do not answer. */
async function find(exec: Exec, nodes: readonly Node[] = []): Promise<string> {
  const mute = { ask: () => Promise.resolve(undefined), close: () => undefined };
  const findings = await checkDirect(
    { nodes, services: [], endpoints: new Map(), network: rig.network },
    { exec, files: filesOf(new Map()), clock: systemClock },
    () => mute,
    signal,
  );
  return findings.map(({ found }) => found).join('\n');
}

test('the kernel takes the table of direct in a namespace of its own, and this host keeps nothing of it', async () => {
  const exec = rig.lab.balancer.execPort;
  expect(await find(exec)).toBe('no Service asks for it; 0 of 0 node addresses can get packets');
  expect((await exec.run('nft', ['list', 'tables'], { signal })).stdout).toBe('');
});

test('the words of nft say what the kernel lacks', async () => {
  const { execPort } = rig.lab.balancer;
  const spoilt: Exec = {
    ...execPort,
    run: (program, args, options) =>
      execPort.run(program, args, {
        ...options,
        ...(options.stdin && { stdin: options.stdin.replace('jhash', 'nohash') }),
      }),
  };
  expect(await find(spoilt)).toMatch(/its table cannot be loaded: .*syntax error/);
});

test('packets from impossible sources are counted', async () => {
  const { balancer } = rig.lab;
  await balancer.nft(`table ${directTable.name} {
  set spoofed { type classid; flags dynamic; counter; }
}
add element ${directTable.name} spoofed { 1:1 counter packets 7 bytes 500, 1:2 counter packets 2 bytes 90 }`);
  expect(await find(balancer.execPort)).toContain('dropped 9 packets whose source no client has');
  await balancer.nft(`delete table ${directTable.name}`);
  expect(await find(balancer.execPort)).not.toContain('dropped');
});

test('the MTU of each node is measured', async () => {
  const { balancer, client } = rig.lab;
  const addresses = ['10.10.0.2', 'fd10::2'].map(addressOf);
  const node = makeNode('n1', ...addresses.map(({ text }) => text));
  for (const { text } of addresses) await balancer.exec('ping', '-c', '1', '-W', '2', text); // resolves its MAC
  expect(await find(balancer.execPort, [node])).not.toContain('MTU');
  await client.exec('ip', 'link', 'set', 'eth0', 'mtu', '1400');
  expect(await find(balancer.execPort, [node])).toMatch(
    /the MTU of n1 is 1[34]\d\d to 14\d\d, not 1500 like that of the load-balancer host/,
  );
  await client.exec('ip', 'link', 'set', 'eth0', 'mtu', '1500');
});
