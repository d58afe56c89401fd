import { expect, test, vi } from 'vitest';
import type { ListenerKey } from '../../src/core/model/names.ts';
import type { StepName } from '../make/host-ports.ts';
import { type SimApiServer, startSimApiServer } from './apiserver.ts';
import { type ControllerRig, type SimHost, startController, startHost } from './controller-rig.ts';
import type { SimObject } from './kinds.ts';
import { fastClock } from './virtual-clock.ts';

/*
 * The real controller with the real agent, while something fails: a whole step of the host, one listener or address, a disk,
 * the writes to the API server. The Services `stays` and `goes` are served before. During the failure `goes` is deleted, and
 * `comes`, `odd` (if one Service is refused, this one) and `joins` (on the address of `stays`) are created.
 */
type Scene = AsyncDisposable & {
  readonly server: SimApiServer;
  readonly host: SimHost;
  readonly rig: ControllerRig;
  /** The state directories of the controller and of the host. */
  readonly files: { readonly controller: Map<string, string>; readonly host: Map<string, string> };
};

const ports = { stays: 80, goes: 81, comes: 82, odd: 83, joins: 84 };
const [staysAddress, oddAddress] = ['192.0.2.8', '192.0.2.12'];
const staysKey = `${staysAddress}|${ports.stays}|TCP` as ListenerKey;

function putService(
  { server }: Scene,
  name: keyof typeof ports,
  spec: { nodePort?: number; address?: string } = {},
): void {
  const { nodePort = 30_000 + ports[name], address } = spec;
  const metadata = server.get('Service', `default/${name}`)?.metadata;
  server.put('Service', {
    metadata: { ...metadata, name, namespace: 'default' },
    spec: {
      type: 'LoadBalancer',
      ipFamilies: ['IPv4'],
      ports: [{ port: ports[name], protocol: 'TCP', nodePort }],
      ...(address === undefined ? {} : { loadBalancerIP: address }),
    },
  });
}

type Shown = SimObject & {
  readonly status?: { readonly loadBalancer?: { readonly ingress?: readonly { readonly ip?: string }[] } };
};

function shownIp({ server }: Scene, name: keyof typeof ports): string | undefined {
  const service: Shown | undefined = server.get('Service', `default/${name}`);
  return service?.status?.loadBalancer?.ingress?.[0]?.ip;
}

const until = (check: () => void, timeout = 20_000): Promise<void> => vi.waitFor(check, { timeout, interval: 5 });

async function start(timeFactor: number): Promise<Scene> {
  const server = await startSimApiServer({ seed: 1, timeFactor });
  server.put('Node', {
    metadata: { name: 'n1' },
    status: { addresses: [{ type: 'InternalIP', address: '192.0.2.11' }] },
  });
  const files = { controller: new Map<string, string>(), host: new Map<string, string>() };
  const host = startHost({ timeFactor, files: files.host });
  const addresses = [`${staysAddress}-192.0.2.10`, oddAddress];
  const rig = await startController(server, host, { timeFactor, addresses, files: files.controller });
  const scene: Scene = {
    server,
    host,
    rig,
    files,
    [Symbol.asyncDispose]: async () => {
      for (const each of [rig, host, server]) await each[Symbol.asyncDispose]();
    },
  };
  putService(scene, 'stays');
  await until(() => expect(shownIp(scene, 'stays')).toBe(staysAddress));
  putService(scene, 'goes');
  await until(() => expect(shownIp(scene, 'goes')).toBeDefined());
  return scene;
}

function change(scene: Scene): void {
  putService(scene, 'comes');
  putService(scene, 'odd', { address: oddAddress });
  scene.server.remove('Service', 'default/goes');
  scene.host.ports.tellNetwork('addresses'); // an audit
}

/** What a fault does not concern, and what is seen of it while it is served. */
const unconcerned: Readonly<
  Record<Fault['unconcerned'], { change: (scene: Scene) => void; seen: (scene: Scene) => unknown; expected: unknown }>
> = {
  'a new Service': {
    change: (scene) => putService(scene, 'joins', { address: staysAddress }),
    seen: (scene) => shownIp(scene, 'joins'),
    expected: staysAddress,
  },
  'a change of a Service': {
    change: (scene) => putService(scene, 'stays', { nodePort: 31_000 }),
    seen: ({ host }) => host.ports.held.proxy.get(staysKey)?.targetPort,
    expected: 31_000,
  },
  'a served Service': {
    change: () => undefined,
    seen: (scene) => ({
      isTried: scene.host.ports.steps.filter((each) => each === 'proxy.upsert').length > 2,
      isHeld: scene.host.ports.held.proxy.has(staysKey),
      ip: shownIp(scene, 'stays'),
    }),
    expected: { isTried: true, isHeld: true, ip: staysAddress },
  },
};

type Fault = {
  readonly what: string;
  readonly unconcerned: 'a new Service' | 'a change of a Service' | 'a served Service';
  /** Begins it, and returns how it ends. */
  readonly begin: (scene: Scene) => () => void;
};

let count = 0;
const kinds: readonly (readonly [string, () => string])[] = [
  ['always with the same message', () => 'no'],
  ['with another message each time', () => `no, says process ${++count}`],
];

const stepFails = (step: StepName, [kind, words] = kinds[0] ?? never()): Fault => ({
  what: `${step} (${kind})`,
  unconcerned: step === 'proxy.upsert' || step === 'steering.apply' ? 'a served Service' : 'a new Service',
  begin: ({ host }) => {
    host.ports.failing.set(step, words);
    return () => host.ports.failing.delete(step);
  },
});

