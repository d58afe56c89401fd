import { expect } from 'vitest';
import { projectService } from '../../../src/api/service.ts';
import { eligibilityOf } from '../../../src/core/addresses/eligibility.ts';
import { conditionTypes, dataplaneAnnotation, fieldManager } from '../../../src/core/model/contract.ts';
import { parseRange, rangeContains } from '../../../src/core/ip/range.ts';
import type { Service } from '../../../src/core/model/service.ts';
import { isNodesBackend } from '../../../src/core/traffic/table.ts';
import { makeSite, ranges } from '../../make/service.ts';
import { parseIp } from '../../../src/core/ip/ip.ts';
import { makeSimApiServer, type SimApiServer } from '../apiserver.ts';
import { type ControllerRig, type SimHost, startController, startHost } from '../controller-rig.ts';
import type { SimObject } from '../kinds.ts';
import { Refusal } from '../refusal.ts';
import { type VirtualClock, virtualClock } from '../virtual-clock.ts';
import { expectOwnLinesOnly } from './rendered.ts';
import { firstSlices, type Step } from './steps.ts';
import { markOf } from './texts.ts';

/*
 * The real controller and the real agent, in virtual time, while hostile users write Services and EndpointSlices.
 */
const pool = ['192.0.2.8-192.0.2.10', '2001:db8::8-2001:db8::9'];
/** Of the pool; 192.0.2.10 is an address of a node. */
const assignable = ['192.0.2.8-192.0.2.9', '2001:db8::8-2001:db8::9'].flatMap((text) => parseRange(text) ?? []);
const podRanges = ranges('10.244.0.0/16', 'fd00:244::/64');
const site = makeSite(pool);
/** Longer than every wait of furiwake that can be due here. */
const settleMs = 30_000;
/** Where users keep writing a status, furiwake pauses its own writes for ten minutes. */
const conflictMs = 630_000;
/** Of CPU time, for all that follows one step: a loop over a range of addresses takes longer. */
const mostCpuMs = 2_000;

type World = {
  readonly clock: VirtualClock;
  readonly server: SimApiServer;
  readonly host: SimHost;
  readonly rig: ControllerRig;
};

/** The numbers of listeners, addresses and records that outlive their Services: each is 0 if all is well. */
type Remains = Readonly<Record<string, number>>;

/** Takes the steps and checks what must always hold; then deletes all Services, and counts the rest. */
export async function runHistory(steps: readonly Step[]): Promise<Remains> {
  const clock = virtualClock();
  const server = makeSimApiServer({ seed: 1, clock });
  for (const [name, ...addresses] of [
    ['n1', '192.0.2.11', '2001:db8::11'],
    ['n2', '192.0.2.12'],
    ['n3', '192.0.2.10'],
    ['n4', 'nonsense'],
  ] as const)
    server.put('Node', {
      metadata: { name },
      status: { addresses: addresses.map((address) => ({ type: 'InternalIP', address })) },
    });
  for (const slice of firstSlices) server.put('EndpointSlice', slice);
  const host = startHost({ clock });
  host.ports.setOwn('192.0.2.2');
  host.ports.setNeeds(new Map([['192.0.2.1', 'address of the API server']]));
  host.ports.setRouted(ranges('0.0.0.0/1', '128.0.0.0/1', '::/1', '8000::/1'));
  host.ports.setOnLink(new Set([4]));
  const files = new Map<string, string>();
  const rig = await startController(server, host, { clock, addresses: pool, files });
  const world = { clock, server, host, rig };
  try {
    await bounded(() => clock.advance(1_000));
    for (const step of steps) {
      take(world, step);
      await bounded(() => clock.advance(step.waitMs));
    }
    await bounded(() => clock.advance(settleMs));
    if (rig.events.some(({ reason }) => reason === 'StatusConflict')) await bounded(() => clock.advance(conflictMs));
    checkWorld(world);
    const requests = server.requests.length;
    await bounded(() => clock.advance(settleMs));
    expect(server.requests.slice(requests).filter(({ verb }) => verb === 'patch' || verb === 'apply')).toEqual([]);

    for (const { metadata } of server.list('Service')) server.remove('Service', keyOf(metadata));
    await bounded(() => clock.advance(settleMs));
    return remainsIn(world);
  } finally {
    for (const each of [rig, host, server]) await clock.drive(Promise.resolve(each[Symbol.asyncDispose]()));
  }
}

async function bounded(work: () => Promise<void>): Promise<void> {
  const before = process.cpuUsage();
  await work();
  const { user, system } = process.cpuUsage(before);
  expect((user + system) / 1_000).toBeLessThan(mostCpuMs);
}

