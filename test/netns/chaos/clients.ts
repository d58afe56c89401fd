import { pause, type Protocol } from './cluster.ts';
import { makeConnections } from './connections.ts';
import { makeFlows } from './flows.ts';
import type { Box } from './lab.ts';
import { isOfPool } from './lab.ts';
import { slowness } from './slowness.ts';
import type { World } from './world.ts';
import { shownCondition, shownStatus } from '../../sim/shown-status.ts';

const everyMs = 500;
/** An answer may come from the owner of a moment ago. */
const graceMs = 2_000;
/** How long a target without a Service may answer. */
const releaseMs = 8_000;
/** A Service is served before its status shows the address: how long it may answer until then. */
const publishMs = 20_000;
/** After the publication of a Service: until then stand-ins of `direct` get flows, and choose another node. */
const standInMs = 10_000;
/** After a fault, until a Service whose status says that it serves must be served. */
const lieMs = 10_000;

/** A port of a Service, as its status shows it. */
export type Target = {
  readonly service: string;
  readonly ip: string;
  readonly port: number;
  readonly protocol: Protocol;
};

/** Clients that never stop, and what they find wrong. */
export type Clients = {
  /** Targets that clients can ask now. */
  targets(): readonly Target[];
  ask(target: Target): Promise<string>;
  /** The longest time without an answer of a target that should be served, since the last call. */
  takeLongestFailure(): string;
  /** Former targets that belong to no Service now. */
  released(): readonly Target[];
  run(signal: AbortSignal): Promise<void>;
  /** All is as wanted for the first time: clients keep their nodes soon, when `direct` has what its stand-ins got at first. */
  noteStarted(): void;
};

export const textOf = ({ ip, port, protocol }: Target): string => `${ip} ${port}/${protocol}`;

