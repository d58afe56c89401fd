import { expect, test, vi } from 'vitest';
import { type Fault, pairs, singleFaults, unconcerned } from './failing-faults.ts';
import {
  change,
  type Counts,
  putService,
  type Scene,
  shownIp,
  start,
  staysAddress,
  staysKey,
  watchMinutes,
} from './failing-scene.ts';

test.for(singleFaults)(
  'a failure of %s: what does not depend on it is served within two seconds',
  async ([, fault]) => {
    await using scene = await start();
    const { change: changeOther, seen, expected } = unconcerned[fault.unconcerned];
    fault.begin(scene);
    change(scene);
    changeOther(scene);
    await scene.clock.advance(2_000);
    expect(seen(scene)).toEqual(expected);
  },
);

test.for([
  ...singleFaults.map((each) => [...each, { attempts: 12, writes: 16, lines: 12 }] as const),
  // Two waits grow side by side.
  ...pairs.map((each) => [...each, { attempts: 18, writes: 16, lines: 12 }] as const),
])(
  'a failure of %s: attempts, writes and log lines are few in ten minutes, and it recovers',
  async ([, fault, most]) => {
    await using scene = await start();
    const end = begin(scene, fault);
    const counts = sumOf(await watchMinutes(scene, 2));
    expect([counts].filter((each) => exceeds(each, most))).toEqual([]);
    const later = sumOf(await watchMinutes(scene, 8));
    expect([later].filter((each) => exceeds(each, { attempts: 24, writes: 16, lines: 12 }))).toEqual([]);
    await expectRecovery(scene, end);
  },
);

test.for(singleFaults)(
  'a failure of %s lasts for six hours: attempts, writes and log lines are few in each minute, and it recovers',
  async ([, fault]) => {
    await using scene = await start();
    const end = begin(scene, fault);
    await watchMinutes(scene, 2);
    const minutes = await watchMinutes(scene, 6 * 60);
    expect(minutes.filter((each) => exceeds(each, { attempts: 2, writes: 2, lines: 2 }))).toEqual([]);
    expect(sumOf(minutes).lines).toBeLessThanOrEqual(20);
    await expectRecovery(scene, end);
  },
);

test('in ten minutes without a change nothing is programmed or written, and furiwake wakes for its audits only', async () => {
  await using scene = await start();
  const { clock, server, host } = scene;
  await clock.advance(120_000);
  const before = { steps: host.ports.steps.length, requests: server.requests.length };
  const timers = [vi.spyOn(clock, 'sleep'), vi.spyOn(clock, 'deadline')];
  await clock.advance(600_000);
  const steps = host.ports.steps.slice(before.steps);
  expect(steps.filter((step) => !/\.(?:audit|check)$/.test(step))).toEqual([]);
  expect(server.requests.slice(before.requests).filter(({ verb }) => verb !== 'watch')).toEqual([]);
  const wakes = timers.reduce((sum, { mock }) => sum + mock.calls.length, 0);
  expect(wakes).toBeLessThan(400); // most are of the audits: five parts, twice a minute
});

test('the same failures take the same course, to the millisecond', async () => {
  const course = async ([, fault]: (typeof pairs)[number]): Promise<unknown> => {
    await using scene = await start();
    const end = begin(scene, fault);
    const minutes = await watchMinutes(scene, 2);
    await expectRecovery(scene, end);
    const { server, host, rig } = scene;
    const objects = ['Service', 'Node'].map((kind) => server.list(kind));
    return { minutes, steps: host.ports.steps, requests: server.requests, objects, logs: [rig.log, host.log] };
  };
  for (const pair of pairs.slice(-8)) expect(await course(pair)).toEqual(await course(pair));
});

/** The fault and the changes during it; returns how it ends. */
function begin(scene: Scene, fault: Fault): () => void {
  const end = fault.begin(scene);
  change(scene);
  putService(scene, 'joins', { address: staysAddress });
  return end;
}

/** `stays` was served all the while, and the changes are made soon after the end. */
async function expectRecovery(scene: Scene, end: () => void): Promise<void> {
  expect(shownIp(scene, 'stays')).toBe(staysAddress);
  expect(scene.host.ports.held.proxy.has(staysKey)).toBe(true);
  end();
  await scene.clock.advance(120_000);
  for (const name of ['comes', 'joins', 'odd'] as const) expect(shownIp(scene, name)).toBeDefined();
  expect(scene.server.get('Service', 'default/goes')).toBeUndefined();
}

function sumOf(minutes: readonly Counts[]): Counts {
  const sum = (count: keyof Counts): number => minutes.reduce((total, { [count]: each }) => total + each, 0);
  return { attempts: sum('attempts'), writes: sum('writes'), lines: sum('lines') };
}

/** Whether one of the counts is higher. */
function exceeds(counts: Counts, most: Counts): boolean {
  return counts.attempts > most.attempts || counts.writes > most.writes || counts.lines > most.lines;
}