const refuses = (tool: 'proxy' | 'steering'): Fault => ({
  what: `${tool} for one listener`,
  unconcerned: 'a new Service',
  begin: ({ host }) => {
    host.ports.refuses[tool] = ({ port }) => (port === ports.odd ? 'no' : undefined);
    return () => (host.ports.refuses[tool] = () => undefined);
  },
});

const oneAddress: Fault = {
  what: 'placement for one address',
  unconcerned: 'a new Service',
  begin: ({ host }) => {
    host.ports.setRefused(new Map([[oddAddress, 'no']]));
    return () => host.ports.setRefused(new Map());
  },
};

const diskFails = (owner: keyof Scene['files'], path: string): Fault => ({
  what: `the disk of the ${owner} for ${path}`,
  unconcerned: owner === 'controller' ? 'a change of a Service' : 'a new Service',
  begin: ({ files: { [owner]: files } }) => {
    files.set = (at, text) => {
      if (at === path) throw new Error('ENOSPC: no space left on device');
      return Map.prototype.set.call(files, at, text) as typeof files;
    };
    return () => Reflect.deleteProperty(files, 'set');
  },
});

const writesFail = (name: string, what: string): Fault => ({
  what,
  unconcerned: name === '' ? 'a change of a Service' : 'a new Service',
  begin: ({ server }) => {
    let isFailing = true;
    server.faults.next({
      mishap: { answer: 500 },
      on: ({ verb, path }) => isFailing && ['patch', 'apply'].includes(verb) && path.includes(`/services/${name}`),
      times: Infinity,
    });
    return () => (isFailing = false);
  },
});

const both = (one: Fault, other: Fault): Fault => ({
  what: `${one.what} and ${other.what}`,
  unconcerned: other.unconcerned,
  begin: (scene) => {
    const ends = [one.begin(scene), other.begin(scene)];
    return () => ends.forEach((end) => end());
  },
});

const steps: readonly StepName[] = [
  'proxy.upsert',
  'proxy.prune',
  'proxy.audit',
  'steering.apply',
  'steering.audit',
  'direct.apply',
  'direct.audit',
  'nat.apply',
  'nat.audit',
  'placement.add',
  'placement.remove',
  'placement.audit',
  'host.endConnections',
];
const ledger = diskFails('controller', '/ledger');
const table = diskFails('host', '/listeners');
const single = [
  ...steps.map((step) => stepFails(step)),
  refuses('proxy'),
  refuses('steering'),
  oneAddress,
  ledger,
  table,
  writesFail('', 'all writes to Services'),
  writesFail('odd', 'the writes to one Service'),
];
const named = (faults: readonly Fault[]): readonly (readonly [string, Fault])[] =>
  faults.map((fault) => [fault.what, fault]);
const faults = named([...single, ...steps.map((step) => stepFails(step, kinds[1]))]);
const pairs = named(single.flatMap((one, index) => single.slice(index + 1).map((other) => both(one, other))));

/** Slow, so that the machine of the test does not count: a second of the scene is four by the wall. */
test.concurrent.for(faults)(
  'a failure of %s: what does not depend on it is served within a second',
  async ([, fault]) => {
    await using scene = await start(0.25);
    const { change: changeOther, seen, expected } = unconcerned[fault.unconcerned];
    fault.begin(scene);
    change(scene);
    changeOther(scene);
    await expect.poll(() => seen(scene), { timeout: 4_000, interval: 5 }).toEqual(expected);
  },
);

test.concurrent.for([...faults, ...pairs])(
  'a failure of %s: attempts, writes and log lines are few in two minutes, and it recovers',
  async ([, fault]) => {
    const timeFactor = 60;
    await using scene = await start(timeFactor);
    const { server, host, rig } = scene;
    const end = fault.begin(scene);
    const before = { steps: host.ports.steps.length, requests: server.requests.length };
    change(scene);
    putService(scene, 'joins', { address: staysAddress });
    await fastClock(timeFactor).sleep(120_000, new AbortController().signal);
    const attempts = host.ports.steps.slice(before.steps).filter((step) => step === 'steering.apply');
    const writes = server.requests.slice(before.requests).filter(({ verb }) => ['patch', 'apply'].includes(verb));
    const lines = [...rig.log, ...host.log].filter(({ level }) => ['warn', 'error'].includes(level));

    expect(attempts.length).toBeLessThanOrEqual(12);
    expect(mostOfOne(writes, ({ path }) => /services\/(\w+)/.exec(path)?.[1])).toBeLessThanOrEqual(16);
    expect(mostOfOne(lines, ({ fields }) => fields['service'])).toBeLessThanOrEqual(12);
    expect(shownIp(scene, 'stays')).toBe(staysAddress);
    expect(host.ports.held.proxy.has(staysKey)).toBe(true);

    end();
    await until(() => {
      for (const name of ['comes', 'joins', 'odd'] as const) expect(shownIp(scene, name)).toBeDefined();
      expect(server.get('Service', 'default/goes')).toBeUndefined();
    });
  },
);

/** How many of the items one Service has at most. */
function mostOfOne<T>(items: readonly T[], serviceOf: (item: T) => unknown): number {
  return Math.max(0, ...Array.from(Map.groupBy(items, serviceOf).values(), ({ length }) => length));
}

function never(): never {
  throw new Error('there is one');
}
