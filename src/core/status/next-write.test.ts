import { describe, expect, test } from 'vitest';
import { makeService } from '../../../test/make/service.ts';
import type { ServiceStatus } from '../model/service.ts';
import { ourFinalizers } from '../model/contract.ts';
import { afterWrite, beforeWrite, noConflict, pauseMs, type StatusConflict } from './conflict.ts';
import type { DesiredStatus } from './desired.ts';
import { nextWrite } from './next-write.ts';

const ingress = (ip: string): DesiredStatus['ingress'] => [{ ip, hostname: undefined, ipMode: 'Proxy', ports: [] }];
const desired: DesiredStatus = { ingress: ingress('192.0.2.8'), conditions: [] };

describe('the next write', () => {
  test('is both finalizers at once, before anything else, and keeps those of other controllers', () => {
    const service = makeService('a', {}, { finalizers: ['example.com/other'] });
    expect(nextWrite({ service, eligibility: 'ours', desired, isProgrammed: false })).toEqual({
      kind: 'finalizers',
      finalizers: ['example.com/other', ...ourFinalizers],
    });
  });

  test('restores one of our finalizers that another client removed', () => {
    const service = makeService('a', {}, { finalizers: [ourFinalizers[0] ?? ''] });
    expect(nextWrite({ service, eligibility: 'ours', desired: undefined, isProgrammed: true })).toEqual({
      kind: 'finalizers',
      finalizers: ourFinalizers,
    });
  });

  test('is the status when it differs, and nothing when it does not', () => {
    expect(nextWrite({ service: makeService('a'), eligibility: 'ours', desired, isProgrammed: true })).toEqual({
      kind: 'status',
      status: desired,
    });
    const published = makeService('a', {}, { status: { ingress: desired.ingress } });
    expect(nextWrite({ service: published, eligibility: 'ours', desired, isProgrammed: true })).toBeUndefined();
  });

  const port = { port: 53, protocol: 'UDP' };
  const [shown] = ingress('192.0.2.8').map((entry) => ({ ...entry, ports: [port] }));
  const condition = {
    type: 'Serving',
    status: 'True',
    reason: 'Serving',
    message: 'm',
    lastTransitionTime: 't',
  } as const;
  const whole: DesiredStatus = { ingress: [shown!], conditions: [condition] };

  test.each<[string, Partial<DesiredStatus>]>([
    ['address', { ingress: [{ ...shown!, ip: '192.0.2.9' }] }],
    ['host name', { ingress: [{ ...shown!, hostname: 'a.example' }] }],
    ['ipMode', { ingress: [{ ...shown!, ipMode: 'VIP' }] }],
    ['number of addresses', { ingress: [shown!, { ...shown!, ip: '192.0.2.9' }] }],
    ['number of ports', { ingress: [{ ...shown!, ports: [] }] }],
    ['port', { ingress: [{ ...shown!, ports: [{ ...port, port: 54 }] }] }],
    ['protocol', { ingress: [{ ...shown!, ports: [{ ...port, protocol: 'TCP' }] }] }],
    ['error of a port', { ingress: [{ ...shown!, ports: [{ ...port, error: 'furiwake.dev/PortConflict' }] }] }],
    ['type of a condition', { conditions: [{ ...condition, type: 'AddressAssigned' }] }],
    ['status of a condition', { conditions: [{ ...condition, status: 'False' }] }],
    ['reason of a condition', { conditions: [{ ...condition, reason: 'NoNodes' }] }],
    ['message of a condition', { conditions: [{ ...condition, message: 'n' }] }],
  ])('is the status when the %s alone differs', (_, change) => {
    const status = { ...whole, ...change };
    const service = makeService('a', {}, { status: whole });
    expect(nextWrite({ service, eligibility: 'ours', desired: status, isProgrammed: true })).toEqual({
      kind: 'status',
      status,
    });
  });

  test('is none when the time of a condition alone differs', () => {
    const service = makeService('a', {}, { status: whole });
    const status = { ...whole, conditions: [{ ...condition, lastTransitionTime: 'later' }] };
    expect(nextWrite({ service, eligibility: 'ours', desired: status, isProgrammed: true })).toBeUndefined();
  });

  test('waits while the status is not known', () => {
    expect(
      nextWrite({ service: makeService('a'), eligibility: 'ours', desired: undefined, isProgrammed: false }),
    ).toBeUndefined();
  });

  test('of a Service that is leaving waits until nothing is programmed', () => {
    expect(
      nextWrite({
        service: makeService('a', {}, { isDeleting: true }),
        eligibility: 'leaving',
        desired: undefined,
        isProgrammed: true,
      }),
    ).toBeUndefined();
  });

  test('of a deleted Service takes the finalizers off at once', () => {
    const service = makeService('a', {}, { isDeleting: true, status: { ingress: desired.ingress } });
    expect(nextWrite({ service, eligibility: 'leaving', desired: undefined, isProgrammed: false })).toEqual({
      kind: 'finalizers',
      finalizers: [],
    });
  });

  test('of a deleted Service with a finalizer of another controller empties the status first', () => {
    const service = makeService(
      'a',
      {},
      { isDeleting: true, finalizers: [...ourFinalizers, 'example.com/other'], status: { ingress: desired.ingress } },
    );
    expect(nextWrite({ service, eligibility: 'leaving', desired: undefined, isProgrammed: false })).toEqual({
      kind: 'status',
      status: { ingress: [], conditions: [] },
    });
    const emptied = makeService('a', {}, { isDeleting: true, finalizers: service.finalizers });
    expect(nextWrite({ service: emptied, eligibility: 'leaving', desired: undefined, isProgrammed: false })).toEqual({
      kind: 'finalizers',
      finalizers: ['example.com/other'],
    });
  });

  test.each(['occupied', 'foreign'] as const)('of a Service that is %s is none', (eligibility) => {
    expect(nextWrite({ service: makeService('a'), eligibility, desired, isProgrammed: false })).toBeUndefined();
  });
});