function take({ server }: World, step: Step): void {
  if (step.act === 'endpoints') {
    server.put('EndpointSlice', step.slice);
    return;
  }
  const key = keyOf(step.act === 'write' ? step.service.metadata : step.key);
  const present = server.get('Service', key)?.metadata;
  if (present?.deletionTimestamp !== undefined) return;
  if (step.act === 'remove') {
    if (present !== undefined) server.remove('Service', key);
    return;
  }
  const finalizers = step.keepsFinalizers ? (present?.finalizers ?? []) : [];
  try {
    server.put('Service', { ...step.service, metadata: { ...step.service.metadata, finalizers } });
  } catch (error) {
    if (!(error instanceof Refusal)) throw error; // the API server refuses some of it
  }
}

function keyOf({ namespace, name }: { readonly namespace?: string; readonly name: string }): string {
  return `${namespace ?? ''}/${name}`;
}

function checkWorld({ server, host, rig }: World): void {
  const lines = [...rig.log, ...host.log].filter(({ level }) => level === 'error');
  expect(lines).toEqual([]);
  const table = host.tables.at(-1);
  expect(table).toBeDefined();
  if (table === undefined) return;
  expectOwnLinesOnly(table);
  for (const { pods } of table.pods.values())
    for (const { address } of pods) expect(podRanges.some((range) => rangeContains(range, address))).toBe(true);

  const objects = server.list('Service');
  const services = objects.map((object) => projectService(object));
  const holders = new Map<string, string>();
  for (const [index, service] of services.entries()) {
    checkListeners(service, holders);
    checkWords(service, objects[index]!, services, rig);
  }
  for (const { key, service, address } of table.listeners.values()) {
    expect(assignable.some((range) => rangeContains(range, address))).toBe(true);
    expect([key, holders.get(key)]).toEqual([key, service]);
  }
}

/**
 * No two Services show the same listener, none one outside of the pool. A Service whose user removes the finalizers
 * and asks load balancers to ignore it in one write is furiwake's no longer: its status stays.
 */
function checkListeners(service: Service, holders: Map<string, string>): void {
  const { key, status } = service;
  if (status.ingressManager !== fieldManager || eligibilityOf(service, site, true) === 'foreign') return;
  for (const { ip = '', ports } of status.ingress) {
    const address = parseIp(ip);
    expect(address !== undefined && assignable.some((range) => rangeContains(range, address))).toBe(true);
    for (const { port, protocol, error } of ports) {
      if (error !== undefined) continue;
      const listener = `${ip}|${port}|${protocol}`;
      expect([listener, holders.get(listener) ?? key]).toEqual([listener, key]);
      holders.set(listener, key);
    }
  }
}

/** Both conditions say what is refused, and nothing of other Services. */
function checkWords(service: Service, object: SimObject, services: readonly Service[], rig: ControllerRig): void {
  const { key, status } = service;
  const eligibility = eligibilityOf(service, site, status.ingressManager === fieldManager);
  const said = status.conditions.map(({ message }) => message);
  const events = rig.events.filter(({ regarding }) => keyOf(regarding) === key).map(({ note }) => note);
  for (const text of [...said, ...events]) {
    expect(text).toMatch(/^[\u0020-\u007E…’]*$/);
    expect(text.length).toBeLessThanOrEqual(1_024);
    for (const other of services) if (other.key !== key) expect(text).not.toContain(markOf(other.key));
  }
  if (eligibility !== 'ours') return;
  const [assigned, serving] = [conditionTypes.addressAssigned, conditionTypes.serving].map((type) =>
    status.conditions.find((condition) => condition.type === type),
  );
  expect([key, assigned?.type, serving?.type]).toEqual([key, conditionTypes.addressAssigned, conditionTypes.serving]);
  const mark = markOf(key);
  const { addressAnnotations, loadBalancerIp = '', options, dataplane = '', sourceRanges } = service.spec;
  if ([loadBalancerIp, ...addressAnnotations.map(([, text]) => text)].some((text) => text.includes(mark)))
    expect([object, assigned?.reason]).not.toEqual([object, 'Assigned']);
  for (const [name, text] of [...options, [dataplaneAnnotation, dataplane] as const])
    if (text.includes(mark) && !said.some((words) => words.endsWith('…')))
      expect([object, said]).toEqual([object, expect.arrayContaining([expect.stringContaining(name)])]);
  if (sourceRanges.some((text) => text.includes(mark)))
    expect([object, serving?.reason]).not.toEqual([object, 'Serving']);
}

function remainsIn({ server, host, rig }: World): Remains {
  const table = host.tables.at(-1);
  const { proxy, steering, direct, nat, placed, advertised } = host.ports.held;
  return {
    services: server.list('Service').length,
    listeners: table?.listeners.size ?? 0,
    pods: table?.pods.size ?? 0,
    localBackends: [...(table?.backends.keys() ?? [])].filter((id) => !isNodesBackend(id)).length,
    proxy: proxy.size,
    steering: steering.listeners.size + steering.vips.size,
    direct: direct.size,
    nat: nat.size,
    placed: placed.size,
    advertised: advertised.size,
    reports: host.link.report().listeners.size,
    records: rig.controller.plan()?.records.size ?? 0,
  };
}