export function makeClients(world: World): Clients {
  const { lab, server, cluster } = world;
  /** Until when each Service was the owner of a target, in sighted time. */
  const owned = new Map<string, Map<string, number>>();
  const known = new Map<string, Target>();
  /** Answers of Services that have not shown the target yet. */
  const early = new Set<{ readonly target: Target; readonly by: string; readonly sentMs: number }>();
  const busy = new Set<string>();
  const underWay = new Set<Promise<void>>();
  /** Since when those that should be served have no answer. */
  const down = new Map<string, number>();
  /** From then on clients keep their nodes. */
  let keepMs = Infinity;
  let longest = { ms: 0, text: '' };
  const failing = new Map<string, { sinceMs: number; said: string }>();
  /** The node that answered last, of each Service and address. */
  const nodes = new Map<string, string>();
  const connections = makeConnections(world);
  const flows = makeFlows(world, (target, answer, sentMs) => judgeAnswer(target, answer, sentMs));

  const targets = (): readonly Target[] =>
    server.list('Service').flatMap(({ metadata: { name }, spec }) => {
      const ports = (spec?.['ports'] ?? []) as readonly { port: number; protocol: Protocol }[];
      if (spec?.['type'] !== 'LoadBalancer') return [];
      return (shownStatus(server, `default/${name}`).loadBalancer?.ingress ?? []).flatMap(({ ip }) =>
        ports.map(({ port, protocol }) => ({ service: name, ip, port, protocol })),
      );
    });

  const recordOwners = (): void => {
    const now = world.sightedMs();
    const owners = new Map<string, string>();
    /** Its status is as it was before the deletion: it may show an address that it left. */
    const isDeleted = (service: string): boolean =>
      server.get('Service', `default/${service}`)?.metadata.deletionTimestamp !== undefined;
    for (const target of targets()) {
      const text = textOf(target);
      const other = owners.get(text);
      if (other !== undefined && other !== target.service && ![other, target.service].some(isDeleted))
        world.wrong(`two owners of ${text}: ${other} and ${target.service}`);
      owners.set(text, target.service);
      known.set(text, target);
      const of = owned.get(text) ?? new Map<string, number>();
      of.set(target.service, now);
      owned.set(text, of);
    }
  };

  const ask = async ({ ip, port, protocol }: Target): Promise<string> => {
    const answer =
      protocol === 'TCP'
        ? await lab.client.ask({ do: 'greet', address: ip, port, timeoutMs: 2_000 })
        : await lab.client.ask({ do: 'askUdp', address: ip, port, timeoutMs: 1_000, isConnected: true });
    return answer.text?.trim() ?? answer.error ?? 'nothing';
  };

  /** `sentMs`: when it was asked for, in sighted time. */
  const judgeAnswer = (target: Target, answer: string, sentMs: number): void => {
    const [by = ''] = answer.split(' ');
    if (!/^s\d$/.test(by)) return;
    const lastMs = owned.get(textOf(target))?.get(by);
    if (lastMs === undefined) early.add({ target, by, sentMs });
    else if (world.isSighted() && sentMs - lastMs > (by === target.service ? releaseMs : graceMs) * slowness(5))
      world.wrong(
        `${textOf(target)} of ${target.service} was answered by ${by}, ${sentMs - lastMs} ms after it had it`,
      );
  };

  const judgeEarlyAnswers = (untilMs: number): void => {
    for (const answer of early) {
      const { target, by, sentMs } = answer;
      if (sentMs > untilMs) continue;
      early.delete(answer);
      const isDeleted = !cluster.wishes.has(by); // perhaps before its status was written
      if (!isDeleted && owned.get(textOf(target))?.has(by) !== true)
        world.wrong(`${textOf(target)} of ${target.service} was answered by ${by}, which never had it`);
    }
  };

  const judgeAffinity = ({ service, ip }: Target, node: string): void => {
    if (performance.now() < keepMs) return;
    const { hasAffinity, dataplane } = cluster.wishes.get(service) ?? {};
    const of = `${service} ${ip}`;
    const before = nodes.get(of);
    nodes.set(of, node);
    if (before === undefined || before === node || hasAffinity !== true) return;
    if (dataplane !== 'nat' && dataplane !== 'direct') return;
    if (world.touchedWithin(service, 60_000, 'connection') === undefined)
      world.wrong(`the client of ${of} moved from ${before} to ${node} in spite of its affinity`);
  };

  const askOnce = async (target: Target): Promise<void> => {
    const text = `${target.service} ${textOf(target)}`;
    if (busy.has(text)) return;
    busy.add(text);
    const sentMs = world.sightedMs();
    const answer = await ask(target);
    busy.delete(text);
    judgeAnswer(target, answer, sentMs);
    if (answer.startsWith(`${target.service} `)) {
      judgeAffinity(target, answer.split(' ')[1] ?? '');
      const ms = Math.round(performance.now() - (down.get(text) ?? Infinity));
      down.delete(text);
      if (ms > longest.ms) longest = { ms, text };
      const before = failing.get(text);
      if (before !== undefined && performance.now() - before.sinceMs > 3_000)
        world.tell(`${text} answers again after ${Math.round(performance.now() - before.sinceMs)} ms (${before.said})`);
      failing.delete(text);
      return;
    }
    if (world.expects(target) === 'served') down.set(text, down.get(text) ?? performance.now());
    else down.delete(text);
    const said = shownCondition(server, `default/${target.service}`, 'Serving');
    const isShownServed =
      said?.status === 'True' &&
      said.reason === 'Serving' &&
      world.expects(target) === 'served' &&
      (await world.isReady());
    if (!isShownServed || !world.isSighted() || world.isAllowed()) {
      failing.delete(text);
      return;
    }
    const since = failing.get(text) ?? { sinceMs: performance.now(), said: answer };
    failing.set(text, since);
    if (performance.now() - since.sinceMs > lieMs * slowness(5)) {
      world.wrong(`${text} fails (${answer}) for ${lieMs} ms, and its status says Serving`);
      failing.delete(text);
    }
  };

  const watchDeletions = async (box: Box, signal: AbortSignal): Promise<void> => {
    await using monitor = box.execPort.spawn('ip', ['-oneline', 'monitor', 'address'], signal);
    try {
      for await (const line of monitor.lines) {
        const address = / inet6? ([^/ ]+)/.exec(line)?.[1] ?? '';
        const owner = targets().find(({ ip }) => ip === address)?.service;
        if (!line.startsWith('Deleted') || owner === undefined || !cluster.wishes.has(owner)) continue;
        const cause = world.touchedWithin(owner, 5_000, 'address');
        world.tell(`${address} of ${owner} left ${box.name}; cause: ${cause ?? 'none'}`);
        if (cause === undefined) world.wrong(`${address} of ${owner} left ${box.name} although nothing touched it`);
      }
    } catch {
      // it ends with the test
    }
  };

  /** An address that is on the first host before and after it is on another one is on both at a time. */
  const watchDuplicates = async (signal: AbortSignal): Promise<void> => {
    const [one, ...others] = world.hosts;
    if (one === undefined || others.length === 0) return;
    const read = async ({ box }: (typeof world.hosts)[number]): Promise<ReadonlySet<string>> => {
      const text = await box.exec('ip', '-oneline', 'address');
      // Those of furiwake, not those that an operator has configured.
      const found = text.matchAll(/ inet6? ([^/ ]+)\/(?:32|128)/g);
      return new Set(Array.from(found, ([, address = '']) => address).filter(isOfPool));
    };
    while (!signal.aborted) {
      const [before, between, after] = [await read(one), await Promise.all(others.map(read)), await read(one)];
      const both = [...before].filter((each) => after.has(each) && between.some((set) => set.has(each)));
      if (both.length > 0) world.wrong(`two hosts have ${both.join()}`);
      await pause(300, signal);
    }
  };

  return {
    takeLongestFailure: () => {
      const { ms, text } = longest;
      longest = { ms: 0, text: '' };
      return `${ms} ms ${text}`;
    },
    noteStarted: () => {
      keepMs = performance.now() + standInMs;
    },
    targets,
    ask,
    released: () => {
      const now = new Set(targets().map(textOf));
      return [...known.values()].filter((target) => !now.has(textOf(target)));
    },
    run: async (signal) => {
      const watches = [...world.hosts.map(({ box }) => watchDeletions(box, signal)), watchDuplicates(signal)];
      let nextMs = 0;
      while (!signal.aborted) {
        recordOwners();
        judgeEarlyAnswers(world.sightedMs() - publishMs);
        if (performance.now() >= nextMs) {
          nextMs = performance.now() + everyMs;
          for (const target of targets()) {
            for (const work of [askOnce(target), connections.keep(target)]) {
              underWay.add(work);
              void work.finally(() => underWay.delete(work));
            }
          }
          for (const work of [connections.judge(targets()), flows.send([...known.values()])]) {
            underWay.add(work);
            void work.finally(() => underWay.delete(work));
          }
        }
        await pause(50, signal);
      }
      await Promise.all([...watches, ...underWay]);
      judgeEarlyAnswers(Infinity);
    },
  };
}