describe('another client that changes the status', () => {
  const { spec } = makeService('a');
  const shown = (status: DesiredStatus): ServiceStatus => ({ ...status, ingressManager: undefined });
  type ConflictRun = { readonly actions: readonly string[]; readonly conflict: StatusConflict };

  /** It writes at these times; what we do each time. */
  const writesAt = (
    times: readonly number[],
    change: Partial<DesiredStatus> = { ingress: ingress('203.0.113.1') },
  ): ConflictRun => {
    let conflict: StatusConflict = { ...noConflict, published: desired };
    const actions: string[] = [];
    for (const nowMs of times) {
      const step = beforeWrite(conflict, { status: shown({ ...desired, ...change }), spec }, desired, nowMs);
      actions.push(step.action);
      conflict = ['repair', 'write'].includes(step.action) ? afterWrite(step.conflict, desired) : step.conflict;
    }
    return { actions, conflict };
  };

  test('is repaired twice within a minute and given up the third time', () => {
    expect(writesAt([0, 10_000, 59_000, 60_000]).actions).toEqual(['repair', 'repair', 'giveUp', 'wait']);
  });

  test('counts also when it changes only the conditions', () => {
    const conditions = [
      { type: 'furiwake.dev/Serving', status: 'False', reason: 'X', message: '', lastTransitionTime: '' },
    ] as const;
    expect(writesAt([0, 1, 2], { conditions }).actions).toEqual(['repair', 'repair', 'giveUp']);
  });

  test('is always repaired when it writes less often', () => {
    expect(writesAt([0, 40_000, 80_000, 120_000]).actions).toEqual(['repair', 'repair', 'repair', 'repair']);
  });

  test('has the status for ten minutes', () => {
    expect(writesAt([0, 1, 2, 2 + pauseMs]).actions).toEqual(['repair', 'repair', 'giveUp', 'write']);
  });

  test('does not keep a change of the spec from the status', () => {
    const { conflict } = writesAt([0, 1, 2]);
    const changed = makeService('a', { loadBalancerIp: '192.0.2.9' });
    const status = shown({ ...desired, ingress: ingress('203.0.113.1') });
    expect(beforeWrite(conflict, { status, spec }, desired, 3).action).toBe('wait');
    expect(beforeWrite(conflict, { status, spec: changed.spec }, desired, 3).action).toBe('write');
  });

  test('does not keep a change of the address from the status', () => {
    const { conflict } = writesAt([0, 1, 2]);
    const status = shown({ ...desired, ingress: ingress('203.0.113.1') });
    const moved = { ...desired, ingress: ingress('192.0.2.9') };
    expect(beforeWrite(conflict, { status, spec }, { ...desired, conditions: [] }, 3).action).toBe('wait');
    expect(beforeWrite(conflict, { status, spec }, moved, 3).action).toBe('write');
  });

  test('counts once while the API server refuses the repair', () => {
    let conflict: StatusConflict = { ...noConflict, published: desired };
    const status = shown({ ...desired, ingress: ingress('203.0.113.1') });
    const actions = [0, 1, 2, 3, 4].map((nowMs) => {
      const step = beforeWrite(conflict, { status, spec }, desired, nowMs);
      ({ conflict } = step);
      return step.action;
    });
    expect(new Set(actions)).toEqual(new Set(['repair']));
    expect(conflict.foreignWritesMs).toEqual([0]);
    const other = shown({ ...desired, ingress: ingress('203.0.113.2') });
    expect(beforeWrite(conflict, { status: other, spec }, desired, 5).conflict.foreignWritesMs).toEqual([0, 5]);
    const next = beforeWrite(afterWrite(conflict, desired), { status, spec }, desired, 5);
    expect(next.conflict.foreignWritesMs).toEqual([0, 5]);
  });

  test('is repaired twice again after a change of the spec has ended the pause', () => {
    const status = shown({ ...desired, ingress: ingress('203.0.113.1') });
    const changed = makeService('a', { loadBalancerIp: '192.0.2.9' }).spec;
    let { conflict } = writesAt([0, 1, 2]);
    const actions = [3, 4, 5, 6, 7].map((nowMs) => {
      const step = beforeWrite(conflict, { status, spec: changed }, desired, nowMs);
      conflict = ['repair', 'write'].includes(step.action) ? afterWrite(step.conflict, desired) : step.conflict;
      return step.action;
    });
    expect(actions).toEqual(['write', 'repair', 'repair', 'giveUp', 'wait']);
  });

  test('is none when the API server removes the addresses because the type of the Service changed', () => {
    const published: StatusConflict = { ...noConflict, published: desired };
    const nothing: DesiredStatus = { ingress: [], conditions: [] };
    const status = shown({ ...desired, ingress: [] });
    const actionOf = (type: string): string =>
      beforeWrite(published, { status, spec: { ...spec, type } }, nothing, 0).action;
    expect([actionOf('ClusterIP'), actionOf('LoadBalancer')]).toEqual(['write', 'repair']);
  });

  test('is none while the status shows what we published', () => {
    const published: StatusConflict = { ...noConflict, published: desired };
    expect(beforeWrite(published, { status: shown(desired), spec }, desired, 0).action).toBe('write');
    expect(beforeWrite(noConflict, { status: shown({ ...desired, ingress: [] }), spec }, desired, 0).action).toBe(
      'write',
    );
  });
});
