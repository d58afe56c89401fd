import { afterAll, beforeAll, expect, test } from 'vitest';
import { filesOf } from '../../../test/sim/harness.ts';
import { type PlacementRig, startPlacementRig } from '../../../test/netns/placement-rig.ts';
import type { Exec } from '../../ports/exec.ts';
import { directTable } from '../../dataplane/direct/ruleset.ts';
import { checkDirect } from './direct.ts';

const { signal } = new AbortController();
let rig: PlacementRig;

beforeAll(async () => {
  rig = await startPlacementRig();
  await rig.network.refresh(signal);
});
afterAll(() => rig[Symbol.asyncDispose]());

async function find(exec: Exec): Promise<string> {
  const host = { network: rig.network, hasPerl: true, hasNft: true };
  const nothing = { nodes: [], services: [], host };
  const noKubeProxy = (): never => {
    throw new Error('there is no node');
  };
  const findings = await checkDirect(nothing, { exec, files: filesOf(new Map()) }, noKubeProxy, signal);
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
