import { describe, expect, test } from 'vitest';
import { makeService } from '../../../test/make/service.ts';
import { ourFinalizers } from '../model/contract.ts';
import { afterWrite, beforeWrite, type Contest, noContest, pauseMs } from './contest.ts';
import type { DesiredStatus } from './desired.ts';
import { nextWrite } from './next-write.ts';

const ingress = (ip: string): DesiredStatus['ingress'] => [{ ip, hostname: undefined, ipMode: 'Proxy', ports: [] }];
const desired: DesiredStatus = { ingress: ingress('192.0.2.8'), conditions: [] };

describe('the next write', () => {
  test('is both finalizers at once, before anything else, beside those of others', () => {
    const service = makeService('a', {}, { finalizers: ['example.com/other'] });
    expect(nextWrite({ service, eligibility: 'ours', desired, isProgrammed: false })).toEqual({
      kind: 'finalizers',
      finalizers: ['example.com/other', ...ourFinalizers],
    });
  });

  test('puts back the one of our finalizers that somebody took off', () => {
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

  test('of a deleted Service that somebody else holds on to empties the status first', () => {
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

  test.each(['held', 'foreign'] as const)('of a Service that is %s is none', (eligibility) => {
    expect(nextWrite({ service: makeService('a'), eligibility, desired, isProgrammed: false })).toBeUndefined();
  });
});

describe('a struggle over the status', () => {
  /** Somebody writes at these times; what we answer each time. */
  const struggle = (
    times: readonly number[],
    change: Partial<DesiredStatus> = { ingress: ingress('203.0.113.1') },
  ): { actions: readonly string[]; contest: Contest } => {
    let contest = afterWrite(noContest, desired);
    const actions: string[] = [];
    for (const nowMs of times) {
      const step = beforeWrite(contest, { ...desired, ...change }, nowMs);
      actions.push(step.action);
      contest = step.action === 'repair' || step.action === 'write' ? afterWrite(step.contest, desired) : step.contest;
    }
    return { actions, contest };
  };

  test('is repaired twice within a minute and given up the third time', () => {
    expect(struggle([0, 10_000, 59_000, 60_000]).actions).toEqual(['repair', 'repair', 'giveUp', 'wait']);
  });

  test('over the conditions alone is one, too', () => {
    const conditions = [
      { type: 'furiwake.dev/Serving', status: 'False', reason: 'X', message: '', lastTransitionTime: '' },
    ] as const;
    expect(struggle([0, 1, 2], { conditions }).actions).toEqual(['repair', 'repair', 'giveUp']);
  });

  test('slower than that is repaired for ever', () => {
    expect(struggle([0, 40_000, 80_000, 120_000]).actions).toEqual(['repair', 'repair', 'repair', 'repair']);
  });

  test('is taken up again after ten minutes', () => {
    expect(struggle([0, 1, 2, 2 + pauseMs]).actions).toEqual(['repair', 'repair', 'giveUp', 'write']);
  });

  test('is none while the status shows what we published', () => {
    expect(beforeWrite(afterWrite(noContest, desired), desired, 0).action).toBe('write');
    expect(beforeWrite(noContest, { ...desired, ingress: [] }, 0).action).toBe('write');
  });
});
