import type { StepName } from '../make/host-ports.ts';
import { oddAddress, putService, type Scene, servicePorts, shownIp, staysAddress, staysKey } from './failing-scene.ts';
import { shownCondition } from './shown-status.ts';

/** What a fault does not concern, and what is seen of it while it is served. */
export const unconcerned: Readonly<
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
  'a Service of nat': {
    change: (scene) => putService(scene, 'joins', { protocol: 'UDP' }),
    seen: (scene) => ({
      isShown: shownIp(scene, 'joins') !== undefined,
      status: shownCondition(scene.server, 'default/joins', 'Serving')?.status,
    }),
    expected: { isShown: true, status: undefined },
  },
  'a served Service': {
    change: () => undefined,
    seen: (scene) => ({
      isTried: scene.host.ports.steps.filter((each) => each === 'steering.apply').length > 2,
      isHolder: scene.host.ports.held.proxy.has(staysKey),
      ip: shownIp(scene, 'stays'),
    }),
    expected: { isTried: true, isHolder: true, ip: staysAddress },
  },
};

export type Fault = {
  readonly what: string;
  readonly unconcerned: 'a new Service' | 'a change of a Service' | 'a Service of nat' | 'a served Service';
  /** Begins it, and returns how it ends. */
  readonly begin: (scene: Scene) => () => void;
};

/** Kinds of failure, and the message of the attempt `count`. */
const kinds: readonly (readonly [string, (count: number) => string])[] = [
  ['always with the same message', () => 'no'],
  ['with another message each time', (count) => `no, says process ${count}`],
];

const concernsNot: Readonly<Partial<Record<StepName, Fault['unconcerned']>>> = {
  'proxy.upsert': 'a Service of nat',
  'steering.apply': 'a served Service',
};

const stepFails = (step: StepName, [kind, words] = kinds[0] ?? never()): Fault => ({
  what: `${step} (${kind})`,
  unconcerned: concernsNot[step] ?? 'a new Service',
  begin: ({ host }) => {
    let count = 0;
    host.ports.failing.set(step, () => words((count += 1)));
    return () => host.ports.failing.delete(step);
  },
});

/** A part hangs: no call of it ends. */
const hangs = (part: string, steps: readonly StepName[], stillServed: Fault['unconcerned']): Fault => ({
  what: `${part}, which hangs`,
  unconcerned: stillServed,
  begin: ({ host: { ports } }) => {
    const { promise, resolve } = Promise.withResolvers<void>();
    for (const step of steps) ports.hanging.set(step, promise);
    return () => {
      for (const step of steps) ports.hanging.delete(step);
      resolve();
    };
  },
});
const haproxyHangs = hangs('HAProxy', ['proxy.upsert', 'proxy.prune', 'proxy.audit'], 'a Service of nat');
const othersHang: readonly Fault[] = [
  hangs('steering', ['steering.apply', 'steering.audit'], 'a served Service'),
  hangs('direct', ['direct.prepare', 'direct.apply', 'direct.audit'], 'a new Service'),
  hangs('nat', ['nat.prepare', 'nat.apply', 'nat.audit'], 'a new Service'),
  hangs('placement', ['placement.add', 'placement.remove', 'placement.audit'], 'a new Service'),
  hangs('the end of connections', ['host.endConnections'], 'a new Service'),
];

const refuses = (tool: 'proxy' | 'steering'): Fault => ({
  what: `${tool} for one listener`,
  unconcerned: 'a new Service',
  begin: ({ host }) => {
    host.ports.refuses[tool] = ({ port }) => (port === servicePorts.odd ? 'no' : undefined);
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
  'direct.prepare',
  'direct.apply',
  'direct.audit',
  'nat.prepare',
  'nat.apply',
  'nat.audit',
  'placement.add',
  'placement.remove',
  'placement.audit',
  'host.endConnections',
];
const ledger = diskFails('controller', '/ledger');
const table = diskFails('host', '/listeners.jsonl');
const single = [
  ...steps.map((step) => stepFails(step)),
  haproxyHangs,
  refuses('proxy'),
  refuses('steering'),
  oneAddress,
  ledger,
  table,
  writesFail('', 'all writes to Services'),
  writesFail('odd', 'the writes to one Service'),
];
const named = (faults: readonly Fault[]): typeof singleFaults => faults.map((fault) => [fault.what, fault]);
export const singleFaults: readonly (readonly [string, Fault])[] = named([
  ...single,
  ...othersHang,
  ...steps.map((step) => stepFails(step, kinds[1])),
]);
export const pairs: typeof singleFaults = named(
  single.flatMap((one, index) => single.slice(index + 1).map((other) => both(one, other))),
);

function never(): never {
  throw new Error('there is one');
}
